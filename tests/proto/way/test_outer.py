"""The station `route-outer`: where the tunnel's own packets go."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from preflight import codes
from preflight.model.flow import Flow
from preflight.model.kernel import Link
from preflight.model.network_state import NetworkState
from preflight.model.remedy import as_text
from preflight.model.routing import Neighbour, Rule
from preflight.model.udp_port import UdpPort
from preflight.proto.way.observation import Death
from preflight.proto.way.outer import dead_uplinks, observe_route_outer
from tests.proto.way.test_routing import killed
from tests.proto.way.world import ENDPOINT, ENTRIES, GATEWAY, LINKS, OUTER, ROUTER, RULES, TUNNEL, changed, entry, state

HOST = f"{ENDPOINT}/32"
SILENT = "ip -4 rule"


def death(made: NetworkState) -> Death:
    return killed(observe_route_outer(made, OUTER, TUNNEL))


def test_a_way_out_is_clear_and_an_unknown_endpoint_is_blind() -> None:
    """Protects healthy machines, and says what would let us look."""
    assert observe_route_outer(state(), OUTER, TUNNEL).finding == "clear"
    unknown = observe_route_outer(state(), None, TUNNEL)
    assert (unknown.finding, "is not known" in unknown.reason) == ("blind", True)


@pytest.mark.parametrize(
    ("links", "entries"),
    [
        (changed("eth0", up=False, carrier=False), ENTRIES[:1]),
        # IPv6 loses its addresses with the link, and so does IPv4 with most DHCP clients.
        (changed("eth0", up=False, carrier=False, addresses=()), ENTRIES[:1]),
        # Half-default routes lead the endpoint into the tunnel as soon as its host route has gone with the link.
        (changed("eth0", up=False, carrier=False), (*ENTRIES[:1], entry("128.0.0.0/1", "wg0"))),
    ],
)
def test_the_uplink_is_switched_off(links: tuple[Link, ...], entries: tuple[object, ...]) -> None:
    """The link is the cause, whatever its lost routes look like, and one command heals it."""
    found = death(state(links=links, entries=entries))  # type: ignore[arg-type]
    assert (found.code, found.facts and found.facts.interface) == (codes.HOST_UPLINK_DOWN, "eth0")
    assert "eth0, by which" in found.message
    assert "is switched off" in found.message
    # Its routes are gone too, so that switching it on may not be enough.
    assert [remedy.kind for remedy in found.remedies] == ["next"]
    assert str(as_text(found.remedies)).startswith("ip link set dev eth0 up")
    for flow in (None, OUTER):
        observed = observe_route_outer(state(links=links, entries=entries), flow, TUNNEL)  # type: ignore[arg-type]
        assert (observed.finding, killed(observed).certain) == ("killed", True)


def test_switching_the_uplink_on_heals_where_the_endpoint_is_next_to_it() -> None:
    """No route has to come back then but the link's own."""
    near = replace(OUTER, destination="192.0.2.7")
    made = state(links=changed("eth0", up=False, carrier=False), entries=(), flows=(near,))
    found = killed(observe_route_outer(made, near, TUNNEL))
    assert as_text(found.remedies) == "ip link set dev eth0 up"


def test_the_uplink_has_no_carrier() -> None:
    """Right after the cable is out, the look-up still succeeds; no command puts it in again."""
    found = death(state(links=changed("eth0", carrier=False)))
    assert (found.code, found.facts and found.facts.interface) == (codes.HOST_UPLINK_DOWN, "eth0")
    assert "has no carrier" in found.message
    assert str(as_text(found.remedies)).startswith("Plug in the cable of eth0")


