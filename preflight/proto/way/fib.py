"""Which rule and which entry decide about a flow: the kernel's own order, followed through the dumps of its tables.

The kernel names the table and the entry of what it found, and never the rule, nor what made it refuse. So the dumps
are followed, and what they lead to counts only where it agrees with the kernel's own answer.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address

from preflight.model.flow import Flow
from preflight.model.kernel import MAIN_TABLE
from preflight.model.network_state import NetworkState
from preflight.model.overlay import IPNetwork
from preflight.model.routing import (
    DEFAULT_TABLE,
    LOCAL_TABLE,
    REFUSING,
    Entry,
    Lookup,
    Range,
    RouteType,
    Rule,
    protocol_number,
)

_LOOPBACK = "lo"
"""The kernel looks for the way of its own packets as if they came in by it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What decides about a flow. rule: None where none of them finds anything; entry: None where a rule refuses."""

    type: RouteType
    rule: Rule | None = None
    entry: Entry | None = None

    @property
    def interface(self) -> str | None:
        """The device that packets leave by."""
        return self.entry.interface if self.entry else None


def decide(
    state: NetworkState,
    flow: Flow,
    *,
    without: Rule | Entry | None = None,
    beyond: Callable[[Entry], bool] | None = None,
) -> Decision:
    """Follow the rules. without: as if this rule or entry were not there. beyond: entries that are left out too."""
    version = 6 if flow.is_ipv6 else 4
    rules = sorted(
        (each for each in state.rules if each.version == version and each != without), key=lambda rule: rule.priority
    )
    entries = [each for each in state.entries if each.version == version and each != without and not each.dead]
    if beyond is not None:
        entries = [each for each in entries if not beyond(each)]
    least = 0
    for rule in rules:
        if rule.priority < least or not selects(rule, flow):
            continue
        if rule.action == "goto" and rule.goto is not None:
            least = rule.goto
        elif rule.action == "table":
            found = _in_table(entries, rule, flow)
            if found is not None and found.type != "throw":
                return Decision(found.type, rule, found)
        elif rule.action in ("blackhole", "unreachable", "prohibit"):
            return Decision(rule.action, rule)
    return Decision("none")


def explain(state: NetworkState, lookup: Lookup) -> Decision | None:
    """What made the kernel answer as it did; None where the dumps do not lead to the same answer."""
    if not state.rules:
        return None
    found = decide(state, lookup.flow)
    # A rule `unreachable` gives the error of no route at all.
    by_rule = (found.type, lookup.type, found.entry) == ("unreachable", "none", None)
    if found.type != lookup.type and not by_rule:
        return None
    if lookup.refused:
        return found if state.complete or found.type != "none" else None
    entry = found.entry
    same = entry is not None and entry.table == lookup.table and entry.destination == lookup.matched
    return found if same else None


def missing_main_rule(state: NetworkState, flow: Flow) -> bool:
    """Whether no rule leads to the main table any more, which every machine has."""
    version = 6 if flow.is_ipv6 else 4
    rules = [rule for rule in state.rules if rule.version == version]
    return bool(rules) and not any(rule.action == "table" and rule.table == MAIN_TABLE for rule in rules)


def unused_tables(state: NetworkState, flow: Flow) -> dict[int, Entry]:
    """Tables that no rule leads this flow to, each with its entry for the destination."""
    version = 6 if flow.is_ipv6 else 4
    rules = [rule for rule in state.rules if rule.version == version and rule.action == "table"]
    used = {rule.table for rule in rules if selects(rule, flow)}
    tables = {entry.table for entry in state.entries} - used - {LOCAL_TABLE, DEFAULT_TABLE}
    entries = [entry for entry in state.entries if entry.version == version and not entry.dead]
    found = {table: _longest([each for each in entries if each.table == table], flow) for table in sorted(tables)}
    return {table: entry for table, entry in found.items() if entry is not None and entry.type not in REFUSING}


def by_a_mark(
    state: NetworkState, flow: Flow, leads: Callable[[Decision], bool], *, inverted: bool = False
) -> Rule | None:
    """The rule that leads a flow where it belongs if a firewall gives its packets the rule's mark; None: no mark does.

    The kernel routes what this node sends again where a rule of the firewall has marked it (nft's `type route`).
    inverted: also a rule for everything without its mark, such as wg-quick's, which the mark leads past.
    """
    version = 6 if flow.is_ipv6 else 4
    marking = (each for each in state.rules if each.version == version and each.mark and each.inverted <= inverted)
    return next((each for each in marking if leads(decide(state, replace(flow, mark=each.mark)))), None)


def selects(rule: Rule, flow: Flow) -> bool:
    """Whether a rule is for a flow that this node sends by a socket without a device."""
    checks = (
        _within(rule.source, flow.source),
        _within(rule.destination, flow.destination),
        (flow.mark & rule.mask) == rule.mark,
        rule.incoming in (None, _LOOPBACK),
        rule.outgoing is None,
        _between(rule.uids, flow.uid),
        rule.protocol in (None, protocol_number(flow)),
        _between(rule.source_ports, flow.source_port),
        _between(rule.destination_ports, flow.destination_port),
        not rule.traffic_class,
    )
    if rule.l3mdev:
        return False
    return all(checks) is not rule.inverted


def _in_table(entries: Iterable[Entry], rule: Rule, flow: Flow) -> Entry | None:
    found = _longest([each for each in entries if each.table == rule.table], flow)
    suppressed = found is not None and rule.suppress is not None and found.destination.prefixlen <= rule.suppress
    return None if suppressed else found


def _longest(entries: Iterable[Entry], flow: Flow) -> Entry | None:
    """The most specific entry; of several, the one with the smallest metric."""
    fitting = [
        each
        for each in entries
        if _within(each.destination, flow.destination) and _within(each.from_network, flow.source)
    ]
    return min(fitting, key=lambda entry: (-entry.destination.prefixlen, entry.metric), default=None)


def _within(network: IPNetwork | None, address: str) -> bool:
    if network is None or network.prefixlen == 0:
        return True
    if not address:
        return False
    wanted = ip_address(address)
    return wanted.version == network.version and wanted in network


def _between(wanted: Range | None, number: int | None) -> bool:
    return wanted is None or (number is not None and wanted[0] <= number <= wanted[1])
