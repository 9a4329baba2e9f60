"""Where a's tunnel is in some set-ups: in a container, in a VRF, or next to another VPN. All are healthy."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.lab.blueprint import Blueprint
from preflight.lab.keys import TunnelKeys
from preflight.lab.links import ip
from preflight.lab.names import HOST, ROUTER, LabError
from preflight.lab.network import inside, set_sysctl
from preflight.lab.part import Part
from preflight.lab.processes import program, run, wait_for_words
from preflight.lab.topology import TUNNEL_PORT, gateway_address
from preflight.lab.tunnels import wireguard_device

if TYPE_CHECKING:
    from preflight.lab.network import Network

OFFICE = "172.20.0.0/16"
"""What the second VPN leads to; `OFFICE_HOST` is there."""
OFFICE_HOST = "172.20.0.1"
VRF = "vrf-overlay"
_TRANSIT = "10.99.0"
OFFICE_TABLE = 9900
_VRF_TABLE = 1066
_READY_S = 10.0


def container() -> Part:
    """a is a container without an uplink: its tunnel was made at its host, where the outer packets stay."""

    def shape(plan: Blueprint) -> Blueprint:
        return replace(plan, gateways=(HOST, *plan.gateways))

    return Part("a is a container, whose host made its tunnel", shape=shape)


def second_vpn() -> Part:
    """a has a WireGuard tunnel of another owner to the router, with its own prefix, table and rule."""

    def underlay(network: "Network") -> None:
        ours, server = network.names.other_vpn, network.names.tunnel(ROUTER)
        deadline = time.monotonic() + _READY_S
        ends = (("a", ours), (ROUTER, server))
        starting = [wireguard_device(network, node, device, f"other-vpn-{node}") for node, device in ends]
        for daemon in filter(None, starting):
            wait_for_words(daemon, "UAPI listener started", 1, deadline)
        _give_keys(network, ours, server)
        far = gateway_address("b", 4)
        ip(network, ROUTER, f"addr add {_TRANSIT}.1/24 dev {server}", f"addr add {OFFICE_HOST}/32 dev lo")
        ip(network, ROUTER, f"link set {server} up")
        ip(
            network,
            "a",
            f"addr add {_TRANSIT}.2/24 dev {ours}",
            f"link set {ours} mtu {network.plan.tunnel_mtu} up",
            # As VPN clients do: their server stays reachable if the default route changes.
            f"route add {far}/32 via {network.plan.gateway('a', 4)}",
            f"route add {OFFICE} dev {ours} table {OFFICE_TABLE}",
            f"rule add to {OFFICE} lookup {OFFICE_TABLE} priority {OFFICE_TABLE}",
        )

    return Part("a has a second VPN", underlay=underlay)


def _give_keys(network: "Network", ours: str, server: str) -> None:
    """The second VPN's keys, and what each end sends to the other."""
    own, theirs = TunnelKeys.fresh(), TunnelKeys.fresh()
    endpoint = f"Endpoint = {gateway_address('b', 4)}:{TUNNEL_PORT}\nPersistentKeepalive = 25"
    peers = (
        ("a", ours, own, theirs, f"{_TRANSIT}.0/24, {OFFICE}", endpoint),
        (ROUTER, server, theirs, own, f"{_TRANSIT}.2/32", ""),
    )
    for node, device, mine, other, allowed, more in peers:
        port = f"ListenPort = {TUNNEL_PORT}" if node == ROUTER else ""
        lines = ["[Interface]", f"PrivateKey = {mine.private}", port]
        lines += ["[Peer]", f"PublicKey = {other.public}", f"AllowedIPs = {allowed}", more, ""]
        words = (program("wg"), "setconf", device, "/dev/stdin")
        run(network.command(node, *words), text="\n".join(lines))


def vrf() -> Part:
    """a's tunnel is in a VRF; main routes lead into it, and sockets of main accept what comes out of it.

    Raises LabError where the kernel has none.
    """

    def underlay(network: "Network") -> None:
        try:
            ip(network, "a", f"link add {VRF} type vrf table {_VRF_TABLE}", f"link set {VRF} up")
        except LabError:
            raise LabError("this kernel has no VRF (module vrf), which the set-up needs") from None
        with inside(network.names.namespace("a")):
            for kind in ("tcp", "udp", "raw"):
                set_sysctl(f"net/ipv4/{kind}_l3mdev_accept", 1)
            # A device that becomes part of a VRF goes down for a moment.
            set_sysctl("net/ipv6/conf/all/keep_addr_on_down", 1)

    def tunnels(network: "Network") -> None:
        lines = [f"route add {network.plan.prefixes[family]} dev {VRF}" for family in network.plan.families]
        ip(network, "a", f"link set {network.names.tunnel('a')} master {VRF}", *lines)

    return Part("a's tunnel is in a VRF", underlay=underlay, tunnels=tunnels)
