"""What carries the overlay of a lab: real daemons and devices of each product, one function a product.

Each makes the device `names.tunnel(node)` in every member's namespace. For WireGuard and VXLAN the network sets MTU and
addresses on the device; the daemons of Nebula and OpenVPN set them themselves.
"""

import errno
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from ipaddress import ip_network
from pathlib import Path

import yaml

from preflight.lab import wg_quick
from preflight.lab.blueprint import Blueprint, Product
from preflight.lab.names import LabError
from preflight.lab.network import Network, inside
from preflight.lab.processes import Daemon, program, run, start, wait_for_words
from preflight.lab.topology import TUNNEL_PORT, Family, prefix_length, underlay_address
from preflight.model.host_port import join_host_port

Maker = Callable[[Network, float], None]
"""Takes the network, whose underlay is up, and a deadline on time.monotonic()'s clock. Raises LabError."""

VXLAN_ID = 66
_OPENVPN_NAME = "lab"
_BROADCAST = "00:00:00:00:00:00"
_LIFE = "24h"


def wireguard(network: Network, deadline: float) -> None:
    """The kernel's WireGuard where it has one, else wireguard-go, all at once; then the keys and peers of each node."""
    starting = []
    bare = [node for node in network.plan.topology.members if not network.plan.quick(node)]
    for node in bare:
        host, device = network.plan.outer(node), network.names.tunnel(node)
        starting.append(wireguard_device(network, host, device, f"tunnel-{node}"))
    for node in network.plan.topology.members:
        if network.plan.quick(node):
            _bring_up(network, node, deadline)
    for daemon in filter(None, starting):
        wait_for_words(daemon, "UAPI listener started", 1, deadline)
    for node in bare:
        _move(network, node)
        network.configure_tunnel(node)


def _bring_up(network: Network, node: str, deadline: float) -> None:
    """All tunnels of a node by wg-quick."""
    for peers in network.plan.tunnels(node):
        device = network.write_quick_file(node, peers)
        wg_quick.up(
            network.command(node, program("wg-quick"), "up", device),
            mark=network.names.mark(f"tunnel-{device.rpartition('-')[2]}"),
            log=network.names.files(node) / f"wg-quick-{device}.log",
            timeout=max(deadline - time.monotonic(), 1.0),
        )


def wireguard_device(network: Network, node: str, device: str, owner: str) -> Daemon | None:
    """Make a WireGuard device in a namespace: the kernel's, or that of a wireguard-go, which has yet to be ready.

    owner: names the daemon. None: the kernel has made it. Raises LabError.
    """
    if _kernel_wireguard(network, node, device):
        return None
    log = network.names.directory / f"{owner}.log"
    argv = network.command(node, program("wireguard-go"), "-f", device)
    return start(owner, argv, mark=network.names.mark(owner), log=log, environment={"LOG_LEVEL": "verbose"})


def _move(network: Network, node: str) -> None:
    """Give a container the device that was made at its host. The sockets of its outer packets stay there."""
    if network.plan.outer(node) != node:
        # wireguard-go does not see a change of the MTU in another namespace, so the device has it before.
        words = ("mtu", str(network.plan.tunnel_mtu), "netns", network.names.namespace(node))
        host = network.plan.outer(node)
        run(network.command(host, program("ip"), "link", "set", network.names.tunnel(node), *words))


@cache
def in_the_kernel() -> bool:
    """Whether WireGuard's tunnels are the kernel's own on this machine, also before the first one is made."""
    modules = Path("/lib/modules") / os.uname().release
    lists = (modules / name for name in ("modules.dep", "modules.builtin"))
    known = any("/wireguard.ko" in each.read_text(encoding="utf-8") for each in lists if each.exists())
    return known or Path("/sys/module/wireguard").exists()


def _kernel_wireguard(network: Network, node: str, device: str) -> bool:
    from preflight.netlink import IPRoute, NetlinkError

    with inside(network.names.namespace(node)), IPRoute() as route:
        try:
            route.link("add", ifname=device, kind="wireguard")
        except NetlinkError as error:
            if error.code == errno.EOPNOTSUPP:
                return False
            raise LabError(f"the kernel rejected a WireGuard interface: {error}") from None
    return True


def vxlan(network: Network, deadline: float) -> None:
    """The kernel's VXLAN (RFC 7348) with a fixed list of remote ends: broadcasts go to each of them."""
    family = network.plan.underlay
    for node in network.plan.topology.members:
        tunnel, own = network.names.tunnel(node), underlay_address(node, family)
        words = ["link", "add", tunnel, "type", "vxlan", "id", str(VXLAN_ID), "dstport", "4789", "local", own]
        run(network.command(network.plan.outer(node), program("ip"), *words))
        _move(network, node)
        ends = (underlay_address(neighbour, family) for neighbour in network.plan.neighbours(node))
        entries = "".join(f"fdb append {_BROADCAST} dev {tunnel} dst {far_end}\n" for far_end in ends)
        run(network.command(node, program("bridge"), "-batch", "-"), text=entries)


