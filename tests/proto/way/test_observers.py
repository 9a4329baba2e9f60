"""All observers of one burst: what each gets to know of it, and what the word of one changes in another's."""

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from preflight.model.flow import Flow
from preflight.model.path import AskResult, PeerReport, StampStats
from preflight.model.peer import Peer
from preflight.model.tapped import TapPacket, Tapped
from preflight.model.udp_port import UdpPort
from preflight.proto.way.flows import PROBE_BYTES, openvpn_flow, outer_answer, outer_seen
from preflight.proto.way.kernel_word import Watched
from preflight.proto.way.netfilter.ruleset import FilterSnapshot
from preflight.proto.way.observation import Observation
from preflight.proto.way.observers import (
    Moment,
    Record,
    filter_bursts,
    observe,
)
from preflight.proto.way.tunnel_side import tunnel_side
from tests.proto.way import seeing, world
from tests.proto.way.seeing import BEGAN_NS, HERE, LENGTH, OWN, PORT, PROBE, READ_NS, THERE, B

SENT = 6
KERNEL = world.state(flows=())
OUTER = Flow(source=HERE, destination=THERE, source_port=PORT, destination_port=PORT)


def record(*packets: TapPacket, **values: Any) -> Record:
    """A burst of which nothing came back."""
    overlay = seeing.state()
    peer = Peer(B, "b")
    watched = Watched(
        tunnel=tunnel_side(peer, overlay),
        flows=(Flow(source="", destination=B, destination_port=862),),
        outer=OUTER,
        arrives_by=frozenset(("eth0",)),
    )
    moment = Moment(overlay=overlay, kernel=KERNEL, rules=FilterSnapshot())
    known: dict[str, Any] = {
        "before": moment, "after": moment, "carrier": "wireguard", "read_ns": READ_NS, "ruled_ns": READ_NS,
        "stats": StampStats(sent=SENT, answered=0, local=(OWN, PROBE)),
    }  # fmt: skip
    return Record(peer=peer, watched=watched, tapped=Tapped(packets=packets, began_ns=BEGAN_NS), **(known | values))


def said(made: Record, station: str, host: str = "sender") -> list[Observation]:
    """What was said of one station."""
    return [each for each in observe(made) if (each.station.id, each.station.host) == (station, host)]


def test_rules_are_told_how_many_answers_came_to_them() -> None:
    """The tap is before every hook; what came after the rules were read, they cannot have counted."""
    came = [seeing.outer("data", out=False, at_s=at_s) for at_s in (1.0, 2.0, 9.0)]
    shake = seeing.outer("response", out=False)
    elsewhere = seeing.outer("data", out=False, remote=(seeing.THIRD, PORT))
    made = record(*came, shake, elsewhere, after=Moment(overlay=seeing.state(), kernel=world.state(flows=(OUTER,)),
                  rules=FilterSnapshot()))  # fmt: skip
    counts = {each.packets: each.sent for each in filter_bursts(made) if each.outer and each.direction == "reverse"}
    assert counts == {"data": 2, "handshake": 1}
    assert all(each.sent == 0 for each in filter_bursts(made) if each.outer and each.leaves), "the tap is behind them"


def test_an_endpoint_that_no_product_tells_is_seen_on_the_wire() -> None:
    """VXLAN sends from any port to one; OpenVPN has one remote end. Who others' packets are for nobody can read."""
    vxlan = seeing.outer("data", out=True, remote=(THERE, 4789), product="vxlan", inner_destination=B, local_port=33333)
    found = outer_seen(Tapped(packets=(vxlan,)), B, "vxlan")
    assert found is not None
    assert (found.destination, found.source_port, found.destination_port) == (THERE, None, 4789)
    back = outer_answer(replace(found, interface_out="eth0"))
    assert (back.source, back.source_port, back.destination_port, back.interface_in) == (THERE, None, 4789, "eth0")
    assert outer_seen(Tapped(packets=(vxlan,)), seeing.C, "vxlan") is None
    openvpn = outer_seen(Tapped(packets=(seeing.outer("data", out=True, product="openvpn"),)), B, "openvpn")
    assert openvpn is not None
    assert outer_answer(openvpn).destination_port == PORT
    assert outer_seen(Tapped(packets=(seeing.outer("data", out=True, product="nebula"),)), B, "nebula") is None