def test_a_link_that_is_down_is_innocent_while_another_works() -> None:
    """Protects from a wrong cause: docker0 without a container, an empty socket of the machine, a second tunnel."""
    docker = Link(7, "docker0", 1500, up=True, carrier=False, kind="bridge", addresses=(ip_interface("172.17.0.1/16"),))
    spare = Link(8, "eth1", 1500, up=False, carrier=False)
    assert dead_uplinks(state(links=(*LINKS, docker, spare)), TUNNEL, ipv6=False) == ()
    lost = death(state(links=(*LINKS, docker, spare), entries=ENTRIES[:2]))
    assert (lost.code, lost.facts and lost.facts.route_type) == (codes.REACH_NO_FORWARD, "none")
    down = (*changed("eth0", up=False, carrier=False), docker)
    assert [link.name for link in dead_uplinks(state(links=down), TUNNEL, ipv6=False)] == ["eth0"]


def test_two_links_that_are_down_are_both_named() -> None:
    """Which of them it was cannot be known, so it is not certain."""
    spare = Link(8, "eth1", 1500, up=False, carrier=False, addresses=(ip_interface("198.51.100.2/24"),))
    found = death(state(links=(*changed("eth0", up=False, carrier=False), spare), entries=()))
    assert (found.certain, "eth0 or eth1" in found.message) == (False, True)


def test_no_default_route() -> None:
    """The type is in the sentence; a router that has a way gives the fix, one that only says it is a router a hint."""
    found = death(state(entries=ENTRIES[:2]))
    assert (found.code, found.facts and found.facts.route_type) == (codes.REACH_NO_FORWARD, "none")
    assert "none of its routes leads there" in found.message
    assert [remedy.kind for remedy in found.remedies] == ["next"]
    assert "ip -4 route add default via 192.0.2.1 dev eth0" in str(as_text(found.remedies))
    asked = killed(observe_route_outer(state(entries=ENTRIES[:2]), OUTER, TUNNEL, (ROUTER,)))
    assert str(as_text(asked.remedies)).startswith("ip route replace 0.0.0.0/0 via 192.0.2.1 dev eth0")
    two = (ROUTER, replace(ROUTER, address="192.0.2.3", hardware="02:00:00:00:00:07"))
    unsure = killed(observe_route_outer(state(entries=ENTRIES[:2]), OUTER, TUNNEL, two))
    assert {remedy.kind for remedy in unsure.remedies} == {"next"}
    flow = Flow(source="", destination="2001:db8::7", source_port=51820, destination_port=51820)
    router = Neighbour(interface="eth0", address="fe80::1", state="stale", hardware="02:00:00:00:00:01", router=True)
    links = changed("eth0", addresses=(ip_interface("2001:db8:1::2/64"),))
    made = state(links=links, entries=(), neighbours=(router,), flows=(flow,))
    hint = killed(observe_route_outer(made, flow, TUNNEL))
    assert [remedy.kind for remedy in hint.remedies] == ["next"]
    six = killed(observe_route_outer(made, flow, TUNNEL, (router,)))
    assert str(as_text(six.remedies)).startswith("ip route replace ::/0 via fe80::1 dev eth0")


@pytest.mark.parametrize("kind", ["blackhole", "unreachable", "prohibit"])
def test_a_route_or_a_rule_that_refuses_the_endpoint(kind: str) -> None:
    """By the type, with the words of what refuses, and a fix that leads out again."""
    by_route = death(state(entries=(*ENTRIES, entry(HOST, type=kind))))
    assert f"`{kind} {ENDPOINT}` is of type {kind}" in by_route.message
    assert str(as_text(by_route.remedies)).startswith(f"ip -4 route del {kind} {HOST}")
    rule = Rule(version=4, priority=90, destination=ip_network(HOST), protocol=17, action=kind)  # type: ignore[arg-type]
    by_rule = death(state(rules=(*RULES, rule)))
    assert by_rule.facts
    assert by_rule.facts.route_type == kind
    assert str(as_text(by_rule.remedies)).startswith(f"ip -4 rule del to {HOST} ipproto 17 pref 90 {kind}")


