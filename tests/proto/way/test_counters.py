"""Counters that moved with a burst: the reverse-path filter, a daemon that hangs, and queues on the way out."""

from dataclasses import replace

import pytest

from preflight import codes
from preflight.model.counters import Counters, Device, Queue, UdpSocket
from preflight.model.flow import Flow
from preflight.model.kernel import ReversePathFilter
from preflight.model.network_state import NetworkState
from preflight.model.remedy import as_text
from preflight.model.routing import Arrival
from preflight.proto.way.counters import (
    FILTERED,
    back_of,
    moved,
    observe_egress,
    observe_rp,
    observe_socket_outer,
    observe_tunnel,
)
from tests.proto.way.test_routing import killed
from tests.proto.way.world import ENTRIES, OWN, PEER, TUNNEL, changed, entry, state

ANSWERS = Flow(source=PEER, destination=OWN, source_port=862, interface_in="wg0")


def filtered(dropped: int, *, mode: int = 1, refused: bool = True) -> NetworkState:
    """A moment at which the filter of the tunnel's device has dropped this number."""
    made = state(flows=(back_of(ANSWERS),))
    return replace(
        made,
        filters=ReversePathFilter({"wg0": mode, "eth0": 0}, dropped),
        arrivals=(Arrival(flow=ANSWERS, refused=refused),),
        counters=Counters(values={FILTERED: dropped}),
    )


def test_a_strict_filter_that_refuses_and_drops() -> None:
    """The setting is in the sentence, and its fix is the loose mode of this device alone."""
    death = killed(observe_rp(filtered(3), filtered(8), ANSWERS, TUNNEL))
    assert (death.code, death.facts and death.facts.sysctl) == (codes.HOST_RP_FILTER, "net.ipv4.conf.wg0.rp_filter")
    assert "net.ipv4.conf.wg0.rp_filter" in death.message
    assert "5 packets" in death.message
    assert str(as_text(death.remedies)).startswith("sysctl -w net.ipv4.conf.wg0.rp_filter=2")


def test_only_the_verdict_and_the_counter_together_are_a_death() -> None:
    """The counter is for everyone's packets, and a verdict alone has dropped nothing."""
    for before, after in (
        (filtered(3), filtered(3)),
        (filtered(3, refused=False), filtered(8, refused=False)),
        (filtered(3, mode=0), filtered(8, mode=0)),
    ):
        assert observe_rp(before, after, ANSWERS, TUNNEL).finding == "clear"
    unknown = replace(filtered(8), arrivals=())
    assert observe_rp(unknown, unknown, ANSWERS, TUNNEL).finding == "blind"
    six = replace(ANSWERS, source="fd66::2", destination="fd66::1")
    assert observe_rp(filtered(3), filtered(8), six, TUNNEL).finding == "clear"


def test_a_loose_filter_does_not_get_looser() -> None:
    """It drops what no route leads back to: the route is missing then."""
    death = killed(observe_rp(filtered(3, mode=2), filtered(8, mode=2), ANSWERS, TUNNEL))
    assert "the loose reverse-path filter" in death.message
    assert {remedy.kind for remedy in death.remedies} == {"next"}


def test_the_outer_station_is_the_uplink_s() -> None:
    """The same filter, where the tunnel's own packets come in."""
    outer = replace(ANSWERS, interface_in="eth0.7")
    made = replace(
        filtered(8),
        filters=ReversePathFilter({"eth0.7": 1}, 8),
        arrivals=(Arrival(flow=outer, refused=True),),
    )
    found = observe_rp(filtered(3), made, outer, TUNNEL, station="rp-outer")
    assert (found.station.id, found.station.host, found.direction) == ("rp-outer", "receiver", "reverse")
    assert killed(found).facts == replace(killed(found).facts, sysctl="net.ipv4.conf.eth0/7.rp_filter")  # type: ignore[type-var]


def counted(counters: Counters, kind: str = "wireguard") -> NetworkState:
    return replace(state(links=changed("wg0", kind=kind)), counters=counters)


def sockets(dropped: int, *, waiting: int = 9000) -> Counters:
    return Counters(sockets=(UdpSocket(51820, waiting, dropped), UdpSocket(53, 0, 999)))


def test_a_daemon_that_does_not_read_its_socket() -> None:
    """The drops of the tunnel's own port count, and no other's."""
    death = killed(observe_socket_outer(counted(sockets(1)), counted(sockets(9)), TUNNEL))
    assert (death.code, death.facts and death.facts.port) == (codes.OVERLAY_DAEMON_DOWN, 51820)
    assert "UDP port 51820 dropped 8 packets" in death.message
    assert observe_socket_outer(counted(sockets(9)), counted(sockets(9)), TUNNEL).finding == "clear"
    assert observe_socket_outer(counted(Counters()), counted(Counters()), TUNNEL).finding == "blind"
    assert observe_socket_outer(state(), state(), replace(TUNNEL, listen_port=None)).finding == "blind"


