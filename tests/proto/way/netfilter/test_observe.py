"""Recorded rulesets: what is said of flows, without root and without a kernel."""

from dataclasses import replace

import pytest

from preflight.model.flow import Flow
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.observe import observe_filters
from preflight.proto.way.netfilter.ruleset import Counted, FilterSnapshot, Ruleset, Tracked
from preflight.proto.way.observation import Death, Observation

from .recordings import OF_THIS_KIND, flow, legacy_ruleset, ruleset, snapshot

pytestmark = OF_THIS_KIND


def asked(rules: Ruleset, burst: Burst) -> tuple[Observation, ...]:
    """What is said where nothing has counted, and connection tracking has no entry."""
    found = snapshot(rules, {burst.flow: None})
    return observe_filters(found, found, [burst])


def death(observations: tuple[Observation, ...]) -> Death:
    found = observations[-1].death
    assert found is not None
    return found


def counted(rules: Ruleset, comment: str | None, packets: int) -> Ruleset:
    """The same rules, where the one with a comment has counted; without one, all that count."""
    chains = tuple(
        replace(
            chain,
            rules=tuple(
                replace(rule, counter=Counted(packets, packets * 100))
                if rule.counter is not None and comment in (None, rule.comment)
                else rule
                for rule in chain.rules
            ),
        )
        for chain in rules.chains
    )
    return replace(rules, chains=chains)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (flow(950), "drops packets to 10.66.0.2 UDP port 950: rule 24 of table inet filter, chain output"),
        (flow(700), "chain output"),
        (flow(862, length_bytes=1400), 'chain output (comment "large")'),
        (flow(862, device="eth0"), "the policy of chain filter output (nftables, family inet)"),
        (flow(862, "fd66::2", device="eth0"), "drops packets to fd66::2 UDP port 862: the policy of chain"),
    ],
)
def test_the_rule_that_stops_a_flow(sent: object, said: str) -> None:
    """Sets with ranges, joined keys, verdict maps, lengths and policies are read as the kernel reads them."""
    found = death(asked(ruleset("usual"), Burst(flow=sent)))  # type: ignore[arg-type]
    assert found.certain
    assert found.code.slug == "host.firewall-drop"
    if "rule 24" not in said:
        assert said in found.message


def test_what_no_rule_touches_is_clear() -> None:
    """Protects from false alarms at a firewall that drops by default."""
    observations = asked(ruleset("usual"), Burst(flow=flow(862)))
    assert [each.finding for each in observations] == ["clear"] * 3


def test_a_counter_decides_what_the_rules_leave_open() -> None:
    """A rule that was to count each packet and did not move was never reached; one that moved is the one."""
    rules = ruleset("usual")
    refused = flow(701)
    still = snapshot(rules, {refused: None})
    burst = Burst(flow=refused, sent=5)
    assert [each.finding for each in observe_filters(still, still, [burst])] == ["absent"]
    moved = snapshot(counted(rules, "not here", 5), {refused: None})
    (observation,) = observe_filters(still, moved, [burst])
    assert observation.seen == 5
    assert observation.death is not None
    assert "rejects packets to 10.66.0.2 UDP port 701: rule" in observation.death.message
    assert '(comment "not here")' in observation.death.message


def test_a_limit_is_not_certain() -> None:
    """A rule that matches some packets only, and has no counter, may be the one and is not proven."""
    found = death(asked(ruleset("usual"), Burst(flow=flow(702)))[:1])
    assert not found.certain
    assert "no counter shows it" in found.message
    assert found.remedies[0].kind == "next"


def test_an_established_flow_passes_what_a_new_one_does_not() -> None:
    """What connection tracking holds decides; where it is not known, nothing is certain."""
    sent = flow(950)
    rules = ruleset("usual")
    held = Tracked(
        established=True, source="10.66.0.1", source_port=40000, destination="10.66.0.2", destination_port=950
    )
    # The question is about the connection, whatever the size and the device of these packets are.
    other_size = replace(sent, length_bytes=sent.length_bytes + 60, interface_out=None, mark=7)
    known: tuple[dict[Flow, Tracked | None], ...] = ({sent: held}, {other_size: held}, {})
    for tracked, findings in zip(known, ({"clear"}, {"clear"}, {"killed", "clear"}), strict=True):
        found = snapshot(rules, tracked)
        observations = observe_filters(found, found, [Burst(flow=sent)])
        assert {each.finding for each in observations} == findings
        assert not any(each.death.certain for each in observations if each.death)


def test_whether_a_flow_may_begin_so_whatever_this_one_has_become() -> None:
    """A host's own probes make answers of what came before them and was dropped."""
    sent = flow(950)
    held = Tracked(
        established=True,
        source="10.66.0.1",
        source_port=40000,
        destination="10.66.0.2",
        destination_port=950,
        answers=True,
    )
    found = snapshot(ruleset("usual"), {sent: held})
    observations = observe_filters(found, found, [Burst(flow=sent, fresh=True)])
    assert death(observations).certain