def test_the_endpoint_is_routed_into_the_tunnel() -> None:
    """A host route is deleted; a default through the tunnel stays, and the endpoint gets a way around it."""
    by_host = death(state(entries=(*ENTRIES, entry(HOST, "wg0"))))
    assert (by_host.code, by_host.facts and by_host.facts.endpoint) == (
        codes.OVERLAY_ENDPOINT_LOOP,
        f"{ENDPOINT}:51820",
    )
    assert f"{ENDPOINT}:51820 into wg0 itself" in by_host.message
    assert str(as_text(by_host.remedies)).startswith(f"ip route del {HOST} dev wg0")
    by_half = death(state(entries=(*ENTRIES, entry("128.0.0.0/1", "wg0"))))
    assert str(as_text(by_half.remedies)).startswith(f"ip -4 route replace {HOST} $(")
    nowhere = death(state(entries=(*ENTRIES[:2], entry("0.0.0.0/0", "wg0"))))
    assert {remedy.kind for remedy in nowhere.remedies} == {"next"}


def test_the_endpoint_is_this_node_itself() -> None:
    """Its own address in the place of the peer's, as in a copied file: the packets are seen to leave, by loopback."""
    links = changed("lo", addresses=(ip_interface("127.0.0.1/8"), ip_interface(HOST)))
    found = death(state(links=links, entries=(*ENTRIES, entry(HOST, "lo", table=255, type="local"))))
    assert (found.code, found.facts and found.facts.interface) == (codes.OVERLAY_ENDPOINT_LOOP, "lo")
    assert f"the endpoint {ENDPOINT}:51820 of b is an address of this node itself, on lo" in found.message
    assert found.later
    assert {remedy.kind for remedy in found.remedies} == {"next"}


def test_the_endpoint_is_a_program_of_this_node() -> None:
    """A relay that runs takes the packets on; of one that does not, nobody asks whether its address is the peer's."""
    links = changed("lo", addresses=(ip_interface("127.0.0.1/8"),))
    to = replace(OUTER, destination="127.0.0.1", destination_port=5555)
    world = state(links=links, entries=(*ENTRIES, entry("127.0.0.1", "lo", table=255, type="local")), flows=(to,))
    relay = UdpPort(5555, "127.0.0.1", "wstunnel")
    tunnel = replace(TUNNEL, endpoint="127.0.0.1:5555")
    assert observe_route_outer(world, to, replace(tunnel, relay=relay)).finding == "clear"
    found = killed(observe_route_outer(world, to, replace(tunnel, unheard=True)))
    assert found.code is codes.OVERLAY_ENDPOINT_LOOP
    assert found.message.endswith(
        "and nothing listens on that port: a program that carries the tunnel's packets on would"
    )
    assert "start the program that should listen there" in str(as_text(found.remedies))


def test_without_the_endpoint_a_missing_default_route_fits_and_is_not_certain() -> None:
    """An ordinary user cannot read the endpoint, which may be in this node's own network."""
    found = killed(observe_route_outer(state(entries=ENTRIES[:2]), None, TUNNEL))
    assert (found.certain, found.facts and found.facts.route_type) == (False, "none")
    incomplete = replace(state(entries=ENTRIES[:2]), complete=False)
    assert observe_route_outer(incomplete, None, TUNNEL).finding == "blind"
    in_another_table = state(entries=(*ENTRIES[:2], entry("0.0.0.0/0", "eth0", table=101)))
    assert observe_route_outer(in_another_table, None, TUNNEL).finding == "blind"


def test_a_tunnel_that_the_default_route_leads_by_is_an_uplink() -> None:
    """Protects from a false sentence where one tunnel runs in another: its network leads outside."""
    below = replace(LINKS[1], name="vx0", index=9, kind="vxlan")
    out = entry("0.0.0.0/0", "vx0", gateway=GATEWAY)
    found = observe_route_outer(state(links=(*LINKS, below), entries=(*ENTRIES[:2], out)), None, TUNNEL)
    assert (found.finding, found.reason) == ("blind", "the tunnel's endpoint is not known")
    assert observe_route_outer(state(links=(*LINKS, below), entries=ENTRIES[:2]), None, TUNNEL).finding == "killed"


