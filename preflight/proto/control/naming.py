"""What a node's own files say about names (nsswitch.conf(5), hosts(5), resolv.conf(5)); pure."""

import re
from collections.abc import Sequence
from ipaddress import ip_address

from preflight.model.dns import Lookup, NameFiles
from preflight.model.name_fixes import HOSTS_FILE, RESOLVERS_FILE, SWITCH_FILE, HostsName, ResolverLess, SwitchToDns
from preflight.model.remedy import Remedies, by_hand, heal

_SIGNED = re.compile(
    r"(?:generated|managed|created|written)(?: automatically)? by (?:man:)?(Connection Manager|[\w./-]*\w)",
    re.IGNORECASE,
)
SHOWN = 8
"""Addresses of one name in a message."""


def candidate_names(name: str, search: Sequence[str], ndots: int) -> list[str]:
    """The absolute names that the C library tries, in its order (resolv.conf(5): search, ndots)."""
    if name.endswith("."):
        return [name]
    suffixed = [f"{name}.{suffix.strip('.')}." for suffix in search if suffix.strip(".")]
    absolute = f"{name}."
    return [absolute, *suffixed] if name.count(".") >= ndots else [*suffixed, absolute]


def host_line(text: str) -> str:
    """What the line `hosts` of nsswitch.conf says; nothing where there is none."""
    for line in text.splitlines():
        database, colon, services = line.partition("#")[0].partition(":")
        if colon and database.strip() == "hosts":
            return " ".join(services.split())
    return ""


def host_addresses(text: str, name: str) -> tuple[str, ...]:
    """The addresses of a name in a hosts file, each once."""
    rows = (line.partition("#")[0].split() for line in text.splitlines())
    wanted = name.rstrip(".").lower()
    return tuple(dict.fromkeys(row[0] for row in rows if wanted in map(str.lower, row[1:])))


def is_resolver_line(line: str) -> bool:
    """Whether the C library takes a resolver from a line of resolv.conf: it passes over all except addresses."""
    row = line.split()
    try:
        return len(row) > 1 and row[0] == "nameserver" and bool(ip_address(row[1]))
    except ValueError:
        return False


def names_a_resolver(text: str) -> bool:
    """Whether a list of resolvers has one."""
    return any(map(is_resolver_line, text.splitlines()))


def signed_by(text: str) -> str:
    """The program that a comment of resolv.conf names as its writer; nothing where none does."""
    comments = (line for line in text.splitlines() if line.startswith(("#", ";")))
    found = next((match for line in comments if (match := _SIGNED.search(line))), None)
    return found[1].rpartition("/")[2].removesuffix("-script") if found else ""


def named_here(name: str, address: str, files: NameFiles) -> Remedies:
    """Let programs on this node get this address, whatever resolvers say."""
    name = name.rstrip(".")
    fixed = heal(lambda: HostsName(host=name, address=address)) if files.asks_hosts_first else ()
    return fixed or by_hand(
        f"Let the hosts file win in {SWITCH_FILE}, and give {name} the address {address} in {HOSTS_FILE}.", root=True
    )


def asking_resolvers(files: NameFiles) -> Remedies:
    """Let programs on this node ask resolvers."""
    fixed = heal(lambda: SwitchToDns(services=files.switch))
    return fixed or by_hand(f"Add dns to the line hosts of {SWITCH_FILE}.", root=True)


def without_resolver(address: str, files: NameFiles) -> Remedies:
    """Do not ask a resolver any more; another one stays."""
    writer = files.written_by or files.signed
    line = f"Take the resolver {address} out of what writes {RESOLVERS_FILE}, which is {writer}."
    if writer:
        return by_hand(line, root=True)
    return heal(lambda: ResolverLess(address=address))


def said(lookup: Lookup) -> str:
    """What one source says, in a few words."""
    words = {"nxdomain": "no such name", "no-address": "no address", "timeout": "silent", "failed": "error"}
    if lookup.outcome not in (*words, "answer"):
        return f"{lookup.source}: {lookup.detail or lookup.outcome}"
    if lookup.outcome == "answer":
        return f"{lookup.source}: {listed(lookup.addresses)}"
    detail = f" ({lookup.detail})" if lookup.detail else ""
    return f"{lookup.source}: {words[lookup.outcome]}{detail}"


def listed(addresses: Sequence[str]) -> str:
    """A few of them: a name can have thousands."""
    more = [f"and {len(addresses) - SHOWN} more"] if len(addresses) > SHOWN else []
    return ", ".join([*addresses[:SHOWN], *more])
