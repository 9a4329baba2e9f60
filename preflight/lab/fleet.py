"""`preflight lab up fleet-N`: N nodes that are managed by SSH and meshed by WireGuard.

Each node has a network, a UTS and a mount namespace: a host name, a firewall, a /run, a /tmp and a home folder of root
that no other has. Its sshd listens on the management network only, which no other network of this machine reaches: the
inventory enters it by a ProxyCommand.
"""

import os
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from preflight.lab import processes, state
from preflight.lab.blueprint import Places
from preflight.lab.build import READY_WITHIN_S, down, parts_of
from preflight.lab.keys import TunnelKeys
from preflight.lab.names import FLEET_NODES, MANAGEMENT, ROUTER, LabError, LabNames
from preflight.lab.network import UNDERLAY, index_of, netlink, set_sysctl, set_up
from preflight.lab.processes import Daemon, program, run, start, wait_for_words
from preflight.lab.signals import uninterrupted
from preflight.lab.site import write_private
from preflight.lab.state import State
from preflight.lab.topology import TUNNEL_PORT
from preflight.programs import python_module

INVENTORY = "inventory.ini"
_NAME = re.compile(r"fleet-(\d{1,2})")
_MANAGEMENT_LINK = "eth1"
_SWITCH = "switch"
_TUNNEL_MTU = 1420
_SSH_PORT = 22
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""A node's PATH: that of the caller may lead to folders that the node hides."""
_ENTERED = f"""
set -e
PATH={_PATH}
hostname "$2"
mount -t tmpfs -o mode=0700 tmpfs /root
cp -r "$1/root/." /root/
for place in /tmp /var/cache /var/tmp; do mount -t tmpfs tmpfs "$place"; done
chmod 1777 /tmp /var/tmp
mount --bind "$1/ssh" /etc/ssh
mount --bind "$1/wireguard" /etc/wireguard
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/sshd /run/wireguard
echo ready
exec sleep infinity
"""
"""What makes the node's own folders. /run is last: the lab's files are in the one that it hides."""


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """The names and addresses of a fleet."""

    names: LabNames
    nodes: tuple[str, ...]

    @classmethod
    def of(cls, names: LabNames, scenario: str) -> "FleetPlan":
        """Raises LabError if a fleet cannot have that many nodes."""
        match = _NAME.fullmatch(scenario)
        count = int(match[1]) if match else 0
        if not 2 <= count <= len(FLEET_NODES):
            raise LabError(f"a fleet has 2 to {len(FLEET_NODES)} nodes, as in fleet-6")
        return cls(names, FLEET_NODES[:count])

    def files(self, node: str) -> Path:
        """A node's files, as they are before it hides /run."""
        return self.names.files(node)

    @property
    def inventory(self) -> Path:
        """The inventory for Ansible, whose key and known hosts lie next to it."""
        return self.names.directory / INVENTORY

    def holder(self, node: str) -> int:
        """The process that holds the namespaces of a node. Raises LabError if it has ended."""
        mark = self.names.mark(f"node-{node}")
        found = next((pid for pid in processes.all_pids() if processes.mark_of(pid) == mark), None)
        if found is None:
            raise LabError(f"the node {node} of the lab {self.names.lab} is not running")
        return found

    def command(self, node: str, words: Sequence[str]) -> list[str]:
        """The command line that runs a program in a node, or in the router or the management network."""
        if node not in self.nodes:
            return [program("ip"), "netns", "exec", self.names.namespace(node), *words]
        return _entering(self.holder(node), ["/usr/bin/env", f"PATH={_PATH}", *words])


def is_fleet(name: str) -> bool:
    """Whether a lab of that name is a fleet."""
    return _NAME.fullmatch(name) is not None


def overlay_address(node: str) -> str:
    """A node's address in the overlay."""
    return f"10.204.0.{_number(node)}"


def management_address(node: str) -> str:
    """Where a node's sshd listens."""
    return f"10.203.0.{_number(node)}"


def underlay_address(node: str) -> str:
    """Where a node's tunnels end."""
    return f"10.202.{_number(node)}.2"


def _number(node: str) -> int:
    return FLEET_NODES.index(node) + 1


def up(names: LabNames, scenario: str) -> bool:
    """Make sure that a fleet is complete; False if it was already. The caller holds its lock. Raises LabError."""
    plan = FleetPlan.of(names, scenario)
    found = state.load(names)
    if found is not None and (found.parts, found.scenario) == (parts_of(names), scenario) and _complete(plan):
        return False
    if found is not None and found.scenario != scenario:
        raise LabError(f"the lab {names.lab} is up as {found.scenario}; take it down first")
    down(names)
    try:
        with uninterrupted():
            _build(plan, time.monotonic() + READY_WITHIN_S)
            addresses = tuple(map(overlay_address, plan.nodes))
            places = Places(addresses, 0, addresses[0], 0, underlay_address(plan.nodes[0]))
            state.save(names, State(scenario, "wireguard", places, parts_of(names)))
    except BaseException:
        down(names)
        raise
    return True


