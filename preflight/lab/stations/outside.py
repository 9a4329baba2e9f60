"""The way of a tunnel's own packets: who is at its other end, and how it leaves a node.

Everything is asked from the plan or from the network as it was built, so that it holds on every set-up: behind a
translation of addresses, through a hub, with another product's port.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from preflight.lab.axes.setup import Setup
from preflight.lab.blueprint import Blueprint, plain
from preflight.lab.names import LabError
from preflight.lab.network import inside, router_link
from preflight.lab.processes import program, run
from preflight.lab.topology import TUNNEL_PORT, Family, underlay_address
from preflight.model.host_port import join_host_port

if TYPE_CHECKING:
    from preflight.lab.network import Network

VXLAN_PORT = 4789
HEADERS = 48
"""Bytes of IPv6 and UDP."""
Dead = Literal["forward", "reverse", "round-trip"]
_OTHER = {"a": "b", "b": "a"}


def plan_of(setup: Setup) -> Blueprint:
    """The plan of a set-up without faults."""
    plan = plain("pair")
    for part in setup.parts():
        plan = part.shape(plan)
    return plan


def remote_end(plan: Blueprint, node: str = "a") -> str:
    """The member to which a node's tunnel sends what is for the other one of a and b."""
    through = plan.vpn_server if plan.product == "openvpn" else plan.topology.hub
    return _OTHER[node] if through in (None, node) else str(through)


def family_of(plan: Blueprint) -> Family:
    """The family of the tunnel's own packets."""
    return plan.underlay


def port_of(plan: Blueprint) -> int:
    """The UDP port at which the tunnels listen."""
    return VXLAN_PORT if plan.product == "vxlan" else TUNNEL_PORT


@dataclass(frozen=True, slots=True)
class Leaving:
    """How a node's tunnel sends its own packets: to which address and port, by which device, gateway and source."""

    address: str
    port: int
    device: str
    gateway: str
    source: str

    @property
    def ip(self) -> str:
        """The family, as nft names it."""
        return "ip6" if ":" in self.address else "ip"

    @property
    def host(self) -> str:
        """The address as a prefix."""
        return f"{self.address}/{128 if ':' in self.address else 32}"

    @property
    def dport(self) -> tuple[str, ...]:
        """The port, as ip(8) takes it; empty where only the other side knows it."""
        return ("dport", str(self.port)) if self.port else ()

    @property
    def to(self) -> str:
        """A match of nft for what is sent there."""
        return f"{self.ip} daddr {self.address} {f'udp dport {self.port}' if self.port else 'meta l4proto udp'}"

    @property
    def back(self) -> str:
        """A match of nft for what comes from there."""
        port = f"udp {self._port_of_back} {self.port}" if self.port else "meta l4proto udp"
        return f"{self.ip} saddr {self.address} {port}"

    @property
    def _port_of_back(self) -> str:
        # VXLAN sends each inner flow from another port, and always to this one.
        return "dport" if self.port == VXLAN_PORT else "sport"

    @property
    def others(self) -> str:
        """Rules of nft that accept what is not sent there, for a chain that drops the rest."""
        return self._except(f"{self.ip} daddr", "dport")

    @property
    def others_back(self) -> str:
        """Rules of nft that accept what does not come from there."""
        return self._except(f"{self.ip} saddr", self._port_of_back)

    def _except(self, address: str, port: str) -> str:
        ports = f"udp {port} != {self.port} accept; " if self.port else ""
        return f"{address} != {self.address} accept; {ports}meta l4proto != udp accept"


def leaving(network: "Network", node: str) -> Leaving:
    """How a node's tunnel leaves it or its host now, by the kernel's own look-up. Raises LabError if it does not."""
    address, port, mark = endpoint(network, node)
    where = ["-j", "route", "get", address, "ipproto", "udp", *(["dport", str(port)] if port else [])]
    found = json.loads(ip(network, network.plan.outer(node), *where, *(["mark", mark] if mark else [])))[0]
    return Leaving(address, port, found["dev"], found.get("gateway", ""), found["prefsrc"])


def endpoint(network: "Network", node: str) -> tuple[str, int, str]:
    """The address and the port to which a node's tunnel sends, and its mark. Port 0: only the other side knows it."""
    plan, far = network.plan, remote_end(network.plan, node)
    if plan.product != "wireguard":
        unknown = plan.translated(far) or (plan.product == "openvpn" and node == plan.vpn_server)
        return underlay_address(far, family_of(plan)), 0 if unknown else port_of(plan), ""
    for device in tunnels(network, node):
        for line in network.wg(node, "show", device, "endpoints").splitlines():
            key, _, place = line.partition("\t")
            if key == network.keys[far].public and place != "(none)":
                address, _, port = place.rpartition(":")
                mark = network.wg(node, "show", device, "fwmark").strip()
                return address.strip("[]"), int(port), "" if mark == "off" else mark
    raise LabError(f"{node}'s tunnel has no endpoint for {far}")


