"""Change what a file of /etc says about names, and nothing else in it: comments and order stay. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from preflight.fixing.step import FixError
from preflight.model.fix import Fix
from preflight.model.name_fixes import (
    HOSTS_FILE,
    RESOLVERS_FILE,
    SWITCH_FILE,
    HostsName,
    HostsNameLess,
    ResolverLess,
    SwitchToDns,
)


def _hosts_name(text: str, fix: HostsName) -> str:
    return "".join([*(_without(line, fix.host) for line in _lines(text)), f"{fix.address} {fix.host}\n"])


def _hosts_name_less(text: str, fix: HostsNameLess) -> str:
    lines = _lines(text)
    if not any(_address(line) == fix.address and _names(line, fix.host) for line in lines):
        raise FixError(f"{HOSTS_FILE} does not give {fix.host} the address {fix.address} any more")
    return "".join(_without(line, fix.host) if _address(line) == fix.address else line for line in lines)


def _switch_to_dns(text: str, fix: SwitchToDns) -> str:
    for number, line in enumerate(lines := _lines(text)):
        database, colon, rest = line.partition(":")
        services, mark, comment = rest.partition("#")
        if colon and database.strip() == "hosts":
            if " ".join(services.split()) != fix.services:
                raise FixError(f"the line hosts of {SWITCH_FILE} is not {fix.services!r} any more")
            note = f"  #{comment.rstrip()}" if mark else ""
            lines[number] = f"{database}: {fix.services} dns{note}\n"
            return "".join(lines)
    raise FixError(f"{SWITCH_FILE} has no line hosts")


def _resolver_less(text: str, fix: ResolverLess) -> str:
    lines = _lines(text)
    named = [line.split()[1] for line in lines if re.match(r"nameserver\s+\S", line)]
    if fix.address not in named:
        raise FixError(f"{RESOLVERS_FILE} does not name {fix.address} any more")
    if len(set(named)) == 1:
        raise FixError(f"{fix.address} is the only resolver of {RESOLVERS_FILE}")
    return "".join(line for line in lines if line.split()[:2] != ["nameserver", fix.address])


def _lines(text: str) -> list[str]:
    return (text if not text or text.endswith("\n") else f"{text}\n").splitlines(keepends=True)


def _address(line: str) -> str:
    return next(iter(line.partition("#")[0].split()), "")


def _names(line: str, host: str) -> bool:
    return host.lower() in map(str.lower, line.partition("#")[0].split()[1:])


def _without(line: str, host: str) -> str:
    """A line of a hosts file without a name; nothing of it where no other name is left."""
    if not _names(line, host):
        return line
    entry, mark, comment = line.partition("#")
    address, *names = entry.split()
    left = [name for name in names if name.lower() != host.lower()]
    note = f"  #{comment.rstrip()}" if mark else ""
    return f"{address} {' '.join(left)}{note}\n" if left else ""


EDITS: Mapping[type, tuple[str, Callable[[str, Any], str]]] = {
    HostsName: (HOSTS_FILE, _hosts_name),
    HostsNameLess: (HOSTS_FILE, _hosts_name_less),
    SwitchToDns: (SWITCH_FILE, _switch_to_dns),
    ResolverLess: (RESOLVERS_FILE, _resolver_less),
}
"""The file that each of these fixes changes, and how."""


def edited_file(fix: Fix) -> str | None:
    """The file of /etc that a fix changes; None for any other fix."""
    return EDITS[type(fix)][0] if type(fix) in EDITS else None


def edited(fix: Fix, text: str) -> str:
    """The text of that file after the fix. Raises FixError where the fix would not be right any more."""
    return EDITS[type(fix)][1](text, fix)
