"""The state that a fix may touch, and whether an undone change has left anything. Pure, except for `Run`.

It is kept as the lines that the system's own programs print, so that a difference can be read and pasted. What changes
by itself (counters, lifetimes) is left out of the lines.
"""

import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from preflight.fixing.applier import Run, located
from preflight.fixing.step import FixError
from preflight.model.change import Command
from preflight.model.fix import (
    ClockSync,
    FilterAccept,
    FilterDelete,
    FilterPass,
    Fix,
    ForwardingEntry,
    IpsecPolicyDelete,
    IptablesPass,
    KernelSettings,
    NeighbourDelete,
    PrivateFiles,
    QueueDelete,
    WgQuickValue,
    WireguardKey,
    WireguardMark,
    WireguardPeer,
    WireguardPort,
)

State = Mapping[str, tuple[str, ...]]
"""What each command printed, by its words in one line."""

_ROUTES = tuple(("ip", family, "route", "show", "table", "all") for family in ("-4", "-6"))
_RULES = tuple(("ip", family, "rule", "show") for family in ("-4", "-6"))
_LINKS, _ADDRESSES = ("ip", "-o", "link", "show"), ("ip", "-o", "address", "show")
_NETWORK: tuple[Command, ...] = (_LINKS, _ADDRESSES, *_ROUTES, *_RULES)
_OF_PEERS = ("allowed-ips", "persistent-keepalive")
_ORDERED = ("nft", "iptables-legacy", "ip6tables-legacy")
"""Programs whose lines mean something else in another order."""
_FLAGS = re.compile(r" (linkdown|dead|offload|rt_offload|trap|rt_trap)\b")
_OF_KERNEL = frozenset({"dynamic", "temporary", "stable-privacy"})
"""Addresses that the kernel makes; link-local ones too, for each link with IPv6, once it has seen its carrier."""
_LINK_LOCAL = re.compile(r"(local |anycast )?fe80:|multicast ff00::/8 ")
_UP = re.compile(r"\d+: ([^:@]+)[^<]*<([^>]*)> mtu (\d+)")


_OWN: Mapping[type, Callable[[Any], tuple[Command, ...]]] = {
    FilterAccept: lambda fix: (("nft", "list", "table", fix.family, fix.table),),
    FilterDelete: lambda fix: (("nft", "list", "table", fix.family, fix.table),),
    FilterPass: lambda fix: (("nft", "list", "table", fix.family, fix.table),),
    IpsecPolicyDelete: lambda _: (("ip", "xfrm", "policy"),),
    IptablesPass: lambda fix: ((*fix.program, "-S"),),
    KernelSettings: lambda fix: tuple(("sysctl", each.name) for each in fix.settings),
    NeighbourDelete: lambda fix: (("ip", "neighbour", "show", "dev", fix.interface, "nud", "permanent"),),
    ForwardingEntry: lambda fix: (("bridge", "fdb", "show", "dev", fix.interface),),
    QueueDelete: lambda fix: (("tc", "qdisc", "show", "dev", fix.interface),),
    # Not `wg showconf` nor `dump`, which print the private key. An endpoint may move by itself.
    WireguardPeer: lambda fix: tuple(("wg", "show", fix.interface, what) for what in _OF_PEERS),
    WireguardKey: lambda fix: tuple(("wg", "show", fix.interface, what) for what in _OF_PEERS),
    WireguardMark: lambda fix: (("wg", "show", fix.interface, "fwmark"),),
    WireguardPort: lambda fix: (("wg", "show", fix.interface, "listen-port"),),
    WgQuickValue: lambda fix: (("grep", "-iE", "^ *(mtu|listenport|allowedips|persistentkeepalive) *=", fix.file),),
    ClockSync: lambda fix: (("timedatectl", "show", "--property=NTP"),),
    PrivateFiles: lambda fix: tuple(("stat", "-L", "-c", "%a %n", path) for path in fix.paths),
}
"""What each kind may touch other than links, addresses, routes and rules."""


def views(fix: Fix) -> tuple[Command, ...]:
    """The commands that show what a fix may touch; none of them prints a secret."""
    network = _NETWORK if fix.commands and fix.needs_root and not isinstance(fix, ClockSync) else ()
    own = _OWN.get(type(fix))
    return (*network, *(own(fix) if own else ()))


