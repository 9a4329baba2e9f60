"""What a fix does, command by command, and what undoes each: pure, except for the questions that it asks first.

A question is a command that only reads. It shows what was there before, so that the change can be undone, and whether
the change would still be right: a report may be older than the state that it describes.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_network
from itertools import pairwise
from typing import Any

from preflight.fixing import filter_steps
from preflight.fixing.step import Ask, FixError, Step, undone_by
from preflight.model import parameters
from preflight.model.change import Command
from preflight.model.fix import (
    AddressDelete,
    ClockSync,
    FilterAccept,
    FilterDelete,
    FilterPass,
    Fix,
    ForwardingEntry,
    IpsecPolicyDelete,
    IptablesPass,
    KernelSettings,
    LinkAddresses,
    LinkMtu,
    LinkMtuByAddress,
    LinkUp,
    NeighbourDelete,
    NoPresharedKey,
    PolicyRule,
    PrivateFiles,
    RefusalDelete,
    Route,
    RouteAround,
    TailscaleTakes,
    WgQuick,
    WgQuickValue,
    WireguardKey,
    WireguardMark,
    WireguardPeer,
    WireguardPort,
    ZeroTierTakes,
)


def steps(fix: Fix, ask: Ask) -> list[Step]:
    """The commands of a fix; none if all is already as it should be. Raises FixError."""
    known: Mapping[type, Callable[[Any, Ask], Iterator[Step]]] = _STEPS
    make = known.get(type(fix))
    return list(make(fix, ask)) if make else [Step(command, None) for command in fix.commands]


def _link_mtu(fix: LinkMtu, ask: Ask) -> Iterator[Step]:
    before = _link(fix.interface, ask)["mtu"]
    if before != fix.mtu_bytes:
        back = ("ip", "link", "set", "dev", fix.interface, "mtu", str(int(before)))
        yield from (Step(command, undone_by(back)) for command in fix.commands)


def _link_mtu_by_address(fix: LinkMtuByAddress, ask: Ask) -> Iterator[Step]:
    links = json.loads(ask(("ip", "-json", "address", "show", "to", fix.address)))
    names = [link["ifname"] for link in links if link.get("ifname")]
    if len(names) != 1:
        raise FixError(f"{fix.address} is on {len(names)} interfaces of this host, not on one")
    try:
        yield from _link_mtu(fix.on(names[0]), ask)
    except ValueError as error:
        raise FixError(str(error)) from None


def _link_up(fix: LinkUp, ask: Ask) -> Iterator[Step]:
    if "UP" not in _link(fix.interface, ask)["flags"]:
        back = ("ip", "link", "set", "dev", fix.interface, "down")
        yield from (Step(command, undone_by(back)) for command in fix.commands)


def _link_addresses(fix: LinkAddresses, ask: Ask) -> Iterator[Step]:
    shown = json.loads(ask(("ip", "-json", "address", "show", "dev", fix.interface)))
    there = {f"{each['local']}/{each['prefixlen']}" for link in shown for each in link.get("addr_info", ())}
    for address, command in zip(fix.addresses, fix.commands, strict=True):
        if address not in there:
            yield Step(command, undone_by(("ip", "address", "del", address, "dev", fix.interface)))


def _link(interface: str, ask: Ask) -> Mapping[str, Any]:
    (link,) = json.loads(ask(("ip", "-json", "link", "show", "dev", interface)))
    found: Mapping[str, Any] = link
    return found


def _kernel_settings(fix: KernelSettings, ask: Ask) -> Iterator[Step]:
    before = {each.name: " ".join(ask(("sysctl", "-n", each.name)).split()) for each in fix.settings}
    if any(before[each.name] != each.value for each in fix.settings):
        back = ("sysctl", "-w", *(f"{name}={value}" for name, value in before.items()))
        yield from (Step(command, undone_by(back)) for command in fix.commands)


def _route(fix: Route, ask: Ask) -> Iterator[Step]:
    family = "-6" if ":" in fix.destination else "-4"
    table = () if fix.table is None else ("table", str(fix.table))
    shown = ask(("ip", family, "route", "show", *table, "exact", fix.destination))
    before = [(*_entry(line), *table) for line in shown.splitlines() if line.strip()]
    write = ("ip", family, "route")
    undo: tuple[Command, ...] = ((*write, "del", *fix.entry),)
    if fix.action == "del":
        before = [entry for entry in before if _fits(fix, entry)]
        if not before:
            raise FixError(f"the route to {fix.destination} is not there any more")
        undo = ((*write, "add", *before[0]),)
    elif fix.action == "replace" and before:
        undo = ((*write, "replace", *before[0]),)
    yield from (Step(command, undone_by(*undo)) for command in fix.commands)


def _route_around(fix: RouteAround, ask: Ask) -> Iterator[Step]:
    show = ("ip", fix.family, "route", "show")
    entries = [_entry(line) for line in ask((*show, "match", fix.endpoint)).splitlines() if line.strip()]
    ways = [entry[1:] for entry in entries if ("dev", fix.interface) not in pairwise(entry)]
    if not ways:
        raise FixError(f"only {fix.interface} leads to {fix.endpoint}")
    before = [_entry(line) for line in ask((*show, "exact", fix.host)).splitlines() if line.strip()]
    write = ("ip", fix.family, "route")
    undo = (*write, "replace", *before[0]) if before else (*write, "del", fix.host)
    yield Step((*write, "replace", fix.host, *ways[-1]), undone_by(undo))


_FLAGS = {"linkdown", "dead", "offload", "rt_offload", "trap", "rt_trap"}
"""What `ip route show` says of an entry, and `ip route add` does not take."""


def _entry(line: str) -> Command:
    """A line of `ip route show` as words for `ip route add`."""
    return tuple(word for word in re.sub(r" expires \S+", "", line).split() if word not in _FLAGS)


def _fits(fix: Route, entry: Command) -> bool:
    pairs = set(pairwise(entry))
    wanted = (("via", fix.gateway), ("dev", fix.interface), ("src", fix.source))
    return all(value is None or (word, value) in pairs for word, value in wanted)


def _policy_rule(fix: PolicyRule, ask: Ask) -> Iterator[Step]:
    there = json.loads(ask(("ip", "-json", fix.family, "rule", "show", "pref", str(fix.priority))))
    if fix.action == "del" and not there:
        raise FixError(f"the rule {fix.priority} is not there any more")
    if fix.action == "add" and any(str(rule.get("table", "")) in _names_of(fix.table) for rule in there):
        return
    back = replace(fix, action="add" if fix.action == "del" else "del")
    yield from (Step(command, undone_by(*back.commands)) for command in fix.commands)


def _names_of(table: int | None) -> tuple[str, ...]:
    return (str(table), {253: "default", 254: "main", 255: "local"}.get(table or 0, str(table)))


def _refusal_delete(fix: RefusalDelete, ask: Ask) -> Iterator[Step]:
    table = () if fix.table is None else ("table", str(fix.table))
    shown = ask(("ip", fix.family, "route", "show", *table, "type", fix.kind, "exact", fix.destination))
    if not shown.strip():
        raise FixError(f"the {fix.kind} route to {fix.destination} is not there any more")
    back = ("ip", fix.family, "route", "add", *_entry(shown.splitlines()[0]), *table)
    yield from (Step(command, undone_by(back)) for command in fix.commands)


def _address_delete(fix: AddressDelete, ask: Ask) -> Iterator[Step]:
    shown = json.loads(ask(("ip", "-json", "address", "show", "dev", fix.interface)))
    there = {f"{each['local']}/{each['prefixlen']}" for link in shown for each in link.get("addr_info", ())}
    if fix.address not in there:
        raise FixError(f"{fix.interface} does not have {fix.address} any more")
    back = ("ip", "address", "add", fix.address, "dev", fix.interface)
    yield from (Step(command, undone_by(back)) for command in fix.commands)


def _neighbour_delete(fix: NeighbourDelete, ask: Ask) -> Iterator[Step]:
    shown = json.loads(ask(("ip", "-json", "neighbour", "show", "to", fix.address, "dev", fix.interface)))
    fixed = [each["lladdr"] for each in shown if "PERMANENT" in each.get("state", ()) and each.get("lladdr")]
    if not fixed:
        raise FixError(f"nobody wrote where {fix.address} is on {fix.interface}")
    entry = (fix.address, "lladdr", fixed[0], "dev", fix.interface, "nud", "permanent")
    yield from (Step(command, undone_by(("ip", "neighbour", "replace", *entry))) for command in fix.commands)


def _forwarding_entry(fix: ForwardingEntry, ask: Ask) -> Iterator[Step]:
    shown = ask(("bridge", "fdb", "show", "dev", fix.interface)).splitlines()
    before = [line.split()[1:] for line in shown if line.startswith(f"{fix.hardware} dst ")]
    if any(words[1] == fix.address for words in before):
        raise FixError(f"{fix.hardware} is at {fix.address} already")
    # What the kernel has learnt it learns again.
    kept = next((words for words in before if words[-1] == "permanent"), None)
    back = ("replace", fix.hardware, *kept) if kept else ("del", fix.hardware, "dst", fix.address, "self")
    yield from (Step(command, undone_by(("bridge", "fdb", *back, "dev", fix.interface))) for command in fix.commands)


def _ipsec_policy_delete(fix: IpsecPolicyDelete, ask: Ask) -> Iterator[Step]:
    if "action block" not in ask(("ip", "xfrm", "policy", "get", *fix.selector)):
        raise FixError("that policy of IPsec does not block")
    back = ("ip", "xfrm", "policy", "add", *fix.selector, "action", "block", "priority", str(fix.priority))
    yield from (Step(command, undone_by(back)) for command in fix.commands)


def _wireguard_peer(fix: WireguardPeer, ask: Ask) -> Iterator[Step]:
    def shown(what: str) -> dict[str, str]:
        rows = (line.partition("\t") for line in ask(("wg", "show", fix.interface, what)).splitlines())
        return {key: value for key, _, value in rows}

    allowed = {key: () if text == "(none)" else tuple(text.split()) for key, text in shown("allowed-ips").items()}
    if fix.key not in allowed:
        raise FixError(f"{fix.interface} has no peer with the key {fix.key}")
    back: list[str] = []
    undoable = True
    if fix.endpoint is not None:
        before = shown("endpoints")[fix.key]
        undoable = before != "(none)"  # no command takes an endpoint away
        back += ["endpoint", before] if undoable else []
    if fix.keepalive_s is not None:
        back += ["persistent-keepalive", shown("persistent-keepalive")[fix.key]]
    if fix.allowed_ips is not None:
        _owned_by_nobody_else(fix, allowed)
        back += ["allowed-ips", ",".join(allowed[fix.key])]
    given_back = [("wg", "set", fix.interface, "peer", fix.key, *back)]
    if fix.taken_from is not None and allowed.get(fix.taken_from):
        owner = ("peer", fix.taken_from, "allowed-ips", ",".join(allowed[fix.taken_from]))
        given_back.append(("wg", "set", fix.interface, *owner))
    undo = undone_by(*given_back) if undoable else None
    yield from (Step(command, undo) for command in fix.commands)


def _wireguard_key(fix: WireguardKey, ask: Ask) -> Iterator[Step]:
    rows = (line.partition("\t") for line in ask(("wg", "show", fix.interface, "allowed-ips")).splitlines())
    allowed = {key: () if text == "(none)" else tuple(text.split()) for key, _, text in rows}
    if fix.instead_of is not None and fix.instead_of not in allowed:
        raise FixError(f"{fix.interface} has no peer with the key {fix.instead_of} any more")
    wanted = [ip_network(text) for text in fix.allowed_ips]
    for key, texts in allowed.items():
        taken = [each for each in wanted if each in [ip_network(text) for text in texts]]
        if key not in (fix.key, fix.instead_of) and taken:
            raise FixError(f"{taken[0]} belongs to another peer of {fix.interface}, {key}")
    new = fix.key not in allowed
    # An entry that goes takes its preshared key with it, which nothing here reads.
    undo = undone_by(("wg", "set", fix.interface, "peer", fix.key, "remove"))
    yield from (Step(command, undo if new and fix.instead_of is None else None) for command in fix.commands)


def _wireguard_own(fix: WireguardPort | WireguardMark, ask: Ask) -> Iterator[Step]:
    what, wanted = ("listen-port", str(fix.port)) if isinstance(fix, WireguardPort) else ("fwmark", hex(fix.mark))
    before = ask(("wg", "show", fix.interface, what)).strip()
    if before != wanted:
        # With port 0 a tunnel has no socket, because another has its port; set to 0, it would get one at any port.
        undo = undone_by(("wg", "set", fix.interface, what, before)) if before != "0" else None
        yield from (Step(command, undo) for command in fix.commands)


def _no_preshared_key(fix: NoPresharedKey, ask: Ask) -> Iterator[Step]:
    for link in json.loads(ask(("ip", "-json", "address", "show", "to", fix.address))):
        name = link.get("ifname", "")
        if parameters.is_interface(name) and fix.key in _peers(name, ask):
            yield from (Step((*command[:2], name, *command[3:]), None) for command in fix.commands)
            return
    raise FixError(f"no WireGuard interface with {fix.address} has a peer with the key {fix.key}")


def _peers(interface: str, ask: Ask) -> list[str]:
    try:
        return ask(("wg", "show", interface, "peers")).split()
    except FixError:  # not WireGuard's
        return []


def _owned_by_nobody_else(fix: WireguardPeer, allowed: Mapping[str, tuple[str, ...]]) -> None:
    """Raise FixError if the list would take an address from a peer: from this one, or from another."""
    wanted = [ip_network(text) for text in fix.allowed_ips or ()]
    own = [ip_network(text) for text in allowed[fix.key]]
    if missing := [network for network in own if network not in wanted]:
        raise FixError(f"the peer has {missing[0]} by now, which the list would take away")
    for key, texts in allowed.items():
        for network in map(ip_network, texts):
            taken = [
                each for each in wanted if each not in own and each.version == network.version and _in(each, network)
            ]
            if key not in (fix.key, fix.taken_from) and taken:
                raise FixError(f"{taken[0]} belongs to another peer of {fix.interface}, {key}")


def _in(one: Any, other: Any) -> bool:
    return bool(one.subnet_of(other))


def _wg_quick(fix: WgQuick, ask: Ask) -> Iterator[Step]:
    del ask  # what a running tunnel was like is in no file
    down = ("wg-quick", "down", fix.interface)
    for command in fix.commands:
        yield Step(command, undone_by(down) if command[1] == "up" and not fix.again else None)


def _wg_quick_value(fix: WgQuickValue, ask: Ask) -> Iterator[Step]:
    number = ask(fix.find).strip()
    if number.startswith("+") and number[1:].isdecimal():
        yield Step(fix.changed(number), undone_by(("sed", "-i", f"{int(number) + 1}d", fix.file)))
        return
    if not number.isdecimal():
        raise FixError(f"{fix.file} has no section for {fix.setting}")
    before = ask(("sed", "-n", f"{number}s/^[^=]*= *//p", fix.file)).strip()
    if before != fix.value:
        back = ("sed", "-i", f"{number}s|=.*|= {before}|", fix.file)
        yield Step(fix.changed(number), undone_by(back))


def _clock_sync(fix: ClockSync, ask: Ask) -> Iterator[Step]:
    if ask(("timedatectl", "show", "--property=NTP", "--value")).strip() != "yes":
        yield from (Step(command, undone_by(("timedatectl", "set-ntp", "false"))) for command in fix.commands)


def _private_files(fix: PrivateFiles, ask: Ask) -> Iterator[Step]:
    back = tuple(("chmod", ask(("stat", "-L", "-c", "%a", path)).strip(), path) for path in fix.paths)
    yield from (Step(command, undone_by(*back)) for command in fix.commands)


def _product_takes(fix: TailscaleTakes | ZeroTierTakes, ask: Ask) -> Iterator[Step]:
    yield from (Step(command, undone_by(fix.back)) for command in fix.commands)


_STEPS: Mapping[type, Callable[[Any, Ask], Iterator[Step]]] = {
    LinkMtu: _link_mtu,
    LinkMtuByAddress: _link_mtu_by_address,
    LinkUp: _link_up,
    LinkAddresses: _link_addresses,
    KernelSettings: _kernel_settings,
    Route: _route,
    RouteAround: _route_around,
    PolicyRule: _policy_rule,
    RefusalDelete: _refusal_delete,
    AddressDelete: _address_delete,
    NeighbourDelete: _neighbour_delete,
    ForwardingEntry: _forwarding_entry,
    IpsecPolicyDelete: _ipsec_policy_delete,
    WireguardPeer: _wireguard_peer,
    WireguardKey: _wireguard_key,
    WireguardMark: _wireguard_own,
    WireguardPort: _wireguard_own,
    NoPresharedKey: _no_preshared_key,
    WgQuick: _wg_quick,
    WgQuickValue: _wg_quick_value,
    ClockSync: _clock_sync,
    PrivateFiles: _private_files,
    FilterDelete: filter_steps.filter_delete,
    FilterAccept: filter_steps.filter_accept,
    FilterPass: filter_steps.filter_accept,
    IptablesPass: filter_steps.iptables_pass,
    TailscaleTakes: _product_takes,
    ZeroTierTakes: _product_takes,
}
"""How each kind is made and undone; of any other kind nothing can be undone."""
