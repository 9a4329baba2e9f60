"""Which rules would stop a flow behind the one that stops it: each needs a line, or the fix heals half."""

from dataclasses import replace

from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.observe import observe_filters
from preflight.proto.way.netfilter.ruleset import FilterSnapshot, Ruleset

from .recordings import OF_THIS_KIND, flow, ruleset, snapshot

pytestmark = OF_THIS_KIND


def twice(rules: Ruleset) -> Ruleset:
    """The same chains a second time, in another table that comes later."""
    later = tuple(
        replace(chain, table=f"{chain.table}2", priority=chain.priority + 50)
        for chain in rules.chains
        if chain.hook in (None, "output")
    )
    sets = {**rules.sets, **{(family, f"{table}2", name): each for (family, table, name), each in rules.sets.items()}}
    return replace(rules, chains=(*rules.chains, *later), sets=sets)


def lines(found: FilterSnapshot, burst: Burst) -> tuple[str, list[str]]:
    death = observe_filters(found, found, [burst])[-1].death
    assert death is not None
    return death.message, [line for remedy in death.remedies for line in remedy.lines]


def test_one_rule_needs_one_line() -> None:
    """Protects the plain case."""
    burst = Burst(flow=flow(950))
    message, fixes = lines(snapshot(ruleset("usual"), {burst.flow: None}), burst)
    assert len(fixes) == 1
    assert "behind it" not in message


def test_a_second_table_needs_a_second_line() -> None:
    """Protects the reader from a fix after which packets die at the next rule; the sentence names that one."""
    burst = Burst(flow=flow(950))
    message, fixes = lines(snapshot(twice(ruleset("usual")), {burst.flow: None}), burst)
    assert [line.split()[:6] for line in fixes] == [
        ["nft", "insert", "rule", "inet", "filter", "output"],
        ["nft", "insert", "rule", "inet", "filter2", "output"],
    ]
    assert "behind it rule 11 of table inet filter2, chain output would stop them too" in message


def test_a_policy_behind_a_policy_needs_a_line_for_each() -> None:
    """Protects hosts where two programs drop by default."""
    burst = Burst(flow=flow(862, device="eth0"))
    message, fixes = lines(snapshot(twice(ruleset("usual")), {burst.flow: None}), burst)
    assert [line.split()[:6] for line in fixes] == [
        ["nft", "add", "rule", "inet", "filter", "output"],
        ["nft", "add", "rule", "inet", "filter2", "output"],
    ]
    assert "the policy of chain filter2 output" in message