def endpoint_text(network: "Network", node: str) -> str:
    """The endpoint to which a node's tunnel sends, as `HOST:PORT`."""
    address, port, _ = endpoint(network, node)
    return join_host_port(address, port)


def links(network: "Network", node: str) -> dict[str, dict[str, Any]]:
    """The devices of a node by name, as ip(8) shows them."""
    return {link["ifname"]: link for link in json.loads(ip(network, node, "-j", "link", "show"))}


def tunnels(network: "Network", node: str) -> list[str]:
    """The devices of a node's tunnels: one, or one for each peer."""
    return [device for device in links(network, node) if device.startswith(network.names.tunnel(node))]


def tunnel_to_remote_end(network: "Network", node: str) -> str:
    """The device of a node's tunnel to its remote end."""
    devices = tunnels(network, node)
    if len(devices) == 1 or network.plan.product != "wireguard":
        return devices[0]
    key = network.keys[remote_end(network.plan, node)].public
    return next(device for device in devices if key in network.wg(node, "show", device, "peers"))


def forget(network: "Network", node: str, to: str = "") -> None:
    """Let WireGuard of a node forget its sessions with the remote end, and begin again.

    to: the endpoint from now on, `HOST:PORT`; empty: it waits for the remote end to call.
    """
    device, key = tunnel_to_remote_end(network, node), network.keys[remote_end(network.plan, node)].public
    found = network.wg(node, "show", device, "allowed-ips").splitlines()
    allowed = next(line.partition("\t")[2] for line in found if line.startswith(key))
    network.wg(node, "set", device, "peer", key, "remove")
    words = ["peer", key, "allowed-ips", allowed.replace(" ", ",")]
    words += ["persistent-keepalive", str(network.plan.keepalive_s)] if network.plan.keepalive_s else []
    network.wg(node, "set", device, *words, *(["endpoint", to] if to else []))


def ip(network: "Network", node: str, *words: str) -> str:
    """Run ip(8) in a node's namespace."""
    return run(network.command(node, program("ip"), *words))


def table(network: "Network", node: str, text: str) -> None:
    """Give a node a separate table of rules, in the words of nft."""
    run(network.command(node, program("nft"), "-f", "-"), text=text)


def translate(network: "Network", node: str, sent: str, received: str, to: str) -> None:
    """Let a node translate the source of what it sends. sent, received: matches of nft. to: the target, such as
    `snat ip to ADDRESS`, with a comment.

    What it receives is not tracked, or what it sends would be answers, which no rule translates.
    """
    out = f"type nat hook postrouting priority 100; {sent} {to};"
    into = f"type filter hook prerouting priority -300; {received} notrack;"
    table(network, node, f"table inet outside {{ chain postrouting {{ {out} }}; chain in {{ {into} }}; }}")
    forget_flows(network, node)


def forget_flows(network: "Network", node: str) -> None:
    """Let a node's connection tracking forget every flow, so that a new translation holds for the next packet."""
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

    with inside(network.names.namespace(node)), NFCTSocket() as tracking:
        tracking.flush()


def on_the_way(plan: Blueprint, direction: Dead, far: str = "") -> str:
    """A match of nft in the router's forward chain: what goes from a to its remote end, or back.

    By a's link and the remote end's address: neither changes by a translation of a's address or by a bad link.
    """
    family = family_of(plan)
    word, address = "ip" if family == 4 else "ip6", underlay_address(far or remote_end(plan), family)
    link = router_link("a")
    return f'iifname "{link}" {word} daddr {address}' if direction == "forward" else (
        f'oifname "{link}" {word} saddr {address}'
    )  # fmt: skip


def through_a_third(setup: Setup) -> bool:
    """Whether a and b talk through a third member, so that its tunnel is their way too."""
    plan = plan_of(setup)
    return remote_end(plan, "a") != "b" or remote_end(plan, "b") != "a"


def own_uplink(setup: Setup, node: str) -> str | None:
    """Why a fault of a node's own uplink cannot be made on a set-up."""
    if node == "a" and setup.namespace != "host":
        return "a does not see the namespace in which its tunnel's own packets leave"
    return None


def main_table(setup: Setup, node: str) -> str | None:
    """Why a fault of the main table cannot be made on a set-up."""
    if node == "a" and setup.uplinks != "one":
        return "packets from an uplink's address have their own table"
    return own_uplink(setup, node)


def only_default(setup: Setup, node: str) -> str | None:
    """Why a fault of a node's default route cannot be made on a set-up."""
    if node == "a" and setup.routes in ("halves", "wider"):
        return "another route is as good for the tunnel's own packets"
    return main_table(setup, node)
