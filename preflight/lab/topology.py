"""The nodes, their connections and their addresses: data only."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Literal

Family = Literal[4, 6]

TUNNEL_PORT = 51820
CONTROL_PORT = 9847
OVERLAY_PREFIXES: Mapping[Family, str] = {4: "10.66.0.0/24", 6: "fd66::/64"}

CONTROL_NAME = "control.overlay.test"
"""The control host's name, in set-ups that have one for it."""
CONTROL_SHORT, CONTROL_DOMAIN = CONTROL_NAME.split(".", 1)
"""The same name as people write it where a search list completes it, and what completes it."""
MESH_PREFIX = "10.66.16.0/20"
"""Overlay addresses of a mesh: many peers that are all b, which answers for each."""

OFFLINE = tuple(f"o{number}" for number in range(1, 41))
"""Further nodes that tunnels may name: nobody has their addresses."""
OFFLINE_NETWORKS = ("10.201.96.0/19", "10.201.128.0/19", "fdc9::/48")
"""Where they are, and nothing else that the router has no nearer route to."""

HOME_GATEWAY: Mapping[Family, str] = {4: "192.168.178.1", 6: "fdc9:0:0:301::1"}
HOME_ADDRESS: Mapping[Family, str] = {4: "192.168.178.10", 6: "fdc9:0:0:301::10"}
"""The network behind a's home router, in some set-ups: the router's address there, and a's."""

SERVER_LANS: Mapping[Family, str] = {4: "192.168.77.0/24", 6: "fdc9:0:0:88::/64"}
"""The LAN of the control host, in set-ups where it is not a member and a member forwards to it."""

_NUMBER = {"a": 1, "b": 2, "c": 3, **{node: 100 + number for number, node in enumerate(OFFLINE, 1)}}


@dataclass(frozen=True, slots=True)
class Topology:
    """Members of the overlay; `hub` is the member through which all others talk, inside the tunnel."""

    name: str
    summary: str
    members: tuple[str, ...]
    control_node: str
    hub: str | None = None

    def neighbours(self, node: str) -> tuple[str, ...]:
        """The WireGuard peers of a node."""
        if self.hub is not None and node != self.hub:
            return (self.hub,)
        return tuple(member for member in self.members if member != node)


TOPOLOGIES = {
    topology.name: topology
    for topology in (
        Topology("pair", "a and b with a full mesh; the control plane is on c", ("a", "b", "c"), "c"),
        Topology("hub", "a and b reach each other only through c, inside the tunnel", ("a", "b", "c"), "c", hub="c"),
        Topology("solo", "two nodes; b hosts the control plane too", ("a", "b"), "b"),
        Topology("loopback", "processes on 127.0.0.0/8, without root and without a tunnel", ("a", "b", "c"), "c"),
    )
}


def overlay_address(node: str, family: Family, prefixes: Mapping[Family, str] = OVERLAY_PREFIXES) -> str:
    """A member's address inside the tunnel."""
    return str(ip_network(prefixes[family])[_NUMBER[node]])


def mesh_address(number: int) -> str:
    """The overlay address of a peer of the mesh, counted from 1, up to 254 × 16."""
    return f"10.66.{16 + (number - 1) // 254}.{1 + (number - 1) % 254}"


def underlay_address(node: str, family: Family) -> str:
    """Where others find a member: its address on its link to the router, or that of the gateway before it."""
    return f"10.201.{_NUMBER[node]}.2" if family == 4 else f"fdc9:0:0:{_NUMBER[node]}::2"


def server_address(lan: str) -> str:
    """The control host's address in its LAN; the first one there is its gateway's."""
    return str(ip_network(lan)[2])


def gateway_address(node: str, family: Family) -> str:
    """The router's address on the link to a member."""
    return f"10.201.{_NUMBER[node]}.1" if family == 4 else f"fdc9:0:0:{_NUMBER[node]}::1"


def prefix_length(family: Family) -> int:
    """The prefix length of every network in a lab, overlay and underlay."""
    return 24 if family == 4 else 64