def test_a_tunnel_below_that_was_switched_off_took_the_default_route_with_it() -> None:
    """Its own uplink works and may know a router: a default route there would lead around the tunnel that is down."""
    below = replace(LINKS[1], name="vx0", index=9, kind="vxlan", up=False, carrier=False)
    made = state(links=(*LINKS, below), entries=ENTRIES[:2])
    found = killed(observe_route_outer(made, OUTER, TUNNEL, (ROUTER,)))
    assert (found.code, found.facts and found.facts.interface) == (codes.HOST_UPLINK_DOWN, "vx0")
    for innocent in (replace(below, addresses=()), replace(below, kind="wireguard"), replace(below, up=True)):
        assert death(state(links=(*LINKS, innocent), entries=ENTRIES[:2])).code is codes.REACH_NO_FORWARD
    assert observe_route_outer(state(links=(*LINKS, below)), OUTER, TUNNEL).finding == "clear"


def test_packets_that_the_kernel_had_no_route_for_prove_it() -> None:
    """It counts what it refuses: as many as the burst had, while nothing of this node leads outside."""
    found = killed(observe_route_outer(state(entries=ENTRIES[:2]), None, TUNNEL, unrouted=6))
    assert (found.certain, found.facts and found.facts.route_type) == (True, "none")
    assert "found none for 6 packets" in found.message
    assert observe_route_outer(state(), None, TUNNEL, unrouted=6).finding == "blind"


def test_without_a_link_to_the_outside_the_tunnel_leaves_elsewhere() -> None:
    """A container that has only the tunnel's device lacks no route: its packets leave in the host's namespace."""
    inside = state(links=tuple(link for link in LINKS if link.name != "eth0"), entries=ENTRIES[:1])
    for flow in (None, OUTER):
        found = observe_route_outer(inside, flow, TUNNEL)
        assert (found.finding, "in another network namespace" in found.reason) == ("blind", True)
    with_an_uplink = state(entries=ENTRIES[:2])
    assert observe_route_outer(with_an_uplink, OUTER, replace(TUNNEL, elsewhere=True)).finding == "blind"


@pytest.mark.parametrize(("endpoint", "kind"), [("203.0.113.7", "next"), ("9.9.9.9", "fix")])
def test_a_route_that_carries_more_than_the_endpoint_is_never_deleted(endpoint: str, kind: str) -> None:
    """It may be the way to the control plane's LAN. A private address behind the peer may exist only there."""
    flow = replace(OUTER, destination=endpoint)
    network = str(ip_network(f"{endpoint}/24", strict=False))
    made = state(entries=(*ENTRIES, entry(network, "wg0")), flows=(flow,))
    found = killed(observe_route_outer(made, flow, TUNNEL))
    assert found.code == codes.OVERLAY_ENDPOINT_LOOP
    assert [each.kind for each in found.remedies] == [kind]
    assert "route del" not in str(as_text(found.remedies))
    asked = observe_route_outer(
        state(entries=(*ENTRIES, entry(network, "wg0")), flows=(flow,)), flow, TUNNEL, (ROUTER,)
    )
    assert [each.kind for each in killed(asked).remedies] == ["fix"]


@pytest.mark.parametrize("unrouted", [0, 6])
def test_who_does_not_know_the_endpoint_is_told_of_the_carrier_that_is_down(unrouted: int) -> None:
    """Protects a tunnel in a tunnel: the link below works, and "no route leads outside" hid what was switched off.

    The endpoint may be on the link that works, unless the kernel found no route for all that had to be sent.
    """
    below = replace(
        LINKS[1], name="vx0", index=9, kind="vxlan", up=False, carrier=False, addresses=(ip_interface("10.9.0.2/24"),)
    )
    made = state(links=(*LINKS, below), entries=ENTRIES[:2])
    found = killed(observe_route_outer(made, None, TUNNEL, unrouted=unrouted))
    assert (found.code, found.facts and found.facts.interface) == (codes.HOST_UPLINK_DOWN, "vx0")
    assert found.certain is bool(unrouted)