def _build(plan: FleetPlan, deadline: float) -> None:
    _write_files(plan)
    _lay_networks(plan)
    holders = [_hold(plan, node) for node in plan.nodes]
    for holder in holders:
        wait_for_words(holder, "ready", 1, deadline)
    tunnels = [_start_tunnel(plan, node, holder.pid) for node, holder in zip(plan.nodes, holders, strict=True)]
    for daemon in tunnels:
        wait_for_words(daemon, "UAPI listener started", 1, deadline)
    for node in plan.nodes:
        _raise_tunnel(plan, node)
    servers = [_start_sshd(plan, node, holder.pid) for node, holder in zip(plan.nodes, holders, strict=True)]
    for server in servers:
        wait_for_words(server, "Server listening on", 1, deadline)


def _write_files(plan: FleetPlan) -> None:
    """Keys, configurations and the inventory: each node has its own, the controller one for all of them."""
    folder = plan.names.directory
    _new_ssh_key(folder / "key")
    public = (folder / "key.pub").read_text(encoding="ascii")
    keys = {node: TunnelKeys.fresh() for node in plan.nodes}
    known = []
    for node in plan.nodes:
        own = plan.files(node)
        for part in (own, own / "root", own / "root" / ".ssh", own / "ssh", own / "wireguard"):
            part.mkdir(mode=0o700, exist_ok=True)
        _new_ssh_key(own / "ssh" / "ssh_host_ed25519_key")
        host_key = (own / "ssh" / "ssh_host_ed25519_key.pub").read_text(encoding="ascii")
        known.append(f"{management_address(node)} {' '.join(host_key.split()[:2])}\n")
        write_private(own / "root" / ".ssh" / "authorized_keys", public.strip())
        write_private(own / "ssh" / "sshd_config", _sshd_config(node))
        write_private(own / "wireguard" / f"{plan.names.tunnel(node)}.conf", _tunnel_file(plan, keys, node))
    (folder / "known_hosts").write_text("".join(known), encoding="ascii")
    plan.inventory.write_text(_inventory(plan), encoding="utf-8")


def _new_ssh_key(path: Path) -> None:
    run([program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(path)])


def _sshd_config(node: str) -> str:
    return "\n".join(
        (
            f"ListenAddress {management_address(node)}:{_SSH_PORT}",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "UsePAM no",
            "UseDNS no",
            "PidFile none",
            "MaxStartups 100",
            "Subsystem sftp internal-sftp",
        )
    )


def _tunnel_file(plan: FleetPlan, keys: dict[str, TunnelKeys], node: str) -> str:
    """A node's tunnel to all others, as wg-quick reads it."""
    lines = ["[Interface]", f"Address = {overlay_address(node)}/24", f"MTU = {_TUNNEL_MTU}"]
    lines += [f"ListenPort = {TUNNEL_PORT}", f"PrivateKey = {keys[node].private}"]
    for peer in (each for each in plan.nodes if each != node):
        lines += ["", "[Peer]", f"# {peer}", f"PublicKey = {keys[peer].public}"]
        lines += [f"AllowedIPs = {overlay_address(peer)}/32", f"Endpoint = {underlay_address(peer)}:{TUNNEL_PORT}"]
        lines += ["PersistentKeepalive = 25"]
    return "\n".join(lines)


def _inventory(plan: FleetPlan) -> str:
    """How Ansible finds the nodes and comes in."""
    folder = plan.names.directory
    dial = [program("ip"), "netns", "exec", plan.names.namespace(MANAGEMENT)]
    dial += [*python_module("preflight.lab.dial"), "%h", "%p"]
    options = {
        "ProxyCommand": shlex.join(dial),
        "UserKnownHostsFile": str(folder / "known_hosts"),
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
    }
    arguments = shlex.join(["-F", os.devnull, *(word for item in options.items() for word in ("-o", "=".join(item)))])
    hosts = [
        f"{node} ansible_host={management_address(node)} overlay_address={overlay_address(node)}" for node in plan.nodes
    ]
    variables = [
        "ansible_user=root",
        f"ansible_ssh_private_key_file={folder / 'key'}",
        "ansible_python_interpreter=/usr/bin/python3",
        f"ansible_ssh_common_args={arguments}",
    ]
    return "\n".join(["[fleet]", *hosts, "", "[fleet:vars]", *variables, ""])