def test_a_source_that_tracking_shows_rewritten() -> None:
    """The rule that translates, and the address that the kernel really gave."""
    sent = flow(703)
    held = Tracked(
        established=False, source="192.0.2.9", source_port=40000, destination="10.66.0.2", destination_port=703
    )
    found = snapshot(ruleset("usual"), {sent: held})
    last = observe_filters(found, found, [Burst(flow=sent)])[-1]
    assert last.station.id == "post-out"
    assert last.death is not None
    assert last.death.code.slug == "reach.no-forward"
    assert "gives them the source 192.0.2.9" in last.death.message
    outside = observe_filters(found, found, [Burst(flow=sent, outer=True)])[-1]
    assert outside.station.id == "post-outer"
    assert outside.death is not None
    assert (outside.death.code.slug, outside.death.certain) == ("reach.no-reverse", False)
    for seen, proven in (("192.0.2.9", True), ("192.0.2.8", False)):
        burst = Burst(flow=sent, outer=True, left_as=seen)
        tapped = observe_filters(found, found, [burst])[-1].death
        assert tapped is not None
        assert (tapped.certain, tapped.later) == (proven, True), "packets pass the rule, and die further on"


@pytest.mark.parametrize(("seen", "certain"), [(None, False), ("192.0.2.8", False), ("192.0.2.9", True)])
def test_a_source_that_a_tap_saw_proves_the_only_rule_that_gives_it(seen: str | None, certain: bool) -> None:
    """A rule without a counter fits; with packets that have its source in the tunnel it is the one that did it."""
    sent = flow(703)
    found = snapshot(ruleset("usual"), {})
    said = observe_filters(found, found, [Burst(flow=sent, left_as=seen)])
    (killed,) = [each for each in said if each.finding == "killed"]
    assert killed.station.id == "post-out"
    assert killed.death is not None
    assert (killed.death.certain, killed.death.later) == (certain, True)
    assert (said[-1] == killed) is certain


def test_outside_a_rule_by_length_is_a_black_hole() -> None:
    """Only the tunnel's large packets die: the code of a path that loses them, and the rule."""
    small, large = flow(862), flow(862, length_bytes=1400)
    found = snapshot(ruleset("usual"), {small: None, large: None})
    bursts = [Burst(flow=small, outer=True, packets="data"), Burst(flow=large, outer=True, packets="large")]
    last = observe_filters(found, found, bursts)[-1]
    assert last.death is not None
    assert last.death.code.slug == "mtu.black-hole"
    assert "its tunnel's own packets of 1400 bytes" in last.death.message


@pytest.mark.parametrize("variant", ["iptables-nft", "legacy"])
def test_both_variants_of_iptables(variant: str) -> None:
    """The same rules, read from nftables and from the older tables, stop the same flows."""
    rules = legacy_ruleset() if variant == "legacy" else ruleset(variant)
    counting = counted(rules, None, 5)

    def last_of(sent: Flow) -> Observation:
        return observe_filters(snapshot(rules), snapshot(counting, {sent: None}), [Burst(flow=sent, sent=5)])[-1]

    for port, chain, stops in ((700, "filter OUTPUT", True), (715, "filter OUTPUT", True), (702, "", False)):
        last = last_of(flow(port))
        assert (last.finding == "killed") is stops
        if stops:
            assert last.death is not None
            assert last.death.facts is not None
            assert last.death.facts.chain == chain
            assert last.death.facts.comment == "closed"
    last = last_of(flow(701))
    assert last.death is not None
    assert ("filter LATER" if variant == "legacy" else "chain LATER") in last.death.message


def test_the_other_family_of_iptables() -> None:
    """ip6tables-legacy has its own tables and layout."""
    sent = flow(862, "fd66::2")
    after = snapshot(counted(legacy_ruleset(), None, 5), {sent: None})
    found = death(observe_filters(snapshot(legacy_ruleset()), after, [Burst(flow=sent, sent=5)]))
    assert "rule 1 of chain filter OUTPUT (ip6tables-legacy)" in found.message
    (remedy,) = found.remedies
    assert remedy.lines == ("ip6tables-legacy -w -t filter -I OUTPUT 1 -o wg0 -d fd66::2 -j ACCEPT",)


def test_a_rule_that_never_counted_is_not_proven() -> None:
    """Nothing of the flow may have come so far: the rule is named, and an observer with a proof outranks it."""
    first = asked(legacy_ruleset(), Burst(flow=flow(700)))[0]
    assert first.death is not None
    assert not first.death.certain


def test_without_root_every_station_is_blind() -> None:
    """What nobody could read is said with what would have let us."""
    found = FilterSnapshot(unreadable="only root sees the rules of this node's firewall")
    observations = observe_filters(found, found, [Burst(flow=flow(862))])
    assert [(each.station.id, each.finding) for each in observations] == [
        ("filter-out", "blind"),
        ("post-out", "blind"),
        ("egress", "blind"),
    ]
    assert all("only root" in each.reason for each in observations)


def test_rules_that_changed_meanwhile_prove_nothing_by_their_counters() -> None:
    """A rule's number means another rule after a change: counters are then left out."""
    rules = ruleset("usual")
    shorter = replace(rules, chains=tuple(replace(chain, rules=chain.rules[1:]) for chain in rules.chains))
    sent = flow(701)
    found = observe_filters(snapshot(shorter), snapshot(counted(rules, "not here", 5), {sent: None}), [
        Burst(flow=sent, sent=5)
    ])  # fmt: skip
    assert found[-1].seen == 0
