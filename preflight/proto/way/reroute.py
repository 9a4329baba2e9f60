"""What heals a route: each change is tried on the dumps of the tables first, and offered only if it leads on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_network

from preflight.model.fix import PolicyRule, RefusalDelete, Route, WireguardMark
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


@dataclass(frozen=True, slots=True)
class Lost:
    """A rule or a route that a machine, or wg-quick, has and this one has lost. why: a clause; empty: said already."""

    remedies: Remedies
    why: str = ""


def lost(state: NetworkState, flow: Flow, tunnel: TunnelSide, leads: Leads) -> Lost:
    """What is missing; no remedies if nothing is, or if adding it does not lead on.

    With it all else comes back that went the same way. A route to one peer would hide that the rest leaves outside.
    """
    if missing_main_rule(state, flow):
        rule = _lookup(flow, MAIN_TABLE, MAIN_RULE)
        return Lost(_added(state, flow, rule, leads, "it is there after each start"))
    if tunnel.manages_routes:
        return Lost(())
    return _lost_rule(state, flow, tunnel, leads) or _lost_default(state, flow, tunnel, leads) or Lost(())


def _lost_rule(state: NetworkState, flow: Flow, tunnel: TunnelSide, leads: Leads) -> Lost | None:
    """wg-quick's rule for everything except the tunnel's own packets, whose table is still there."""
    name = tunnel.interface
    for table, entry in unused_tables(state, flow).items():
        mark = tunnel.mark or _by_its_twin(state, table)
        if entry.interface not in tunnel.interfaces or entry.destination.prefixlen != 0 or not mark:
            continue
        rule = replace(_lookup(flow, table, _BEFORE_MAIN), mark=mark, mask=_WHOLE_MARK, inverted=True)
        why = f"no rule leads to table {table}, where wg-quick has put the default route by {name}"
        remedies = _added(state, flow, rule, leads, f"wg-quick adds it when it starts {name}")
        return Lost(remedies, why) if remedies else None
    return None


def _by_its_twin(state: NetworkState, table: int) -> int:
    """The mark of the other family's rule, for who may not read the tunnel's: wg-quick's has the table's number."""
    return table if any(each.inverted and each.mark == each.table == table for each in state.rules) else 0


def _lost_default(state: NetworkState, flow: Flow, tunnel: TunnelSide, leads: Leads) -> Lost | None:
    """The default route of the table to which wg-quick's rule for everything except the tunnel's own packets leads."""
    version = 6 if flow.is_ipv6 else 4
    filled = {each.table for each in state.entries if each.version == version}
    for rule in state.rules:
        its_own = rule.inverted and bool(rule.mark) and rule.mark in (tunnel.mark, rule.table)
        if rule.version != version or not its_own or rule.action != "table" or rule.table in filled:
            continue
        everywhere = ip_network("::/0" if flow.is_ipv6 else "0.0.0.0/0")
        entry = Entry(version=version, table=rule.table, destination=everywhere, interface=tunnel.interface)
        if tunnel.mark in (0, rule.mark) and leads(decide(replace(state, entries=(*state.entries, entry)), flow)):
            return Lost(_route(entry, tunnel), f"table {rule.table}, to which the rule `{rule}` leads, is empty")
    return None


def _route(entry: Entry, tunnel: TunnelSide) -> Remedies:
    return heal(
        lambda: Route(
            action="replace", destination=str(entry.destination), interface=entry.interface, table=entry.table
        ),
        lasting=f"wg-quick adds it when it starts {tunnel.interface}",
    )


def _lookup(flow: Flow, table: int, priority: int) -> Rule:
    return Rule(version=6 if flow.is_ipv6 else 4, priority=priority, table=table)


def by_its_mark(state: NetworkState, flow: Flow, tunnel: TunnelSide, found: Decision | None) -> Lost:
    """The mark by which wg-quick's rule leaves the tunnel's own packets out, where the device has lost it.

    `wg setconf` and `wg syncconf` take it away, for wg-quick writes it into no file.
    """
    rule = found.rule if found is not None else None
    if rule is None or not rule.inverted or rule.mark in (0, flow.mark) or rule.mask != _WHOLE_MARK:
        return Lost(())
    if tunnel.product != "wireguard" or not around(tunnel)(decide(state, replace(flow, mark=rule.mark))):
        return Lost(())
    has = f"the mark {flow.mark:#x}" if flow.mark else "no mark"
    return Lost(
        heal(
            lambda: WireguardMark(interface=tunnel.interface, mark=rule.mark),
            lasting=f"wg-quick sets it when it starts {tunnel.interface}",
        ),
        f"to which the rule `{rule}` leads, and {tunnel.interface} gives its own packets {has}",
    )


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
