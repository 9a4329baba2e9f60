"""What a machine lacks, what is not known without it, and how to get it: pure, from what was read of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from preflight.api import Check
from preflight.model.machine import Area, Family, Machine, Need

TESTED: Final = ((3, 11), (3, 13))
"""The first and the last Python that the tests run with."""
INSTALL: Final[Mapping[Family, str]] = {
    "debian": "apt-get install",
    "fedora": "dnf install",
    "arch": "pacman -S",
}
PACKAGES: Final[Mapping[str, tuple[str, str, str]]] = {
    "git": ("git", "git", "git"),
    "ssh": ("openssh-client", "openssh-clients", "openssh"),
    "ip": ("iproute2", "iproute", "iproute2"),
    "ss": ("iproute2", "iproute", "iproute2"),
    "nft": ("nftables", "nftables", "nftables"),
    "sysctl": ("procps", "procps-ng", "procps-ng"),
    "wg": ("wireguard-tools", "wireguard-tools", "wireguard-tools"),
    "wireguard-go": ("wireguard-go", "", ""),
    "iptables-legacy": ("iptables", "iptables-legacy", "iptables"),
    "conntrack": ("conntrack", "conntrack-tools", "conntrack-tools"),
    "sshd": ("openssh-server", "openssh-server", "openssh"),
}
"""The package of each program on Debian and Ubuntu, on Fedora and on Arch; empty where it has none."""
WITH_CAPABILITIES: Final = (
    'sudo setpriv --reuid "$(id -u)" --regid "$(id -g)" --init-groups --inh-caps +net_admin,+net_raw '
    '--ambient-caps +net_admin,+net_raw -- "$(command -v preflight)" all'
)
"""The same user with two capabilities: neither root nor a changed file."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    id: str
    area: Area
    costs: str
    checks: tuple[str, ...] = ()


_PROGRAMS: Final = (
    _Wanted("git", "checks", "no search for secrets in repositories", ("posture.secrets",)),
    _Wanted("ssh", "more", "no `--via ssh`: the two directions need a responder that is started on the peer"),
    _Wanted("ip", "more", "no routes and links in a bundle; most remedies are lines of `ip`"),
    _Wanted("ss", "more", "no sockets in a bundle"),
    _Wanted("nft", "more", "no firewall in a bundle; `preflight fix` cannot change its rules"),
    _Wanted("sysctl", "more", "`preflight fix` cannot change kernel settings"),
    _Wanted("wg", "more", "`preflight fix` cannot change a WireGuard tunnel; the checks read it without"),
    _Wanted("iptables-legacy", "lab", "no faults of the older filter"),
    _Wanted("conntrack", "lab", "no faults of connection tracking"),
    _Wanted("sshd", "lab", "no `--via ssh` in a lab"),
)
_TITLES: Final = {"packet": "packet sockets", "nf_conntrack": "connection tracking"}
_FEATURES: Final = (
    _Wanted("packet", "checks", "nothing is seen on the wire, so a loss has no place", ("way.packet",)),
    _Wanted("nf_tables", "checks", "no firewall rule that drops packets is named", ("way.packet",)),
    _Wanted("nf_conntrack", "checks", "translated packets cannot be followed", ("way.packet",)),
    _Wanted("veth", "lab", "there is only the loopback lab"),
    _Wanted("tun", "lab", "no lab with wireguard-go, Nebula or OpenVPN"),
    _Wanted("vxlan", "lab", "no lab with VXLAN"),
    _Wanted("vrf", "lab", "no set-ups in a VRF"),
)


def needs(machine: Machine, checks: Sequence[Check]) -> tuple[Need, ...]:
    """Everything that is used here, with its state. checks: the catalogue, which says what needs a privilege."""
    by_privilege = {name: tuple(sorted(each.id for each in checks if name in each.privileges)) for name in _PRIVILEGES}
    found = [_platform(machine), _python(machine)]
    if machine.system == "linux":
        found += [judge(machine, by_privilege[name]) for name, judge in _PRIVILEGES.items()]
        found += [_feature(machine, wanted) for wanted in _FEATURES]
        found += [_program(machine, wanted) for wanted in _PROGRAMS]
        found += [_tunnels(machine), _responder(machine)]
    return (*found, _fleet(machine), _settings(machine))


def exit_code(found: Iterable[Need]) -> int:
    """1 if a check sees less than it could, which is known; what only other commands use does not count."""
    return int(any(each.area == "checks" and each.state in ("partly", "missing") for each in found))


def install_lines(machine: Machine, found: Iterable[Need]) -> Iterator[str]:
    """The lines that install what is missing: one where the distribution is known, else one for each."""
    missing = [each.id for each in found if each.state == "missing" and each.id in PACKAGES]
    for place, (family, command) in enumerate(INSTALL.items()):
        names = dict.fromkeys(name for each in missing if (name := PACKAGES[each][place]))
        if names and machine.family in (None, family):
            sudo = "" if machine.root else "sudo "
            comment = "" if machine.family else f"   # {_OF_FAMILY[family]}"
            yield f"{sudo}{command} {' '.join(names)}{comment}"


