"""Namespaces, links and tunnels of a lab, made through netlink; needs root.

`inside` moves only the calling thread, so that threads can build labs in parallel.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preflight.lab.blueprint import Blueprint
from preflight.lab.impairment import Impairment
from preflight.lab.keys import TunnelKeys, tunnel_config
from preflight.lab.names import EVERYWHERE, ROUTER, LabError, LabNames
from preflight.lab.processes import program, run, start, wait_for_words
from preflight.lab.topology import MESH_PREFIX, OFFLINE_NETWORKS, gateway_address, prefix_length, underlay_address
from preflight.lab.wg_quick import quick_file
from preflight.programs import python_module

if TYPE_CHECKING:
    from preflight.netlink import IPRoute

UNDERLAY = "eth0"
WIREGUARD_SOCKETS = Path("/var/run/wireguard")
_SCOPE_LINK, _SCOPE_HOST = 253, 254
_TABLE_LOCAL = 255
_FORWARDER_READY_S = 10.0
_NO_DAD = 0x02  # IFA_F_NODAD: no other host in the lab can have the address, and it must work at once


def may_make_namespaces() -> bool:
    """Whether this process may build network namespaces: root, with the capabilities that a container may lack."""
    net_admin, sys_admin = 12, 21
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = int(next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1], 16)
    return os.geteuid() == 0 and all(effective >> capability & 1 for capability in (net_admin, sys_admin))


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Run the body with the calling thread in a network namespace; sockets opened there stay there."""
    from pyroute2 import netns

    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        netns.setns(namespace, flags=0)
        try:
            yield
        finally:
            netns.setns(home, flags=0)
    finally:
        os.close(home)


@contextmanager
def netlink(namespace: str) -> Iterator["IPRoute"]:
    """rtnetlink of a namespace, with the calling thread inside it. Raises LabError when the kernel refuses."""
    from preflight.netlink import IPRoute, NetlinkError

    try:
        with inside(namespace), IPRoute() as route:
            yield route
    except NetlinkError as error:
        raise LabError(f"the kernel rejected a part of the lab's network ({namespace}): {error}") from None


def index_of(route: "IPRoute", interface: str) -> int:
    """The number of an interface. Raises LabError if there is none."""
    found = route.link_lookup(ifname=interface)
    if not found:
        raise LabError(f"the lab's interface {interface} is missing")
    return int(found[0])


def router_link(node: str) -> str:
    """The router's end of the link to a member."""
    return f"to-{node}"


def add_address(route: "IPRoute", interface: str, address: str) -> None:
    """Give an interface an address, with the prefix length that all networks of a lab have."""
    length = prefix_length(6 if ":" in address else 4)
    route.addr("add", index=index_of(route, interface), address=address, prefixlen=length, flags=_NO_DAD)


def set_up(route: "IPRoute", interface: str) -> None:
    """Bring an interface up."""
    route.link("set", index=index_of(route, interface), state="up")