def devices(dropped: int, name: str = "wg0") -> Counters:
    return Counters(devices={name: Device(sent_dropped=dropped)})


def test_a_daemon_that_does_not_take_what_is_sent() -> None:
    """Only a tun has a queue to a daemon: the kernel's WireGuard counts there what dies much later."""
    before, after = devices(1), devices(9)
    death = killed(observe_tunnel(counted(before, "tun"), counted(after, "tun"), TUNNEL))
    assert (death.code, "dropped 8 packets" in death.message) == (codes.OVERLAY_DAEMON_DOWN, True)
    assert observe_tunnel(counted(before), counted(after), TUNNEL).finding == "blind"
    assert observe_tunnel(counted(before, "tun"), counted(before, "tun"), TUNNEL).finding == "blind"


def test_packets_that_go_round_in_the_tunnel_fill_its_queue() -> None:
    """Not the daemon is to blame for thousands of packets, where every way out leads into the tunnel itself."""
    halves = tuple(entry(each, "wg0") for each in ("0.0.0.0/1", "128.0.0.0/1"))
    before, after = counted(devices(0), "tun"), replace(counted(devices(9000), "tun"), entries=(*ENTRIES, *halves))
    death = killed(observe_tunnel(before, after, TUNNEL, 6))
    assert death.code == codes.OVERLAY_ENDPOINT_LOOP
    assert "9000 packets while this node sent 6" in death.message
    known = killed(observe_tunnel(before, after, TUNNEL, 6, routed=True))
    assert (known.code, known.certain) == (codes.OVERLAY_DAEMON_DOWN, False), "the route to the endpoint says it"
    around = entry("203.0.113.7/32", "eth0", gateway="192.0.2.1")
    for other in (replace(after, entries=(*after.entries, around)), replace(after, entries=ENTRIES)):
        flooded = killed(observe_tunnel(before, other, TUNNEL, 6))
        assert (flooded.code, flooded.certain) == (codes.OVERLAY_DAEMON_DOWN, False), "by whom is not known"


def queued(dropped: int, name: str = "eth0") -> NetworkState:
    return counted(Counters(queues=(Queue(interface=name, kind="bfifo", dropped=dropped),)))


def test_a_queue_that_drops_what_leaves() -> None:
    """As many as were sent prove it; fewer may be others', of which nothing is claimed."""
    death = killed(observe_egress(queued(1), queued(6), "eth0", TUNNEL, sent=5))
    assert (death.code, death.facts and death.facts.interface) == (codes.REACH_NO_FORWARD, "eth0")
    assert "eth0 drops packets for b" in death.message
    assert "(bfifo)" in death.message
    assert [remedy.lines for remedy in death.remedies] == [("tc qdisc del dev eth0 root",)]
    for after, sent in ((queued(4), 5), (queued(6), 0)):
        assert observe_egress(queued(1), after, "eth0", TUNNEL, sent=sent).finding == "blind"


def test_a_queue_that_is_full_kills_no_way() -> None:
    """Protects a slow line from a fix that deletes its shaper, for what other packets made it drop."""
    found = observe_egress(queued(1), queued(9), "eth0", TUNNEL, sent=6, passed=3)
    assert (found.finding, "let others of the burst pass" in found.reason) == ("blind", True)


def test_only_large_packets_die_in_a_shaper() -> None:
    """The burst's class decides about the code."""
    death = killed(observe_egress(queued(0), queued(5), "eth0", TUNNEL, sent=5, packets="large"))
    assert (death.code, death.facts and death.facts.packet_class) == (codes.MTU_BLACK_HOLE, "large")


def test_what_a_device_drops_counts_for_an_uplink_and_not_for_a_tunnel() -> None:
    """A tunnel's device counts what dies behind it, at another station."""
    found = observe_egress(counted(devices(1, "eth0")), counted(devices(6, "eth0")), "eth0", TUNNEL, sent=5)
    assert "the device itself dropped 5" in killed(found).message
    inner = observe_egress(counted(devices(1)), counted(devices(6)), "wg0", TUNNEL, station="egress", sent=5)
    assert inner.finding == "clear"


def test_evidence_is_what_has_moved() -> None:
    """Counters of drops, without those that are unchanged or unknown."""
    before, after = Counters(values={"Ip.OutDiscards": 1, "Udp.NoPorts": 4}), Counters(values={"Ip.OutDiscards": 3})
    assert moved(counted(before), counted(after)) == {"Ip.OutDiscards": 2}


@pytest.mark.parametrize(("came", "finding"), [(None, "killed"), (10, "killed"), (11, "clear"), (0, "clear")])
def test_a_filter_that_dropped_fewer_than_came_let_them_in(came: int | None, finding: str) -> None:
    """Its counter is of the whole node, and wg-quick marks what the verdict, without a mark, refuses."""
    assert observe_rp(filtered(3), filtered(8), ANSWERS, TUNNEL, station="rp-outer", came=came).finding == finding
