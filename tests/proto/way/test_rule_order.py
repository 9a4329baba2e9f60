"""Rules of several overlays, as two tunnels of wg-quick and Tailscale really add them."""

from dataclasses import replace
from ipaddress import ip_network

from preflight import codes
from preflight.model.flow import Flow
from preflight.model.network_state import NetworkState
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.peer import Peer
from preflight.model.routing import Lookup, Rule
from preflight.proto.way.fib import decide
from preflight.proto.way.rule_order import Outside, endpoints, in_a_circle, outer_flows, outranked, taken_by_the_exit
from tests.proto.way.world import ENDPOINT, ENTRIES, LINKS, RULES, entry

ALL = ip_network("0.0.0.0/0")
FULL = 2**32 - 1


def tunnel(name: str, mark: int) -> OverlayState:
    """One that has all of this node's traffic, to one endpoint."""
    peer = OverlayPeer(key=name, endpoint=f"{ENDPOINT}:{mark}", addresses=(ALL,))
    return OverlayState("wireguard", name, up=True, mtu=1420, peers=(peer,), listen_port=mark, fwmark=mark)


def not_marked(priority: int, mark: int) -> tuple[Rule, Rule]:
    """What wg-quick adds."""
    return (
        Rule(version=4, priority=priority - 1, table=254, suppress=0),
        Rule(version=4, priority=priority, table=mark, mark=mark, mask=FULL, inverted=True),
    )


WG0, WG1 = tunnel("wg0", 51820), tunnel("wg1", 51821)
BOTH = NetworkState(
    links=LINKS,
    rules=(*RULES, *not_marked(32765, 51820), *not_marked(32763, 51821)),
    entries=(*ENTRIES, entry("0.0.0.0/0", "wg0", table=51820), entry("0.0.0.0/0", "wg1", table=51821)),
)
PEERS = (Peer("10.66.0.2", "b"), Peer("10.67.0.2", "c"))


def asked(state: NetworkState, *flows: Flow) -> NetworkState:
    """With what the kernel says of these flows, which is what its rules lead to."""

    def lookup(flow: Flow) -> Lookup:
        found = decide(state, flow)
        assert found.entry is not None
        at = found.entry
        return Lookup(flow=flow, interface=at.interface, table=at.table, matched=at.destination, gateway=at.gateway)

    return replace(state, lookups=tuple(map(lookup, flows)))


def test_two_tunnels_that_carry_each_other() -> None:
    """Both directions are named, and the marks lead both past the rules: no tunnel is switched off."""
    death = in_a_circle(asked(BOTH, *outer_flows((WG0, WG1))), (WG0, WG1), PEERS)
    assert death is not None
    assert death.code is codes.OVERLAY_ENDPOINT_LOOP
    assert death.message == (
        "wg0 and wg1 carry each other's packets, and none of them leaves this node: its kernel sends the packets of "
        f"wg0 to {ENDPOINT} into wg1 (by the rule `32763: not fwmark 0xca6d lookup 51821`), and the packets of wg1 to "
        f"{ENDPOINT} into wg0 (by the rule `32765: not fwmark 0xca6c lookup 51820`)"
    )
    lines = [line for each in death.remedies for line in each.lines]
    assert lines == [f"ip -4 rule add fwmark {mark} pref 32761 lookup 254" for mark in (51820, 51821)]


def test_a_tunnel_inside_another_is_no_circle() -> None:
    """wg0 by wg1, which leaves: many nodes are meant so. Nor is one that nobody here waits for."""
    nested = replace(BOTH, rules=(*RULES, *not_marked(32763, 51821)))
    assert in_a_circle(asked(nested, *outer_flows((WG0, WG1))), (WG0, WG1), PEERS) is None
    assert in_a_circle(asked(BOTH, *outer_flows((WG0, WG1))), (WG0, WG1), ()) is None


def test_a_circle_without_marks_has_no_line_that_heals() -> None:
    """Nothing shows which packets are a tunnel's own."""
    bare = tuple(replace(each, fwmark=0) for each in (WG0, WG1))
    routed = replace(
        BOTH, rules=RULES, entries=(entry("0.0.0.0/0", "wg0"), entry(f"{ENDPOINT}/32", "wg1"), *ENTRIES[1:2])
    )
    one = replace(bare[0], peers=(replace(bare[0].peers[0], endpoint=f"{ENDPOINT}:51820"),))
    other = replace(bare[1], peers=(replace(bare[1].peers[0], endpoint="198.51.100.9:51821"),))
    death = in_a_circle(asked(routed, *outer_flows((one, other))), (one, other), PEERS)
    assert death is not None
    assert [each.kind for each in death.remedies] == ["next"]


