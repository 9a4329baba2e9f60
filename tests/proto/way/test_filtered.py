"""The rules' word of a burst by three readings, and what it leaves of the tunnel's."""

import pytest

from preflight.codes import HOST_FIREWALL_DROP, OVERLAY_PRESHARED_KEY
from preflight.model.flow import Flow
from preflight.proto.way.filtered import unless_filtered, word_of_rules
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.ruleset import Chain, Counted, Expression, FilterSnapshot, Rule, Ruleset, Verdict
from preflight.proto.way.observation import Death, Finding, Observation
from preflight.proto.way.stations import Station

FLOW = Flow(source="192.0.2.1", destination="192.0.2.2", source_port=1, destination_port=2, interface_out="eth0")
BLIND = FilterSnapshot(unreadable="locked")


def read(packets: int) -> FilterSnapshot:
    """A rule that drops everything that leaves, and has counted some packets."""
    drop = Expression("immediate", {}, Verdict("drop"))
    rule = Rule(1, (Expression("counter", {}), drop), handle=4, counter=Counted(packets, packets * 100))
    chain = Chain(family="inet", table="t", name="o", hook="output", policy="accept", rules=(rule,))
    return FilterSnapshot(ruleset=Ruleset(chains=(chain,)), tracked={FLOW: None})


def killed(said: tuple[Observation, ...]) -> list[bool]:
    """Whether each death is certain."""
    return [each.death.certain for each in said if each.death is not None]


def test_a_rule_that_stops_a_later_try_of_the_tunnel_is_proven() -> None:
    """WireGuard calls every five seconds: what its rule has counted by then shows that it was reached."""
    bursts = (Burst(flow=FLOW, outer=True, packets="handshake"),)
    assert killed(word_of_rules(read(0), read(0), read(0), bursts)) == [False]
    assert killed(word_of_rules(read(0), read(0), read(1), bursts)) == [True]


def test_the_burst_is_judged_by_the_reading_right_behind_it() -> None:
    """Other packets move the same counters later."""
    said = word_of_rules(read(0), read(6), BLIND, (Burst(flow=FLOW, sent=6),))
    assert killed(said) == [True]


@pytest.mark.parametrize(
    ("finding", "certain", "stays"),
    [("clear", None, True), ("killed", True, True), ("killed", False, False), ("blind", None, False)],
)
def test_a_tunnel_refuses_nothing_that_a_rule_may_have_kept_from_it(
    finding: Finding, certain: bool | None, stays: bool
) -> None:
    """An answer that a tap saw may have died in the firewall behind the tap: no key is wrong then."""
    at_rule = None if certain is None else Death(code=HOST_FIREWALL_DROP, message="a rule", certain=certain)
    rules = [
        Observation(station=Station("input-outer", "receiver"), finding=finding, direction="reverse", death=at_rule)
    ]
    at_key = Death(code=OVERLAY_PRESHARED_KEY, message="a key")
    key = Observation(station=Station("session", "receiver"), finding="killed", direction="reverse", death=at_key)
    assert (key in list(unless_filtered([key], rules))) is stays