def seen(fixes: Iterable[Fix], run: Run) -> State:
    """The state that these fixes may touch. Raises FixError if it cannot be read."""
    commands = dict.fromkeys(command for fix in fixes for command in views(fix))
    return {shlex.join(command): _lines(command, run) for command in commands}


def seen_again(before: State, run: Run) -> State:
    """The same state as it is now. Raises FixError if it cannot be read."""
    return {words: _lines(tuple(shlex.split(words)), run) for words in before}


def _lines(command: Command, run: Run) -> tuple[str, ...]:
    ran = run(located(command))
    if ran.exit_code != 0:
        why = (ran.error.strip() or f"exit code {ran.exit_code}").splitlines()[-1]
        raise FixError(f"the state before cannot be read: {' '.join(command[:3])} failed: {why}")
    return plain(command, ran.output)


def plain(command: Command, output: str) -> tuple[str, ...]:
    """The lines of a command without what changes by itself."""
    if command[0] in _ORDERED:
        quiet = re.sub(r"counter packets \d+ bytes \d+", "counter", output)
        return tuple(line.strip() for line in quiet.splitlines() if line.strip())
    if command[0] == "bridge":
        return tuple(sorted(line.strip() for line in output.splitlines() if line.split()[-1:] == ["permanent"]))
    known: Mapping[Command, Callable[[str], str]] = {
        _LINKS: _link,
        _ADDRESSES: _address,
        **dict.fromkeys(_ROUTES, _route),
    }
    kept = known.get(command, str.strip)
    return tuple(sorted(filter(None, (kept(line) for line in output.splitlines()))))


def _link(line: str) -> str:
    found = _UP.match(line)
    return f"{found[1]} mtu {found[3]} {'up' if 'UP' in found[2].split(',') else 'down'}" if found else ""


def _address(line: str) -> str:
    entry, _, _ = line.partition("\\")
    words = [word for word in entry.split()[1:] if word not in ("tentative", "dadfailed", "optimistic")]
    return "" if _OF_KERNEL & {*words} or "inet6 fe80:" in entry else " ".join(words)


def _route(line: str) -> str:
    return "" if " expires " in line or _LINK_LOCAL.match(line) else " ".join(_FLAGS.sub("", line).split())


def differences(before: State, after: State) -> tuple[str, ...]:
    """What is another than before, each as a clause."""
    return tuple(text for words in before for text in _different(before[words], after[words], words))


def caused(before: State, after: State, now: State) -> State:
    """The state now, except that what nothing changed between `before` and `after` is as it was before.

    For a look long after the change: others may have changed something too.
    """
    return {words: _as_before(before[words], after[words], now[words]) for words in before}


def _as_before(before: tuple[str, ...], after: tuple[str, ...], now: tuple[str, ...]) -> tuple[str, ...]:
    lost, won = Counter(before) - Counter(after), Counter(after) - Counter(before)
    still_lost = lost - Counter(now)
    kept = [line for line in before if line not in still_lost]
    return (*kept, *(won & Counter(now)).elements())


def _different(before: tuple[str, ...], after: tuple[str, ...], words: str) -> Iterator[str]:
    gone, new = Counter(before) - Counter(after), Counter(after) - Counter(before)
    yield from (f"gone: {line}" for line in gone.elements())
    yield from (f"new: {line}" for line in new.elements())
    if not gone and not new and before != after:
        yield f"in another order: {words}"


def repairs(before: State, after: State) -> tuple[Command, ...]:
    """What the kernel removed along with something else, and does not give back by itself: addresses, then routes.

    An address goes with a small MTU, a route with the address that it names as its source.
    """
    return (*_addresses_back(before, after), *_routes_back(before, after))


def _addresses_back(before: State, after: State) -> Iterator[Command]:
    view = shlex.join(_ADDRESSES)
    for line in _gone(before, after, view):
        interface, family, address, *rest = line.split()
        if family in ("inet", "inet6") and "/" in address and "scope link" not in line:
            peer = ("peer", rest[1]) if rest[:1] == ["peer"] else ()
            yield ("ip", "address", "add", address, *peer, "dev", interface)


def _routes_back(before: State, after: State) -> Iterator[Command]:
    for view in _ROUTES:
        for line in _gone(before, after, shlex.join(view)):
            words = tuple(line.split())
            if not {"local", "broadcast", "multicast", "anycast"} & {words[0]}:
                yield (*view[:2], "route", "add", *words)


def _gone(before: State, after: State, view: str) -> list[str]:
    return [line for line in before.get(view, ()) if line not in after.get(view, ())]
