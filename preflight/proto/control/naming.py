"""What a node's own files say about names (nsswitch.conf(5), hosts(5), resolv.conf(5)); pure."""

from collections.abc import Sequence

HOSTS_FILE, SWITCH_FILE, RESOLVERS_FILE = "/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf"


def candidate_names(name: str, search: Sequence[str], ndots: int) -> list[str]:
    """The absolute names that the C library tries, in its order (resolv.conf(5): search, ndots)."""
    if name.endswith("."):
        return [name]
    suffixed = [f"{name}.{suffix.strip('.')}." for suffix in search if suffix.strip(".")]
    absolute = f"{name}."
    return [absolute, *suffixed] if name.count(".") >= ndots else [*suffixed, absolute]


def host_services(text: str) -> tuple[str, ...]:
    """The services of the line `hosts` of nsswitch.conf, in their order, without what to do about their answers."""
    for line in text.splitlines():
        database, colon, services = line.partition("#")[0].partition(":")
        if colon and database.strip() == "hosts":
            return tuple(word for word in services.split() if not word.startswith("[") and not word.endswith("]"))
    return ()


def host_addresses(text: str, name: str) -> tuple[str, ...]:
    """The addresses of a name in a hosts file, each once."""
    rows = (line.partition("#")[0].split() for line in text.splitlines())
    wanted = name.rstrip(".").lower()
    return tuple(dict.fromkeys(row[0] for row in rows if wanted in map(str.lower, row[1:])))