class Network:
    """One lab's namespaces and what is in them."""

    def __init__(self, names: LabNames, plan: Blueprint, keys: Mapping[str, TunnelKeys]) -> None:
        self.names = names
        self.plan = plan
        self.keys = keys
        self._mistaken: dict[str, dict[str, TunnelKeys]] = {}
        self._slowest_ms = 0.0

    def command(self, node: str, *words: str) -> list[str]:
        """The command line that runs a program in a node's namespace."""
        return [program("ip"), "netns", "exec", self.names.namespace(node), *words]

    def nft(self, node: str, *rules: str) -> None:
        """Add rules to a node's firewall. Each is `HOOK RULE`, for example `input iifname x drop`."""
        hooks = dict.fromkeys(rule.partition(" ")[0] for rule in rules)
        lines = [f"table inet lab {{ chain {hook} {{ {_CHAINS[hook]}; }}; }}" for hook in hooks]
        lines += [f"add rule inet lab {rule}" for rule in rules]
        run(self.command(node, program("nft"), "-f", "-"), text="\n".join(lines))

    def configure_tunnel(self, node: str) -> None:
        """Write a node's keys and peers into its tunnels, and into wg-quick's files; its sessions are lost."""
        keys = {**self.keys, **self._mistaken.get(node, {})}
        for peers in self.plan.tunnels(node):
            device = self.tunnel_to(node, peers[0])
            text = tunnel_config(self.plan, keys, node, peers)
            if self.plan.quick(node):
                self.write_quick_file(node, peers)
                # Without the mark that wg-quick gave the tunnel, its own packets would be routed into it.
                mark = self.wg(node, "show", device, "fwmark").strip()
                text = text.replace("[Peer]", f"FwMark = {mark}\n[Peer]", 1)
            config = self.names.files(node) / f"{device}.conf"
            config.touch(mode=0o600)
            config.write_text(text, encoding="ascii")
            self.wg(node, "setconf", device, str(config))

    def write_quick_file(self, node: str, peers: Sequence[str]) -> str:
        """Write wg-quick's file of a tunnel where it and its readers look for it; give the name of the device."""
        device, folder = self.tunnel_to(node, peers[0]), self.names.etc(node) / "wireguard"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{device}.conf"
        path.touch(mode=0o600)
        keys = {**self.keys, **self._mistaken.get(node, {})}
        path.write_text(quick_file(self.plan, keys, node, peers), encoding="ascii")
        return device

    def tunnel_to(self, node: str, peer: str) -> str:
        """The device of a node's tunnel to a peer: `names.tunnel(node)`, except where it has one for each peer.

        There the first peer's tunnel has that name too.
        """
        own = self.names.tunnel(node)
        return f"{own}{peer}" if self.plan.one_for_each(node) and peer != self.plan.neighbours(node)[0] else own

    def mistake(self, node: str, of: str, keys: TunnelKeys) -> None:
        """Let a node use these as another node's keys from now on, even after other faults of its tunnel."""
        self._mistaken.setdefault(node, {})[of] = keys
        self.configure_tunnel(node)

    def steer(self, node: str, table: int, source: str, target: str, *, entrance: str = "", **route: Any) -> None:
        """Send packets from `source` to `target` over a separate route in a separate table.

        entrance: only packets from this interface. route: as for rtnetlink.
        """
        length = 128 if ":" in source else 32
        only = {"iifname": entrance} if entrance else {}
        with netlink(self.names.namespace(node)) as kernel:
            kernel.rule(
                "add", table=table, priority=table, src=source, src_len=length, dst=target, dst_len=length, **only
            )
            kernel.route("add", dst=f"{target}/{length}", table=table, scope=_SCOPE_LINK, **route)

    def start_forwarder(self, node: str, device: str, impairment: Impairment) -> int:
        """Start the user-space bad link in a node; return the index of its device, which is up."""
        self._slowest_ms = max(self._slowest_ms, impairment.delay_ms)
        words = python_module("preflight.lab.forwarder", device, json.dumps(asdict(impairment)))
        log = self.names.directory / f"{device}.log"
        daemon = start(device, self.command(node, *words), mark=self.names.mark(device), log=log)
        wait_for_words(daemon, "listening on ", 1, time.monotonic() + _FORWARDER_READY_S)
        with netlink(self.names.namespace(node)) as kernel:
            # A bad link carries what the links before and behind it carry.
            kernel.link("set", index=index_of(kernel, device), mtu=self.plan.link_mtu)
            set_up(kernel, device)
            return index_of(kernel, device)

    @property
    def slack_s(self) -> float:
        """How much longer than in a lab without delay a proof waits: a handshake comes before what it waits for."""
        return 4 * self._slowest_ms / 1000

    def wg(self, node: str, *words: str) -> str:
        """Run wg(8) in a node's namespace."""
        return run(self.command(node, program("wg"), *words))

    def lay_underlay(self) -> None:
        """Namespaces, the router between them, links and routes. Raises LabError."""
        members = self.plan.topology.members
        ends = (*members, *self.plan.gateways)
        wanted = (self.names.namespace(node) for node in (*ends, ROUTER))
        # By ip(8): pyroute2 would fork this process, which may have threads.
        run([program("ip"), "-batch", "-"], text="".join(f"netns add {namespace}\n" for namespace in wanted))
        for node in ends:
            with netlink(self.names.namespace(node)) as end:
                _use_addresses_at_once()
                set_up(end, "lo")
        with netlink(self.names.namespace(ROUTER)) as router:
            _use_addresses_at_once()
            set_sysctl("net/ipv4/ip_forward", 1)
            set_sysctl("net/ipv6/conf/all/forwarding", 1)
            set_up(router, "lo")
            mtu = {"mtu": self.plan.link_mtu}
            for node in members:
                far_end = {"ifname": UNDERLAY, "net_ns_fd": self.names.namespace(self.plan.attached(node)), **mtu}
                router.link("add", ifname=router_link(node), kind="veth", peer=far_end, **mtu)
                set_up(router, router_link(node))
                for address in (gateway_address(node, 4), gateway_address(node, 6)):
                    add_address(router, router_link(node), address)
            for resolver in (each for each in self.plan.resolvers if not each.absent):
                add_address(router, router_link("a"), resolver.address)
            for network in OFFLINE_NETWORKS if self.plan.offline else ():
                router.route("add", dst=network, type="blackhole")
        for node in members:
            with netlink(self.names.namespace(self.plan.attached(node))) as member:
                set_up(member, UNDERLAY)
                for address in (underlay_address(node, 4), underlay_address(node, 6)):
                    add_address(member, UNDERLAY, address)
                member.route("add", dst="0.0.0.0/0", gateway=gateway_address(node, 4))
                member.route("add", dst="::/0", gateway=gateway_address(node, 6))

    def raise_tunnel(self, node: str) -> None:
        """Give a node's tunnel device its MTU, addresses and routes, and set it up."""
        tunnel = self.names.tunnel(node)
        if node == self.plan.topology.hub:
            self.pass_on(node)
        with netlink(self.names.namespace(node)) as route:
            route.link("set", index=index_of(route, tunnel), mtu=self.plan.tunnel_mtu)
            for family in self.plan.families:
                add_address(route, tunnel, self.plan.address(node, family))
            set_up(route, tunnel)
            if self.plan.mesh_peers and node == "b":
                own = {"oif": index_of(route, "lo"), "type": "local", "table": _TABLE_LOCAL, "scope": _SCOPE_HOST}
                route.route("add", dst=MESH_PREFIX, **own)
            elif self.plan.mesh_peers:
                route.route("add", dst=MESH_PREFIX, oif=index_of(route, tunnel), scope=_SCOPE_LINK)
            self._route_lans(route, node)

    def forward(self, node: str) -> None:
        """Let a node forward packets of both families."""
        with inside(self.names.namespace(node)):
            set_sysctl("net/ipv4/ip_forward", 1)
            set_sysctl("net/ipv6/conf/all/forwarding", 1)

    def pass_on(self, node: str) -> None:
        """Let a hub forward between its spokes, out of the interface that a packet came in on, without redirects."""
        self.forward(node)
        with inside(self.names.namespace(node)):
            for interface in (self.names.tunnel(node), "all"):
                set_sysctl(f"net/ipv4/conf/{interface}/send_redirects", 0)

    def _route_lans(self, route: "IPRoute", node: str) -> None:
        """Routes of a node to the LANs behind the other members. VXLAN is a link, so the member is a gateway on it."""
        for member, lan in self.plan.lans.items():
            if member == node:
                continue
            on_link = self.plan.product == "vxlan"
            where = {"gateway": self.plan.address(member, 6 if ":" in lan else 4)} if on_link else {}
            route.route("add", dst=lan, oif=index_of(route, self.names.tunnel(node)), **where)