_OF_FAMILY: Final[Mapping[Family, str]] = {"debian": "Debian, Ubuntu", "fedora": "Fedora", "arch": "Arch"}


def _platform(machine: Machine) -> Need:
    title = f"{machine.system.capitalize()} {machine.release}".strip()
    if machine.system == "linux":
        about = f" ({machine.distribution})" if machine.distribution else ""
        return Need("linux", "checks", "here", title + about)
    costs = "no routes, tunnels, directions and path MTU: only the control plane, names and settings are checked"
    get = "Run it on a Linux machine of the same network, such as a virtual machine with bridged networking."
    return Need("linux", "checks", "missing", f"Linux (this is {title})", costs, (), (get,))


def _python(machine: Machine) -> Need:
    title = "Python " + ".".join(map(str, machine.python))
    if machine.python[:2] <= TESTED[1]:
        return Need("python", "checks", "here", title)
    tested = " to ".join(".".join(map(str, each)) for each in TESTED)
    return Need("python", "checks", "unknown", title, f"the tests run with Python {tested}")


def _net_admin(machine: Machine, checks: tuple[str, ...]) -> Need:
    if "net_admin" in machine.capabilities:
        return Need("net_admin", "checks", "here", "CAP_NET_ADMIN")
    title = "CAP_NET_ADMIN (tunnel and firewall of this node)"
    costs = "WireGuard's sessions are not read, and no firewall rule that drops packets is named"
    return Need("net_admin", "checks", "missing", title, costs, checks, _privileged(machine))


def _net_raw(machine: Machine, checks: tuple[str, ...]) -> Need:
    if "net_raw" in machine.capabilities:
        return Need("net_raw", "checks", "here", "CAP_NET_RAW")
    title = "CAP_NET_RAW (raw sockets and taps)"
    if machine.ping_sockets:
        costs = "echoes are sent by ping sockets; nothing is seen on the wire, so a loss has no place"
        return Need("net_raw", "checks", "partly", title, costs, ("way.packet",), _privileged(machine))
    costs = "no echoes, and nothing is seen on the wire, so a loss has no place"
    return Need("net_raw", "checks", "missing", title, costs, checks, _privileged(machine))


_PRIVILEGES: Final[Mapping[str, Callable[[Machine, tuple[str, ...]], Need]]] = {
    "net_admin": _net_admin,
    "net_raw": _net_raw,
}


def _privileged(machine: Machine) -> tuple[str, ...]:
    """Root lacks a capability only where something took it away."""
    if machine.root:
        return ("Start the container with --cap-add=NET_ADMIN --cap-add=NET_RAW, or add both to the unit.",)
    return ('sudo "$(command -v preflight)" all', f"{WITH_CAPABILITIES}   # not as root")


def _feature(machine: Machine, wanted: _Wanted) -> Need:
    known = machine.features.get(wanted.id)
    title = _TITLES.get(wanted.id, wanted.id)
    if known:
        return Need(wanted.id, wanted.area, "here", title)
    get = ("Start a kernel that has it, as those of the distributions do.",)
    state: Literal["unknown", "missing"] = "unknown" if known is None else "missing"
    return Need(wanted.id, wanted.area, state, f"{title} of the kernel", wanted.costs, wanted.checks, get)


def _program(machine: Machine, wanted: _Wanted) -> Need:
    if wanted.id in machine.programs:
        return Need(wanted.id, wanted.area, "here", wanted.id)
    return Need(wanted.id, wanted.area, "missing", wanted.id, wanted.costs, wanted.checks)


def _tunnels(machine: Machine) -> Need:
    """The lab takes the kernel's WireGuard where there is one."""
    if machine.features.get("wireguard") or "wireguard-go" in machine.programs:
        kind = "in the kernel" if machine.features.get("wireguard") else "by wireguard-go"
        return Need("wireguard-go", "lab", "here", f"WireGuard {kind}")
    return Need("wireguard-go", "lab", "missing", "WireGuard", "no lab with WireGuard")


def _responder(machine: Machine) -> Need:
    if machine.listener is not None:
        title = f"UDP port {machine.port} is open ({machine.listener})"
        return Need("responder", "more", "here", title)
    costs = "peers cannot separate the two directions of the way to this node"
    get = ("preflight responder",)
    return Need("responder", "more", "missing", f"a responder on UDP port {machine.port}", costs, get=get)


def _fleet(machine: Machine) -> Need:
    if machine.ansible:
        return Need("ansible", "more", "here", "ansible-runner")
    get = ("Install the program with its extra `fleet`, in a clone by: pipx install '.[fleet]'.",)
    return Need("ansible", "more", "missing", "Ansible", "no `preflight fleet` from this machine", get=get)


def _settings(machine: Machine) -> Need:
    if not machine.settings:
        return Need("settings", "checks", "here", "settings")
    get = ("Correct the settings, or write new ones with `preflight init`.",)
    return Need("settings", "checks", "missing", "settings that can be used", machine.settings, get=get)
