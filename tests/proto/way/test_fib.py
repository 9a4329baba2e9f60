"""Following the dumps of rules and tables: the kernel's own order, and no explanation that it does not share."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from preflight.model.flow import Flow
from preflight.model.routing import Rule
from preflight.proto.way.fib import by_a_mark, decide, explain, missing_main_rule, selects, unused_tables
from tests.proto.way.world import ENTRIES, INNER, OUTER, PEER, RULES, entry, lookup, state

WG_QUICK = (
    *RULES,
    Rule(version=4, priority=32764, table=254, suppress=0),
    Rule(version=4, priority=32765, table=51820, mark=51820, mask=2**32 - 1, inverted=True),
)
FULL = (*ENTRIES, entry("0.0.0.0/0", "wg0", table=51820))


def test_the_longest_prefix_and_then_the_smallest_metric_decide() -> None:
    """Protects the sentence that names an entry: it must be the one that the kernel takes."""
    more = (entry("10.66.0.0/24", "eth0", metric=100), entry(f"{PEER}/32", "eth0", metric=9), entry(f"{PEER}/32", "t0"))
    assert decide(state(entries=(*ENTRIES, *more)), INNER).interface == "t0"
    assert decide(state(entries=(*ENTRIES, more[0])), INNER).interface == "wg0"


def test_wg_quick_s_rules_send_all_but_the_tunnel_s_own_packets_into_it() -> None:
    """Protects full tunnels: a suppressed default, and a rule that is inverted."""
    made = state(rules=WG_QUICK, entries=FULL)
    elsewhere = Flow(source="", destination="198.51.100.1")
    assert decide(made, elsewhere).interface == "wg0"
    assert decide(made, replace(elsewhere, mark=51820)).interface == "eth0"
    assert decide(made, replace(elsewhere, destination="192.0.2.9")).interface == "eth0"


def test_a_mark_that_would_lead_into_the_tunnel_is_found() -> None:
    """Protects nodes whose firewall marks what goes into the tunnel; wg-quick's mark leads around it instead."""
    marking = Rule(version=4, priority=90, table=100, mark=7, mask=2**32 - 1)
    entries = (entry("0.0.0.0/0", "eth0"), entry(f"{PEER}/32", "wg0", table=100))
    made = state(rules=(*RULES, marking), entries=entries)
    assert decide(made, INNER).interface == "eth0"
    assert by_a_mark(made, INNER, lambda found: found.interface == "wg0") == marking
    assert by_a_mark(made, INNER, lambda found: found.interface == "wg1") is None
    assert by_a_mark(state(rules=WG_QUICK, entries=FULL), INNER, lambda found: found.interface == "wg0") is None


def test_a_throw_a_goto_and_a_rule_that_does_nothing_lead_on() -> None:
    """Protects less common set-ups: the search goes on where the kernel's does."""
    rules = (
        *RULES,
        Rule(version=4, priority=10, table=9),
        Rule(version=4, priority=11, action="nop"),
        Rule(version=4, priority=12, action="goto", goto=100),
        Rule(version=4, priority=50, action="prohibit"),
    )
    made = state(rules=rules, entries=(*ENTRIES, entry("10.66.0.0/24", table=9, type="throw")))
    assert decide(made, INNER).interface == "wg0"


def test_what_is_left_out_and_dead_entries_do_not_decide() -> None:
    """Protects remedies, which are tried here first."""
    host = entry(f"{PEER}/32", type="blackhole")
    made = state(entries=(*ENTRIES, host))
    assert decide(made, INNER).type == "blackhole"
    assert decide(made, INNER, without=host).interface == "wg0"
    assert decide(made, INNER, beyond=lambda each: each.interface == "wg0" or each == host).interface == "eth0"
    assert decide(state(entries=[replace(each, dead=True) for each in ENTRIES]), INNER).type == "none"


@pytest.mark.parametrize(
    ("rule", "flow", "selected"),
    [
        (Rule(version=4, priority=1), INNER, True),
        (Rule(version=4, priority=1, destination=ip_network(f"{PEER}/32")), INNER, True),
        (Rule(version=4, priority=1, destination=ip_network("10.66.0.3/32")), INNER, False),
        (Rule(version=4, priority=1, source=ip_network("192.0.2.0/24")), OUTER, True),
        (Rule(version=4, priority=1, source=ip_network("192.0.2.0/24")), INNER, False),
        (Rule(version=4, priority=1, protocol=17), INNER, True),
        (Rule(version=4, priority=1, protocol=17), replace(INNER, protocol="icmp"), False),
        (Rule(version=6, priority=1, protocol=58), Flow(source="", destination="fd66::2", protocol="icmp"), True),
        (Rule(version=4, priority=1, source_ports=(51820, 51821)), OUTER, True),
        (Rule(version=4, priority=1, destination_ports=(1, 9)), OUTER, False),
        (Rule(version=4, priority=1, destination_ports=(1, 9)), replace(OUTER, destination_port=None), False),
        (Rule(version=4, priority=1, uids=(1000, 2000)), replace(INNER, uid=1500), True),
        (Rule(version=4, priority=1, uids=(1000, 2000)), INNER, False),
        (Rule(version=4, priority=1, mark=0x10, mask=0xF0), replace(INNER, mark=0x1F), True),
        (Rule(version=4, priority=1, mark=0x10, mask=0xF0), replace(INNER, mark=0x20), False),
        (Rule(version=4, priority=1, mark=7, mask=2**32 - 1, inverted=True), INNER, True),
        (Rule(version=4, priority=1, incoming="lo"), INNER, True),
        (Rule(version=4, priority=1, incoming="eth0"), INNER, False),
        (Rule(version=4, priority=1, outgoing="eth0"), INNER, False),
        (Rule(version=4, priority=1, traffic_class=0x10), INNER, False),
        (Rule(version=4, priority=1, l3mdev=True), INNER, False),
    ],
)
def test_a_rule_is_for_what_it_selects(rule: Rule, flow: Flow, selected: bool) -> None:
    """Protects from the wrong rule: each selector is compared as the kernel compares it."""
    assert selects(rule, flow) is selected


def test_an_explanation_that_the_kernel_does_not_share_is_none() -> None:
    """Protects from a wrong sentence: the dumps may be of another moment, or hold what is not understood here."""
    made = state()
    found = explain(made, lookup(made, INNER))
    assert found is not None
    assert found.entry == ENTRIES[0]
    assert explain(made, replace(lookup(made, INNER), table=9)) is None
    assert explain(made, replace(lookup(made, INNER), type="prohibit", error="Permission denied")) is None
    assert explain(replace(made, rules=()), lookup(made, INNER)) is None
    empty = state(entries=())
    assert explain(empty, lookup(empty, INNER)) is not None
    assert explain(replace(empty, complete=False), lookup(empty, INNER)) is None


def test_a_missing_main_rule_and_a_table_without_a_rule_are_found() -> None:
    """Protects the diagnosis of `ip rule del`: what every machine has, and what wg-quick adds."""
    assert not missing_main_rule(state(), INNER)
    assert missing_main_rule(state(rules=[rule for rule in RULES if rule.table != 254]), INNER)
    assert not missing_main_rule(state(rules=()), INNER)
    assert set(unused_tables(state(entries=FULL), INNER)) == {51820}
    assert unused_tables(state(rules=WG_QUICK, entries=FULL), INNER) == {}