_CHAINS = {
    **{hook: f"type filter hook {hook} priority 0" for hook in ("input", "output", "forward")},
    "postrouting": "type nat hook postrouting priority 100",
}


def _use_addresses_at_once() -> None:
    """No duplicate address detection in this namespace: no other host can have an address of a lab.

    A router asks for neighbours of what it forwards by its link-local address (RFC 4861 section 7.2.2), and would drop
    all of them in the first second or two.
    """
    set_sysctl("net/ipv6/conf/default/dad_transmits", 0)


def set_sysctl(path: str, value: int | str) -> None:
    """Set a network sysctl in the namespace of the calling thread."""
    Path("/proc/sys", path).write_text(str(value), encoding="ascii")


def remove_network(names: LabNames) -> None:
    """Delete the namespaces with everything in them, and wireguard-go's sockets, as far as they exist.

    The processes inside must have ended before: a namespace exists until its last process ends.
    """
    for node in EVERYWHERE:
        if names.namespace_file(node).exists():
            _remove_namespace(names.namespace(node))
        for socket in WIREGUARD_SOCKETS.glob(f"{names.tunnel(node)}*.sock"):
            socket.unlink(missing_ok=True)
        shutil.rmtree(names.etc(node), ignore_errors=True)
    (WIREGUARD_SOCKETS / f"{names.other_vpn}.sock").unlink(missing_ok=True)


def _remove_namespace(namespace: str) -> None:
    from pyroute2 import netns

    try:
        netns.remove(namespace)
    except OSError as error:
        raise LabError(f"the namespace {namespace} cannot be removed: {error.strerror}") from None


def has_tunnel(names: LabNames, node: str) -> bool:
    """Whether a node's tunnel device exists."""
    with netlink(names.namespace(node)) as route:
        return bool(route.link_lookup(ifname=names.tunnel(node)))