NB, TAILNET = (
    Peer("100.64.0.2", "nb"),
    OverlayState("tailscale", "tailscale0", up=True, mtu=1280, prefixes=(ip_network("100.64.0.0/10"),), fwmark=0x80000),
)
TO_NB = Flow(source="", destination=NB.address, destination_port=862)
TAILSCALE = (
    Rule(version=4, priority=5210, table=254, mark=0x80000, mask=0xFF0000),
    Rule(version=4, priority=5270, table=52),
)
WITH_TAILNET = replace(
    BOTH,
    rules=(*RULES, *TAILSCALE, *not_marked(5209, 51820)),
    entries=(*BOTH.entries, entry("100.64.0.2/32", "tailscale0", table=52)),
)


def test_a_rule_that_comes_before_tailscales() -> None:
    """wg-quick's, started later: both rules, who is cut off, and the line that gives the tailnet its place back."""
    (death,) = outranked(asked(WITH_TAILNET, TO_NB), [(NB, TO_NB, TAILNET)])
    assert death.code is codes.OVERLAY_ROUTE_LEAK
    assert death.message == (
        "the rule `5209: not fwmark 0xca6c lookup 51820` comes before `5270: from all lookup 52`, which leads to the "
        "routes of tailscale: what is for nb goes out by wg0 (`default dev wg0 table 51820`), not by tailscale0"
    )
    assert [each.lines for each in death.remedies] == [("ip -4 rule add to 100.64.0.0/10 pref 5208 lookup 52",)]


def test_rules_in_the_right_order_take_nothing() -> None:
    """The tunnel was started first, or the peer's own tunnel is the one that the rule leads to."""
    calm = replace(WITH_TAILNET, rules=(*RULES, *TAILSCALE, *not_marked(32765, 51820)))
    assert outranked(asked(calm, TO_NB), [(NB, TO_NB, TAILNET)]) == ()
    assert outranked(asked(WITH_TAILNET, TO_NB), [(NB, TO_NB, WG0)]) == ()


def test_many_peers_are_one_finding() -> None:
    """Three names at most."""
    others = [Peer(f"100.64.0.{number}", f"n{number}") for number in range(2, 8)]
    flows = [Flow(source="", destination=each.address, destination_port=862) for each in others]
    known = replace(
        WITH_TAILNET,
        entries=(*BOTH.entries, *(entry(f"{each.address}/32", "tailscale0", table=52) for each in others)),
    )
    (death,) = outranked(asked(known, *flows), [(p, f, TAILNET) for p, f in zip(others, flows, strict=True)])
    assert "what is for n2 and n3 and n4 and 3 more goes out by wg0" in death.message
    assert len(death.remedies) == 1


EXIT = replace(BOTH, rules=(*RULES, *TAILSCALE), entries=(*BOTH.entries, entry("0.0.0.0/0", "tailscale0", table=52)))
CONTROL = Outside("the control plane", Flow(source="", destination="192.0.2.9", protocol="tcp", destination_port=9847))


def test_an_exit_node_takes_what_is_near() -> None:
    """The control plane next to this node, and another tunnel's endpoint there; the lever is Tailscale's own."""
    near = replace(WG0, fwmark=0, peers=(OverlayPeer(key="k", endpoint="192.0.2.7:51820", addresses=(ALL,)),))
    (end,) = endpoints((near,))
    for outside, name in ((CONTROL, "the control plane (192.0.2.9)"), (end, "the endpoint of wg0 (192.0.2.7)")):
        death = taken_by_the_exit(asked(EXIT, outside.flow), TAILNET, (outside,))
        assert death is not None
        assert death.message.startswith(name)
        assert (
            "is in eth0's own network 192.0.2.0/24, and what is for it goes to the exit node by tailscale0 (by the rule"
            in (death.message)
        )
        assert [each.lines for each in death.remedies] == [("tailscale set --exit-node-allow-lan-access",)]


def test_an_exit_node_that_leaves_the_lan_alone_takes_only_the_rest() -> None:
    """What is far away is what an exit is for, and Tailscale's own packets never go there."""
    let = replace(EXIT, entries=(*EXIT.entries, entry("192.0.2.0/24", type="throw", table=52)))
    far = Outside("the control plane", replace(CONTROL.flow, destination="198.51.100.1"))
    own = Outside("its own", replace(CONTROL.flow, mark=0x80000))
    for state, outside in ((let, CONTROL), (EXIT, far), (EXIT, own)):
        assert taken_by_the_exit(asked(state, outside.flow), TAILNET, (outside,)) is None