def nebula(network: Network, deadline: float) -> None:
    """Nebula: a certificate authority for the lab, a certificate for each member, and each member knows all others.

    Its configuration is in /etc/nebula of the member's namespace, where the product expects it.
    """
    folder = network.names.directory
    nebula_authority(network, "nebula-ca")
    starting = []
    for node in network.plan.topology.members:
        etc = network.names.etc(node) / "nebula"
        etc.mkdir(parents=True, exist_ok=True)
        sign_nebula(network, node)
        config = etc / "config.yml"
        config.write_text(yaml.safe_dump(_nebula_config(network, node, folder)), encoding="utf-8")
        config.chmod(0o600)
        starting.append(start_nebula(network, node))
    for daemon in starting:
        wait_for_words(daemon, "Nebula interface is active", 1, deadline)


def nebula_authority(network: Network, name: str) -> None:
    """A certificate authority for Nebula, in files of this name."""
    run([*_certify("ca"), "-name", "lab", "-duration", "48h", *_pair(network.names.directory / name)])


def sign_nebula(network: Network, node: str, authority: str = "nebula-ca", life: str = _LIFE) -> None:
    """A member's certificate and key; those that it had are replaced."""
    stem, by = network.names.files(node) / "nebula", network.names.directory / authority
    for suffix in (".crt", ".key"):
        stem.with_suffix(suffix).unlink(missing_ok=True)
    own = f"{network.plan.address(node, 4)}/{prefix_length(4)}"
    subnets = ["-subnets", network.plan.lans[node]] if node in network.plan.lans else []
    signer = ["-ca-crt", f"{by}.crt", "-ca-key", f"{by}.key"]
    run([*_certify("sign"), "-name", node, "-ip", own, *subnets, "-duration", life, *signer, *_pair(stem)])


def start_nebula(network: Network, node: str) -> Daemon:
    """A member's Nebula, with its configuration as it is; its log goes on."""
    argv = network.command(node, program("nebula"), "-config", "/etc/nebula/config.yml")
    log = network.names.files(node) / "nebula.log"
    return start(f"nebula of {node}", argv, mark=network.names.mark(f"tunnel-{node}"), log=log)


def _certify(command: str) -> list[str]:
    return [program("nebula-cert"), command]


def _pair(stem: Path) -> list[str]:
    return ["-out-crt", f"{stem}.crt", "-out-key", f"{stem}.key"]


def _nebula_config(network: Network, node: str, folder: Path) -> Mapping[str, object]:
    files, plan = network.names.files(node), network.plan
    allow = [{"port": "any", "proto": "any", "host": "any"}]
    far_ends = {
        plan.address(neighbour, 4): [join_host_port(underlay_address(neighbour, plan.underlay), TUNNEL_PORT)]
        for neighbour in plan.neighbours(node)
        if not plan.translated(neighbour)
    }
    lans = [{"route": lan, "via": plan.address(member, 4)} for member, lan in plan.lans.items() if member != node]
    return {
        "pki": {
            "ca": str(folder / "nebula-ca.crt"),
            "cert": str(files / "nebula.crt"),
            "key": str(files / "nebula.key"),
        },
        "static_host_map": far_ends,
        "lighthouse": {"am_lighthouse": False, "hosts": []},
        "listen": {"host": _listen(plan, node), "port": TUNNEL_PORT},
        "punchy": {"punch": bool(plan.keepalive_s)},
        "tun": {"dev": network.names.tunnel(node), "mtu": plan.tunnel_mtu, "unsafe_routes": lans},
        "firewall": {"outbound": allow, "inbound": allow},
        "logging": {"level": "info"},
    }


def _listen(plan: Blueprint, node: str) -> str:
    # Behind a translation a node does not have the address at which others find it.
    return "0.0.0.0" if plan.translated(node) else underlay_address(node, plan.underlay)  # noqa: S104


def openvpn(network: Network, deadline: float) -> None:
    """OpenVPN with TLS. Its server passes packets from client to client itself, or as a hub to its kernel."""
    from preflight.lab.certificates import write_identities

    plan, server = network.plan, network.plan.vpn_server
    folders = {node: network.names.files(node) for node in plan.topology.members}
    write_identities(folders, network.names.directory, server=server)
    clients = [node for node in plan.topology.members if node != server]
    addresses = network.names.files(server) / "openvpn-clients"
    addresses.mkdir()
    for node in (*clients, *plan.offline_peers):
        (addresses / node).write_text("\n".join([*_openvpn_client(plan, node), ""]), encoding="ascii")
    _wait_for_openvpn([_start_openvpn(network, server, _openvpn_server(plan, server, addresses))], deadline)
    if plan.topology.hub is not None:
        network.pass_on(server)
    remote = f"remote {underlay_address(server, plan.underlay)} {TUNNEL_PORT} udp{plan.underlay}"
    redirect = f"redirect-gateway def1 {_OPENVPN_FAMILIES[plan.families]}"
    diverted = {"a": [redirect]} if plan.routes == "halves" else {}
    starting = [_start_openvpn(network, node, ["client", remote, *diverted.get(node, ())]) for node in clients]
    _wait_for_openvpn(starting, deadline)


