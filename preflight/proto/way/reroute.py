"""What heals a route: each change is tried on the dumps of the tables first, and offered only if it leads on."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network

from preflight.model.fix import PolicyRule, RefusalDelete, Route
from preflight.model.flow import Flow
from preflight.model.kernel import MAIN_TABLE
from preflight.model.network_state import NetworkState, TunnelSide
from preflight.model.remedy import Remedies, heal, look
from preflight.model.routing import MAIN_RULE, REFUSING, Entry, Rule
from preflight.proto.way.fib import Decision, decide, missing_main_rule, unused_tables

Leads = Callable[[Decision], bool]
"""Whether a decision sends packets where they belong."""

_ALSO = "take it out of the network's configuration too"
_BEFORE_MAIN = MAIN_RULE - 1


def show(flow: Flow) -> Remedies:
    """What shows the rules and the look-up."""
    family = "-6" if flow.is_ipv6 else "-4"
    mark = f" mark {flow.mark:#x}" if flow.mark else ""
    return look(f"ip {family} rule; ip {family} route get {flow.destination}{mark}")


def into(tunnel: TunnelSide) -> Leads:
    """By the tunnel's device, from whatever source."""
    return lambda found: found.type == "unicast" and found.interface in tunnel.interfaces


def around(tunnel: TunnelSide) -> Leads:
    """By another device than the tunnel's."""
    return lambda found: found.type == "unicast" and found.interface not in (None, *tunnel.interfaces)


def without(state: NetworkState, flow: Flow, found: Decision, leads: Leads) -> Remedies:
    """Delete the rule or the route that refuses; nothing if that alone does not lead on."""
    if found.rule is None or not leads(decide(state, flow, without=found.entry or found.rule)):
        return ()
    if found.entry is not None:
        return _without_entry(found.entry)
    rule = found.rule
    if not _is_named(rule, state):
        return ()
    return heal(lambda: _rule_fix(rule, "del"), lasting=_ALSO)


def _without_entry(entry: Entry) -> Remedies:
    if entry.type not in REFUSING or entry.from_network is not None:
        return ()
    kind, table = entry.type, _table(entry.table)
    return heal(lambda: RefusalDelete(kind=kind, destination=str(entry.destination), table=table), lasting=_ALSO)  # type: ignore[arg-type]


def to_tunnel(state: NetworkState, flow: Flow, tunnel: TunnelSide, found: Decision | None) -> Remedies:
    """A route for this peer alone, in the table that decides now, so that no other host loses its way."""
    if tunnel.manages_routes or tunnel.owned is False or lacks_ipv6(state, flow, tunnel):
        return ()
    table = found.entry.table if found is not None and found.entry is not None else MAIN_TABLE
    host = ip_network(flow.destination)
    entry = Entry(version=host.version, table=table, destination=host, interface=tunnel.interface)
    others = tuple(each for each in state.entries if (each.table, each.destination) != (table, host))
    if state.rules and not into(tunnel)(decide(replace(state, entries=(*others, entry)), flow)):
        return ()
    return heal(
        lambda: Route(
            action="replace",
            destination=str(host),
            interface=tunnel.interface,
            source=_source(state, flow, tunnel),
            table=_table(table),
        ),
        lasting="in the tunnel's configuration",
    )


def lacks_ipv6(state: NetworkState, flow: Flow, tunnel: TunnelSide) -> bool:
    """Whether the tunnel's device has no IPv6 address, not even of the link: IPv6 is off there, and takes no route."""
    link = state.link(tunnel.interface)
    return flow.is_ipv6 and link is not None and link.up and not any(own.version == 6 for own in link.addresses)


def _source(state: NetworkState, flow: Flow, tunnel: TunnelSide) -> str | None:
    """This node's address in the tunnel, where its device does not have it and the kernel would choose another."""
    own, link = tunnel.own_address(flow), state.link(tunnel.interface)
    return None if own is None or link is None or link.has(own) else own


def missing_rule(state: NetworkState, flow: Flow, tunnel: TunnelSide, leads: Leads) -> Remedies:
    """The rule that a machine, or wg-quick, has and this one has lost; nothing if adding it does not lead on."""
    if missing_main_rule(state, flow):
        return _added(state, flow, _lookup(flow, MAIN_TABLE, MAIN_RULE), leads, "it is there after each start")
    mark = 0 if tunnel.manages_routes else tunnel.mark
    for table, entry in unused_tables(state, flow).items():
        if entry.interface in tunnel.interfaces and entry.destination.prefixlen == 0 and mark:
            rule = replace(_lookup(flow, table, _BEFORE_MAIN), mark=mark, mask=2**32 - 1, inverted=True)
            return _added(state, flow, rule, leads, f"wg-quick adds it when it starts {tunnel.interface}")
    return ()


def _lookup(flow: Flow, table: int, priority: int) -> Rule:
    return Rule(version=6 if flow.is_ipv6 else 4, priority=priority, table=table)


def _added(state: NetworkState, flow: Flow, rule: Rule, leads: Leads, lasting: str) -> Remedies:
    if not leads(decide(replace(state, rules=(*state.rules, rule)), flow)):
        return ()
    return heal(lambda: _rule_fix(rule, "add"), lasting=lasting)


def _rule_fix(rule: Rule, action: str) -> PolicyRule:
    return PolicyRule(
        action=action,  # type: ignore[arg-type]
        family="-6" if rule.version == 6 else "-4",
        priority=rule.priority,
        does="lookup" if rule.action == "table" else rule.action,  # type: ignore[arg-type]
        table=rule.table if rule.action == "table" else None,
        source=str(rule.source) if rule.source else None,
        destination=str(rule.destination) if rule.destination else None,
        mark=rule.mark or None,
        inverted=rule.inverted,
        protocol=rule.protocol,
        source_port=rule.source_ports[0] if rule.source_ports else None,
        destination_port=rule.destination_ports[0] if rule.destination_ports else None,
    )


def _is_named(rule: Rule, state: NetworkState) -> bool:
    """Whether the words of a fix select this rule alone, and say all that it selects by: it may have to be put back."""

    def key(each: Rule) -> tuple[object, ...]:
        ports = (each.protocol, each.source_ports, each.destination_ports)
        return (each.version, each.priority, each.action, each.source, each.destination, each.mark, *ports)

    ranges = any(first != last for first, last in filter(None, (rule.source_ports, rule.destination_ports)))
    unsaid = rule.incoming or rule.outgoing or rule.uids or rule.traffic_class or rule.l3mdev
    if ranges or unsaid or rule.mask not in (0, _WHOLE_MARK):
        return False
    return [key(each) for each in state.rules].count(key(rule)) == 1


_WHOLE_MARK = 2**32 - 1


def _table(number: int) -> int | None:
    return None if number == MAIN_TABLE else number