@pytest.mark.parametrize(
    ("payload_bytes", "peer", "length"),
    [(76, B, 104), (164, B, 192), (164, "fd66::2", 212), (76, "fd66::2", 124), (0, B, PROBE_BYTES)],
)
def test_a_burst_has_the_length_of_its_own_packets(payload_bytes: int, peer: str, length: int) -> None:
    """Unsigned probes are smaller than signed ones, and IPv6 adds to both: nothing is assumed of a sent burst."""
    stats = StampStats(sent=SENT, answered=0, local=(OWN, PROBE), payload_bytes=payload_bytes)
    made = replace(record(stats=stats), peer=Peer(peer, "b"))
    assert made.inner.length_bytes == length
    assert next(iter(filter_bursts(made))).flow.length_bytes == length


def test_unsigned_probes_are_seen_to_leave() -> None:
    """The tunnel's data is known by the length inside, so a wrong one would claim that nothing left this node."""
    data = [seeing.outer("data", out=True, inner_bytes=(97, 112)) for _ in range(SENT)]
    stats = StampStats(sent=SENT, answered=0, local=(OWN, PROBE), payload_bytes=76)
    made = record(*(seeing.inner(out=True) for _ in range(SENT)), *data, stats=stats)
    (leaving,) = [each for each in said(made, "wire") if each.direction == "forward"]
    assert (leaving.finding, leaving.packets, leaving.seen) == ("seen", "data", 6)


def asked(*, received: int, on_interface: int | None = None) -> AskResult:
    """What the peer's report of ten packets each way says."""
    report = PeerReport(received=received, sent=10)
    return AskResult(sent=10, answered=0, report=report, on_interface=on_interface, local=(OWN, PROBE))


@pytest.mark.parametrize(
    ("received", "meanwhile", "finding"), [(0, False, "blind"), (10, False, "absent"), (0, True, "absent")]
)
def test_only_what_a_peer_sends_while_the_tap_looks_can_be_missed(received: int, meanwhile: bool, finding: str) -> None:
    """A peer that gets nothing answers nothing: what it sent when it was asked, earlier, does not prove a loss now."""
    data = seeing.outer("data", out=True, inner_bytes=(LENGTH - 15, LENGTH))
    stats = StampStats(sent=SENT, answered=0, local=(OWN, PROBE), payload_bytes=LENGTH - 28)
    made = record(seeing.inner(out=True), data, stats=stats, asked=asked(received=received), asked_meanwhile=meanwhile)
    (wire,) = [each for each in said(made, "wire", "receiver") if each.packets == "data"]
    assert wire.finding == finding


def test_a_peer_answers_no_more_than_what_comes_to_it() -> None:
    """Ten probes of before are not missed among the six answers of now: these came to this node's wire."""
    data = [seeing.outer("data", out=out, inner_bytes=(LENGTH - 15, LENGTH)) for out in (True, False)] * SENT
    stats = StampStats(sent=SENT, answered=0, local=(OWN, PROBE), payload_bytes=LENGTH - 28)
    made = record(seeing.inner(out=True), *data, stats=stats, asked=asked(received=10))
    (wire,) = [each for each in said(made, "wire", "receiver") if each.packets == "data"]
    assert (wire.finding, wire.seen, wire.sent) == ("seen", SENT, SENT)


def test_openvpn_sends_to_its_remote_end() -> None:
    """The flow by which the kernel is asked for the way: from the daemon's own port, if it has one."""
    ports = (UdpPort(port=40001, address="0.0.0.0", program="openvpn"), UdpPort(port=53, address="0.0.0.0"))
    flow = openvpn_flow(("192.0.2.1", 1194), ports)
    assert (flow.destination, flow.destination_port, flow.source_port) == ("192.0.2.1", 1194, 40001)
    assert openvpn_flow(("192.0.2.1", 1194), ()).source_port is None


def test_what_came_out_of_the_tunnel_while_the_peer_was_asked() -> None:
    """The inquiry's own watch has seen it, so it died behind the tunnel."""
    made = record(asked=asked(received=0, on_interface=10))
    assert [(each.finding, each.seen) for each in said(made, "tunnel", "receiver")] == [("seen", 10)]
    assert said(record(asked=asked(received=0, on_interface=0)), "tunnel", "receiver") == []


@pytest.mark.parametrize(
    ("address", "product", "managed"),
    [
        (B, "nebula", False),
        ("10.55.0.9", "nebula", False),
        ("10.56.0.9", "nebula", True),
        ("10.56.0.9", "wireguard", False),
        ("10.56.0.9", "zerotier", True),
    ],
)
def test_who_makes_the_routes(address: str, product: str, managed: bool) -> None:
    """Nebula drops what its unsafe_routes lead nowhere: a route of the kernel does not heal that."""
    overlay = seeing.state(product=product, routed=((ip_network("10.55.0.0/24"), B),))
    assert tunnel_side(Peer(address, "x"), overlay).manages_routes is managed