def _openvpn_client(plan: Blueprint, node: str) -> list[str]:
    """What the server knows of a client: its addresses, and the LAN behind it."""
    lines = {
        4: f"ifconfig-push {plan.address(node, 4)} 255.255.255.0",
        6: f"ifconfig-ipv6-push {plan.address(node, 6)}/{prefix_length(6)} {plan.address(plan.vpn_server, 6)}",
    }
    lans = [_openvpn_route(plan.lans[node], "iroute")] if node in plan.lans else []
    return [*(lines[family] for family in plan.families), *lans]


def _openvpn_server(plan: Blueprint, node: str, addresses: Path) -> list[str]:
    # One of them is the gateway for the server's own routes: OpenVPN needs an address, and a TUN device ignores it.
    own = {
        4: [f"ifconfig {plan.address(node, 4)} 255.255.255.0", f"route-gateway {plan.address('a', 4)}"],
        6: [f"ifconfig-ipv6 {plan.address(node, 6)}/{prefix_length(6)} {plan.address('a', 6)}"],
    }
    return [
        "mode server",
        "tls-server",
        f"local {underlay_address(node, plan.underlay)}",
        f"port {TUNNEL_PORT}",
        f"proto udp{plan.underlay}",
        "topology subnet",
        'push "topology subnet"',
        *(line for family in plan.families for line in own[family]),
        *([f'push "route-gateway {plan.address(node, 4)}"'] if 4 in plan.families else ()),
        *(["client-to-client"] if plan.topology.hub is None else ()),
        f"client-config-dir {addresses}",
        f"status {addresses.with_name('openvpn-status.log')} 1",
        "dh none",
        # A client does not get the route to its own LAN: the server leaves out what it has as that client's `iroute`.
        *(f'push "{_openvpn_route(lan)}"' for lan in plan.lans.values()),
        *(_openvpn_route(lan) for member, lan in plan.lans.items() if member != node),
    ]


def _openvpn_route(lan: str, directive: str = "route") -> str:
    """A directive about a LAN: OpenVPN has one of each for either family, and writes IPv4 masks in full."""
    network = ip_network(lan)
    return (
        f"{directive}-ipv6 {lan}"
        if network.version == 6
        else f"{directive} {network.network_address} {network.netmask}"
    )


def _start_openvpn(network: Network, node: str, lines: list[str]) -> Daemon:
    files, tunnel = network.names.files(node), network.names.tunnel(node)
    common = [
        f"dev {tunnel}",
        "dev-type tun",
        f"tun-mtu {network.plan.tunnel_mtu}",
        f"ca {files / 'openvpn-ca.pem'}",
        f"cert {files / 'openvpn.pem'}",
        f"key {files / 'openvpn.key'}",
        f"keepalive {max(network.plan.keepalive_s, 1)} 120",
        "nobind" if "client" in lines else "",
        f"log-append {files / 'openvpn.log'}",
        "verb 3",
    ]
    file = openvpn_file(network, node)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text("\n".join([*lines, *common, ""]), encoding="ascii")
    return start_openvpn(network, node)


def openvpn_file(network: Network, node: str) -> Path:
    """A member's configuration of OpenVPN, where its units look for it."""
    folder = "server" if node == network.plan.vpn_server else "client"
    return network.names.etc(node) / "openvpn" / folder / f"{_OPENVPN_NAME}.conf"


def start_openvpn(network: Network, node: str) -> Daemon:
    """A member's OpenVPN, with its configuration as it is; its log goes on."""
    file = f"/etc/openvpn/{openvpn_file(network, node).parent.name}/{_OPENVPN_NAME}.conf"
    argv, log = network.command(node, program("openvpn"), "--config", file), network.names.files(node) / "openvpn.log"
    return start(f"openvpn of {node}", argv, mark=network.names.mark(f"tunnel-{node}"), log=log)


def _wait_for_openvpn(starting: Sequence[Daemon], deadline: float) -> None:
    for daemon in starting:
        wait_for_words(daemon, "Initialization Sequence Completed", 1, deadline)


_OPENVPN_FAMILIES: Mapping[tuple[Family, ...], str] = {(4,): "", (6,): "ipv6 !ipv4", (4, 6): "ipv6"}

_MAKERS: Mapping[Product, Maker] = {"wireguard": wireguard, "vxlan": vxlan, "nebula": nebula, "openvpn": openvpn}
_BARE: frozenset[Product] = frozenset(("wireguard", "vxlan"))
"""Products whose devices get their MTU and addresses from the lab."""


def build(network: Network, deadline: float) -> None:
    """The tunnels of a lab, over its underlay. deadline: on time.monotonic()'s clock. Raises LabError."""
    _MAKERS[network.plan.product](network, deadline)
    if network.plan.product in _BARE:
        for node in network.plan.topology.members:
            if not network.plan.quick(node):
                network.raise_tunnel(node)
    for node in network.plan.lans:
        network.forward(node)
