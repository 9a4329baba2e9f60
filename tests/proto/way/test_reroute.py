"""What wg-quick has made and this machine has lost comes back whole, not for one peer alone."""

from dataclasses import replace

from preflight.model.flow import Flow
from preflight.model.kernel import MAIN_TABLE
from preflight.model.network_state import TunnelSide
from preflight.model.routing import Entry, Rule
from preflight.proto.way.observation import Death
from preflight.proto.way.outer import observe_route_outer
from preflight.proto.way.routing import observe_route
from tests.proto.way.test_routing import killed
from tests.proto.way.world import INNER, LINKS, OUTER, RULES, TUNNEL, entry, state

MARK = 51820
FULL_TUNNEL = replace(TUNNEL, mark=MARK)
NOT_MAIN = tuple(Rule(version=version, priority=32764, table=MAIN_TABLE, suppress=0) for version in (4, 6))
TAKES_ALL = tuple(
    Rule(version=version, priority=32765, table=MARK, mark=MARK, mask=2**32 - 1, inverted=True) for version in (4, 6)
)
OUTSIDE = (entry("192.0.2.0/24", "eth0"), entry("0.0.0.0/0", "eth0", gateway="192.0.2.1"), entry("::/0", "eth0"))
INSIDE = (entry("0.0.0.0/0", "wg0", table=MARK), entry("::/0", "wg0", table=MARK))


def death_of(rules: tuple[Rule, ...], entries: tuple[Entry, ...], tunnel: TunnelSide = FULL_TUNNEL) -> Death:
    made = state(links=LINKS, rules=(*RULES, *NOT_MAIN, *rules), entries=entries, flows=(INNER,))
    return killed(observe_route(made, (INNER,), tunnel))


def lines(death: Death) -> list[str]:
    return [line for remedy in death.remedies for line in remedy.lines]


def test_the_rule_of_a_full_tunnel_comes_back_although_that_of_ipv6_is_there() -> None:
    """Protects from a route to one peer that makes the report green, while all else leaves outside the tunnel."""
    death = death_of((TAKES_ALL[1],), (*OUTSIDE, *INSIDE))
    assert lines(death) == ["ip -4 rule add not fwmark 51820 pref 32765 lookup 51820"]
    assert "because no rule leads to table 51820, where wg-quick has put the default route by wg0" in death.message


def test_an_ordinary_user_sees_the_rule_by_its_twin() -> None:
    """The mark is for root to read; the rule of the other family has it too."""
    unread = replace(FULL_TUNNEL, mark=0, owned=None)
    assert lines(death_of((TAKES_ALL[1],), (*OUTSIDE, *INSIDE), unread))[0].startswith("ip -4 rule add not fwmark")
    # A table that only its owner's rules lead to is none of wg-quick's.
    assert lines(death_of((), (*OUTSIDE, *INSIDE), unread)) == ["ip route replace 10.66.0.2/32 dev wg0"]


def test_the_default_route_of_a_full_tunnel_comes_back() -> None:
    """Protects a table that something emptied: all that the rule sends there has lost its way, not one peer."""
    death = death_of(TAKES_ALL, (*OUTSIDE, INSIDE[1]))
    assert lines(death) == ["ip route replace 0.0.0.0/0 dev wg0 table 51820"]
    assert (
        "because table 51820, to which the rule `32765: not fwmark 0xca6c lookup 51820` leads, is empty"
        in death.message
    )


def test_a_product_that_writes_its_routes_keeps_them() -> None:
    """A rule of ours would be in its way."""
    managed = replace(FULL_TUNNEL, product="tailscale", manages_routes=True)
    found = death_of((TAKES_ALL[1],), (*OUTSIDE, *INSIDE), managed).remedies
    assert {remedy.kind for remedy in found} == {"next"}


LOOPING = replace(OUTER, mark=0)


def looping(rules: tuple[Rule, ...], flow: Flow, tunnel: TunnelSide) -> Death:
    made = state(links=LINKS, rules=(*RULES, *NOT_MAIN, *rules), entries=(*OUTSIDE, *INSIDE), flows=(INNER, flow))
    return killed(observe_route_outer(made, flow, tunnel))


def test_a_tunnel_that_lost_its_mark_gets_it_back() -> None:
    """`wg syncconf` takes it away. A route to this endpoint alone would leave the other peers in the loop."""
    death = looping(TAKES_ALL, LOOPING, replace(FULL_TUNNEL, mark=0))
    assert lines(death) == ["wg set wg0 fwmark 51820"]
    assert "to which the rule `32765: not fwmark 0xca6c lookup 51820` leads, and wg0 gives its own packets no mark" in (
        death.message
    )
    other = looping(TAKES_ALL, replace(OUTER, mark=7), replace(FULL_TUNNEL, mark=7))
    assert "gives its own packets the mark 0x7" in other.message


def test_a_loop_without_a_rule_for_marks_is_one_of_routes() -> None:
    """Nor is a mark the fix where the marked packets would not leave either, or another product marks them."""
    everything = replace(TAKES_ALL[0], mark=0, mask=0, inverted=False)
    assert lines(looping((everything,), LOOPING, FULL_TUNNEL))[0].startswith("ip -4 route replace")
    assert lines(looping(TAKES_ALL, LOOPING, replace(FULL_TUNNEL, product="nebula")))[0].startswith("ip -4 route")
