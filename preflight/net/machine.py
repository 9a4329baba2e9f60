"""Reads what this machine has: its system, privileges, programs and kernel. Nothing is loaded, changed or sent."""

import gzip
import os
import platform
import re
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from preflight import programs
from preflight.model.machine import Family, Machine
from preflight.net.way.udp_ports import udp_ports

CAPABILITIES: Final = {"net_admin": 12, "net_raw": 13}
"""The bits of capability.h that the program's sockets need."""
PROGRAMS: Final = (
    "git", "ssh", "ip", "ss", "nft", "sysctl", "wg", "wireguard-go", "iptables-legacy", "conntrack", "sshd",
)  # fmt: skip
FEATURES: Final = {
    "packet": ("CONFIG_PACKET", "af_packet"),
    "nf_tables": ("CONFIG_NF_TABLES", "nf_tables"),
    "nf_conntrack": ("CONFIG_NF_CT_NETLINK", "nf_conntrack_netlink"),
    "wireguard": ("CONFIG_WIREGUARD", "wireguard"),
    "tun": ("CONFIG_TUN", "tun"),
    "veth": ("CONFIG_VETH", "veth"),
    "vxlan": ("CONFIG_VXLAN", "vxlan"),
    "vrf": ("CONFIG_NET_VRF", "vrf"),
}
"""What is asked of the kernel: its option in the configuration, and the name of its module."""
_FAMILIES: Final[Mapping[str, Family]] = {
    "debian": "debian", "ubuntu": "debian", "fedora": "fedora", "rhel": "fedora", "arch": "arch",
}  # fmt: skip
_LINE = re.compile(r"""^(\w+)=["']?(.*?)["']?$""", re.MULTILINE)


def look(port: int, settings: str = "", root: Path = Path("/")) -> Machine:
    """What is found. port: the responder's. settings: why they cannot be used. root: where /proc, /etc and /sys are."""
    if sys.platform != "linux":
        return Machine(sys.platform, platform.release(), python=sys.version_info[:3], port=port, settings=settings)
    names = dict(_LINE.findall(_text(root / "etc/os-release")))
    bound = next((each for each in udp_ports(root / "proc") if each.port == port), None)
    return Machine(
        "linux",
        platform.release(),
        names.get("PRETTY_NAME", ""),
        next((_FAMILIES[word] for word in _words_of(names) if word in _FAMILIES), None),
        sys.version_info[:3],
        os.geteuid() == 0,
        capabilities(_text(root / "proc/self/status")),
        _in_range(_text(root / "proc/sys/net/ipv4/ping_group_range"), {os.getegid(), *os.getgroups()}),
        frozenset(filter(programs.find, PROGRAMS)),
        features(platform.release(), root),
        find_spec("ansible_runner") is not None,
        port,
        None if bound is None else bound.program or "a program of another user",
        settings,
    )


def capabilities(status: str) -> frozenset[str]:
    """The effective ones by /proc/self/status."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    mask = int(found[1], 16) if found else 0
    return frozenset(name for name, bit in CAPABILITIES.items() if mask >> bit & 1)


def features(release: str, root: Path) -> dict[str, bool | None]:
    """Whether the kernel has them, by what is loaded, by its configuration, and by its modules."""
    configuration = _configuration(release, root)
    modules = root / "lib/modules" / release
    listed = _text(modules / "modules.builtin") + _text(modules / "modules.dep")
    names = {Path(line.partition(":")[0]).name.partition(".")[0].replace("-", "_") for line in listed.splitlines()}
    found: dict[str, bool | None] = {}
    for feature, (option, module) in FEATURES.items():
        if (root / "sys/module" / module).exists() or f"{option}=y" in configuration or module in names:
            found[feature] = True
        elif names or (configuration and f"{option}=m" not in configuration):
            found[feature] = False
        else:  # a container sees no modules, and the host may still load them
            found[feature] = None
    return found


def _configuration(release: str, root: Path) -> frozenset[str]:
    """The lines of the kernel's configuration, where it is readable."""
    try:
        with gzip.open(root / "proc/config.gz", "rt", encoding="utf-8") as file:
            return frozenset(file.read().splitlines())
    except (OSError, EOFError):
        return frozenset(_text(root / "boot" / f"config-{release}").splitlines())


def _words_of(names: Mapping[str, str]) -> list[str]:
    return [names.get("ID", ""), *names.get("ID_LIKE", "").split()]


def _in_range(text: str, groups: set[int]) -> bool:
    low, _, high = text.strip().partition("\t")
    return low.isdecimal() and high.isdecimal() and any(int(low) <= group <= int(high) for group in groups)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
