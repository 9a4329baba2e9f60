"""Raw evidence of this node: the output of its network tools. It only reads; no program sends a packet."""

import platform
import shutil
import socket
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from preflight import __version__

LIMIT_S = 5.0
LIMIT_BYTES = 2_000_000
_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Raw:
    """One file of the bundle: its name, and its text as it was read."""

    name: str
    text: str


_COMMANDS: dict[str, Sequence[str]] = {
    "links.txt": ("ip", "-details", "-statistics", "link", "show"),
    "addresses.txt": ("ip", "address", "show"),
    "routes.txt": ("ip", "route", "show", "table", "all"),
    "routes6.txt": ("ip", "-6", "route", "show", "table", "all"),
    "rules.txt": ("ip", "rule", "show"),
    "rules6.txt": ("ip", "-6", "rule", "show"),
    "neighbours.txt": ("ip", "neigh", "show"),
    "sockets.txt": ("ss", "-tuanp"),
    "firewall.txt": ("nft", "-a", "list", "ruleset"),
    # Both only read. `iptables-legacy -S` would make the tables that it lists.
    "iptables.txt": ("iptables-nft-save", "-c"),
    "ip6tables.txt": ("ip6tables-nft-save", "-c"),
    "iptables-legacy.txt": ("iptables-legacy-save", "-c"),
    "ip6tables-legacy.txt": ("ip6tables-legacy-save", "-c"),
    "qdiscs.txt": ("tc", "-statistics", "qdisc", "show"),
    "sysctl.txt": ("sysctl", "--all", "--pattern", "^net[.]"),
    # Not `showconf` or `dump`: those print private and preshared keys.
    "wireguard.txt": ("wg", "show", "all"),
    "zerotier-networks.json": ("zerotier-cli", "-j", "listnetworks"),
    "zerotier-peers.json": ("zerotier-cli", "-j", "listpeers"),
    "tailscale.json": ("tailscale", "status", "--json"),
}
_JOURNAL = ("journalctl", "--no-pager", "--quiet", "--since=-2h", "--lines=500")
_DAEMONS = ("wg-quick@*", "tailscaled", "zerotier-one", "nebula*", "openvpn*", "systemd-networkd", "NetworkManager")
_TRACKING = Path("/proc/sys/net/netfilter/nf_conntrack_count")
"""Where it is missing, connections are not tracked, and listing them would load what tracks them."""
_KEPT_SECRET = ("stable_secret", "fastopen_key")
"""Kernel settings that are keys."""
_MOST_DEVICES = 16
_FILES = {
    "resolv.conf": Path("/etc/resolv.conf"),
    "hosts": Path("/etc/hosts"),
    "nsswitch.conf": Path("/etc/nsswitch.conf"),
}
_COUNTERS = {
    "snmp": Path("/proc/thread-self/net/snmp"),
    "snmp6": Path("/proc/thread-self/net/snmp6"),
    "netstat": Path("/proc/thread-self/net/netstat"),
    "dev": Path("/proc/thread-self/net/dev"),
}
_VERSIONS: Sequence[Sequence[str]] = (("ip", "-V"), ("wg", "--version"), ("nft", "--version"), ("tailscale", "version"))


def collect() -> list[Raw]:
    """Everything that this node reports now; a missing source leaves a note in its file."""
    with ThreadPoolExecutor(4) as pool:
        printed = list(pool.map(_printed, _COMMANDS.values()))
    commands = [Raw(name, _without_keys(text)) for name, text in zip(_COMMANDS, printed, strict=True)]
    return [
        *commands,
        Raw("connections.txt", _connections()),
        Raw("offloads.txt", _offloads()),
        Raw("journal.txt", _printed((*_JOURNAL, *(f"--unit={unit}" for unit in _DAEMONS)))),
        *(Raw(name, _read(path)) for name, path in _FILES.items()),
        _versions(),
    ]


def _without_keys(text: str) -> str:
    """Without the lines of kernel settings that are keys: no pattern knows their shape."""
    return "".join(line for line in text.splitlines(keepends=True) if not any(name in line for name in _KEPT_SECRET))


def _connections() -> str:
    if not _TRACKING.exists():
        return "this network does not track connections\n"
    return _printed(("conntrack", "-L", "-o", "extended"))


def _offloads() -> str:
    """What each device leaves to its hardware."""
    names = [name for _, name in socket.if_nameindex() if name != "lo"][:_MOST_DEVICES]
    return "".join(_printed(("ethtool", "--show-features", name)) for name in names) or "no device but lo\n"


def counters(when: str) -> list[Raw]:
    """The kernel's counters; `when` is `before` or `after` a run."""
    return [Raw(f"counters-{when}/{name}", _read(path)) for name, path in _COUNTERS.items()]


def _printed(command: Sequence[str]) -> str:
    program = shutil.which(command[0], path=_SEARCH)
    if program is None:
        return f"{command[0]}: not on this node\n"
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{' '.join(command)}: no answer within {LIMIT_S:g} s\n"
    except OSError as error:
        return f"{' '.join(command)}: {error.strerror}\n"
    return _text(done.stdout)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return _text(file.read(LIMIT_BYTES + 1))
    except OSError as error:
        return f"{path}: {error.strerror}\n"


def _text(data: bytes) -> str:
    cut = "\n[cut here]\n" if len(data) > LIMIT_BYTES else ""
    return data[:LIMIT_BYTES].decode("utf-8", "replace") + cut


def _versions() -> Raw:
    lines = [f"preflight {__version__}", f"Python {platform.python_version()}", platform.platform()]
    lines += [_printed(command).strip() for command in _VERSIONS]
    return Raw("versions.txt", "\n".join(lines) + "\n")