def _lay_networks(plan: FleetPlan) -> None:
    """The router with a link to each node, and the switch of the management network."""
    ends = (*plan.nodes, ROUTER, MANAGEMENT)
    run([program("ip"), "-batch", "-"], text="".join(f"netns add {plan.names.namespace(end)}\n" for end in ends))
    with netlink(plan.names.namespace(MANAGEMENT)) as switch:
        set_up(switch, "lo")
        switch.link("add", ifname=_SWITCH, kind="bridge")
        switch.addr("add", index=index_of(switch, _SWITCH), address="10.203.0.254", prefixlen=24)
        set_up(switch, _SWITCH)
        for node in plan.nodes:
            far_end = {"ifname": _MANAGEMENT_LINK, "net_ns_fd": plan.names.namespace(node)}
            switch.link("add", ifname=node, kind="veth", peer=far_end)
            switch.link("set", index=index_of(switch, node), master=index_of(switch, _SWITCH))
            set_up(switch, node)
    with netlink(plan.names.namespace(ROUTER)) as router:
        set_sysctl("net/ipv4/ip_forward", 1)
        set_up(router, "lo")
        for node in plan.nodes:
            far_end = {"ifname": UNDERLAY, "net_ns_fd": plan.names.namespace(node)}
            router.link("add", ifname=f"to-{node}", kind="veth", peer=far_end)
            router.addr("add", index=index_of(router, f"to-{node}"), address=_gateway(node), prefixlen=24)
            set_up(router, f"to-{node}")
    for node in plan.nodes:
        with netlink(plan.names.namespace(node)) as end:
            set_up(end, "lo")
            for link, address in ((UNDERLAY, underlay_address(node)), (_MANAGEMENT_LINK, management_address(node))):
                end.addr("add", index=index_of(end, link), address=address, prefixlen=24)
                set_up(end, link)
            end.route("add", dst="0.0.0.0/0", gateway=_gateway(node))


def _gateway(node: str) -> str:
    return f"10.202.{_number(node)}.1"


def _start(plan: FleetPlan, name: str, argv: Sequence[str]) -> Daemon:
    log, mark = plan.names.directory / f"{name}.log", plan.names.mark(name)
    return start(name, argv, mark=mark, log=log, environment={"LOG_LEVEL": "verbose"})


def _hold(plan: FleetPlan, node: str) -> Daemon:
    """The process that holds a node's namespaces."""
    words = [program("ip"), "netns", "exec", plan.names.namespace(node), program("unshare"), "--uts"]
    words += ["--mount", program("sh"), "-c", _ENTERED, "sh", str(plan.files(node)), node]
    return _start(plan, f"node-{node}", words)


def _start_tunnel(plan: FleetPlan, node: str, pid: int) -> Daemon:
    words = [_real("wireguard-go"), "-f", plan.names.tunnel(node)]
    return _start(plan, f"tunnel-{node}", _entering(pid, words))


def _start_sshd(plan: FleetPlan, node: str, pid: int) -> Daemon:
    return _start(plan, f"sshd-{node}", _entering(pid, [_real("sshd"), "-D", "-e"]))


def start_sshd(plan: FleetPlan, node: str) -> None:
    """Start the sshd of a node again."""
    daemon = _start_sshd(plan, node, plan.holder(node))
    wait_for_words(daemon, "Server listening on", 1, time.monotonic() + READY_WITHIN_S)


def stop_sshd(plan: FleetPlan, node: str) -> None:
    """End the sshd of a node: its port refuses from now on."""
    processes.end(lambda pid: _is_sshd(plan, node, pid))
    (plan.names.directory / f"sshd-{node}.log").unlink()


def _is_sshd(plan: FleetPlan, node: str, pid: int) -> bool:
    """Whether a process is the sshd of a node. It writes its title over its environment, so it has no mark."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return False
    return name == "sshd" and processes.network_of(pid) == plan.names.namespace_file(node).stat().st_ino


def _complete(plan: FleetPlan) -> bool:
    """Whether every node still has its sshd."""
    pids = list(processes.all_pids())
    return all(any(_is_sshd(plan, node, pid) for pid in pids) for node in plan.nodes)


def _real(name: str) -> str:
    """A program's own path, which a node sees too."""
    return str(Path(program(name)).resolve())


def _entering(pid: int, words: Sequence[str]) -> list[str]:
    return [program("nsenter"), "-t", str(pid), "-m", "-u", "-n", "--", *words]


def _raise_tunnel(plan: FleetPlan, node: str) -> None:
    """Keys, peers, address and MTU of a node's tunnel, from its file."""
    device = plan.names.tunnel(node)
    stripped = run(plan.command(node, ["wg-quick", "strip", device]))
    run(plan.command(node, ["wg", "setconf", device, "/dev/stdin"]), text=stripped)
    with netlink(plan.names.namespace(node)) as route:
        route.link("set", index=index_of(route, device), mtu=_TUNNEL_MTU)
        route.addr("add", index=index_of(route, device), address=overlay_address(node), prefixlen=24)
        set_up(route, device)
