"""The plan of a lab before anything is broken, and the files made from it.

Some faults are mistakes in this plan (a wrong scope id, a control URL on the LAN); they return a changed plan.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from preflight.lab.front import Front, GatewayName
from preflight.lab.names import GATEWAY, HOST, SERVER
from preflight.lab.topology import (
    CONTROL_PORT,
    HOME_GATEWAY,
    MESH_PREFIX,
    OFFLINE,
    OVERLAY_PREFIXES,
    TOPOLOGIES,
    TUNNEL_PORT,
    Family,
    Topology,
    gateway_address,
    overlay_address,
    server_address,
    underlay_address,
)
from preflight.model.host_port import bracketed
from preflight.model.peer import RESPONDER_PORT

SCOPE = "preflight-lab"
AGENTS = {"a": "1", "b": "2"}

Product = Literal["wireguard", "vxlan", "nebula", "openvpn"]
Kind = Literal["wireguard", "vxlan", "nebula", "openvpn", "loopback"]
"""The kind of a lab: a product's real tunnels between namespaces, or processes on loopback."""
UNNAMED: frozenset[Product] = frozenset(("vxlan", "openvpn"))
"""Products that report no state: a's settings name the interface."""
Routes = Literal["subnet", "host", "default", "halves", "per-peer"]
"""How a's routes lead into the overlay. wg-quick makes all except `subnet` from its file, for WireGuard."""
Server = Literal["bundled", "absent", "everything", "redirect", "resets"]
Bootstrap = Literal["fresh", "spent", "invalid", "disabled", "expired", "none"]
Bearer = Literal["mesh", "submitter", "unknown"]
Guards = Literal["separate", "shared", "none"]
User = Literal["root", "ordinary"]
Load = Literal["none", "asked", "taken"]
Certificate = Literal[
    "good",
    "expiring",
    "expired",
    "not-yet",
    "in-minutes",
    "untrusted",
    "other-name",
    "no-intermediate",
    "self-signed",
    "no-names",
    "address-as-name",
]
INTERMEDIATE = "Preflight lab intermediate CA"
SERVER_NAME = "Preflight lab control plane"
"""The common name in the control plane's own certificate."""
OTHER_NAME = "other.example"
"""The name in a certificate that is not for the control plane."""
ForwarderName = Literal["", "dnsmasq", "unbound"]
BACKEND_PORT = 19847
"""Where the control plane listens, on loopback, behind a `Front`."""


@dataclass(frozen=True, slots=True)
class ResolverPlan:
    """A name server on the router.

    answers: name to its addresses, with placeholders as in `Blueprint.etc`; `*.example` means every name below it.
    silent: it drops every query. absent: nobody has its address, or nobody listens there.
    truncated: it answers over UDP that the answer is too long, and TCP does not come through.
    stripping: a forwarder in front of it, dnsmasq by default, takes private addresses out of answers.
    rcode: what it answers to every question instead, such as SERVFAIL. drops: the type of record about which it
    answers no question, such as AAAA.
    """

    address: str
    answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    silent: bool = False
    absent: bool = False
    truncated: bool = False
    stripping: bool = False
    rcode: str = ""
    drops: str = ""


@dataclass(frozen=True, slots=True)
class Registered:
    """A node that is already in the cluster. age_s: seconds since it was last seen; fields: more of its record."""

    id: str
    age_s: int = 0
    version: str = "1.0"
    quarantined: bool = False
    drained_for_s: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Blueprint:
    """The plan of one lab.

    families: of the addresses inside the tunnel, which are from `prefixes`; underlay: of the tunnel's outer packets.
    configured: whether a and b have anything to do with a control plane.
    control_url: with placeholders `{control}`, `{underlay}` and `{port}`; None: a's settings have none.
    responder: whether one runs at b; responder_key: whether it shares a key with a; observing: whether it reports
    what it sees of a's packets. load: whether a asks for load, and b's responder takes it.
    server_options: more arguments for `control-plane serve`.
    server_listens_on_all: on every address, not only the overlay's. server_dies: at a's first heartbeat, then restarts.
    guards: whether the control plane has a secret for each role, the same one for several, or none.
    registered: nodes already in the cluster's list.
    committed: a's folder is a git repository with a token in its compose file. plugin: a has a package of checks that
    fails to import.
    node_environment: a's variables; each value is the name of a file in a's folder that contains it.
    url_variables: a's variables with a URL, which has placeholders as `control_url`.
    etc: a's own files in /etc, such as `hosts`, with placeholders as `control_url`, but without brackets.
    search, ndots: lines of a's resolv.conf, which names the `resolvers`.
    link_mtu: what the links of the underlay carry. gateways: the namespaces between a and the router, from a outwards.
    user: who runs preflight on a.
    mesh_peers: how many more peers a has; each has its own overlay address, at which b answers.
    routes: how a's routes lead into the overlay. offline: how many peers of the tunnels are offline.
    server_behind: the member that forwards to the control host, which is in a LAN behind it; empty: it is a member.
    lans: the prefix of the LAN behind a member, for which it forwards; the others reach it through the tunnel.
    node: additional keys of a's settings file; control: of the control plane's.
    front: what is between everyone and the control plane; gate: which program it is, if it is a gateway.
    forwarder: which program is in front of each resolver and asks it; empty: none.
    """

    topology: Topology
    product: Product = "wireguard"
    families: tuple[Family, ...] = (4, 6)
    prefixes: Mapping[Family, str] = field(default_factory=lambda: OVERLAY_PREFIXES)
    underlay: Family = 4
    tunnel_mtu: int = 1420
    keepalive_s: int = 25
    responder: bool = True
    responder_key: bool = True
    observing: bool = False
    load: Load = "none"
    server: Server = "bundled"
    server_options: tuple[str, ...] = ()
    server_listens_on_all: bool = False
    server_dies: bool = False
    guards: Guards = "separate"
    certificate: Certificate | None = None
    configured: bool = True
    control_url: str | None = "http://{control}:{port}"
    scope_id: str = SCOPE
    bootstrap: Bootstrap = "fresh"
    bearer: Bearer = "mesh"
    resolvers: tuple[ResolverPlan, ...] = ()
    registered: tuple[Registered, ...] = ()
    committed: bool = False
    plugin: bool = False
    node_environment: Mapping[str, str] = field(default_factory=dict)
    url_variables: Mapping[str, str] = field(default_factory=dict)
    etc: Mapping[str, str] = field(default_factory=dict)
    search: tuple[str, ...] = ()
    ndots: int = 1
    link_mtu: int = 1500
    gateways: tuple[str, ...] = ()
    user: User = "root"
    mesh_peers: int = 0
    routes: Routes = "subnet"
    offline: int = 0
    server_behind: str = ""
    lans: Mapping[str, str] = field(default_factory=dict)
    node: Mapping[str, Any] = field(default_factory=dict)
    control: Mapping[str, Any] = field(default_factory=dict)
    front: Front | None = None
    gate: GatewayName = "nginx"
    forwarder: ForwarderName = ""

    @property
    def secure(self) -> bool:
        """Whether the control plane's port speaks TLS."""
        return self.certificate is not None and not (self.front is not None and self.front.plain)

    @property
    def control_host(self) -> str:
        """The namespace in which the control plane runs."""
        return SERVER if self.server_behind else self.topology.control_node

    @property
    def path(self) -> str:
        """The path of the control URL, before the API's own."""
        return self.front.prefix if self.front is not None else ""

    def address(self, node: str, family: Family) -> str:
        """A member's address inside the tunnel."""
        return overlay_address(node, family, self.prefixes)

    @property
    def vpn_server(self) -> str:
        """The member that is the server, for products with one: the hub, else the one with the control plane."""
        return self.topology.hub or self.topology.control_node

    @property
    def exit(self) -> str:
        """The member that sends on what a has for the rest of the world, if a's default route leads into the tunnel."""
        return self.vpn_server if self.product == "openvpn" else self.topology.members[-1]

    @property
    def offline_peers(self) -> tuple[str, ...]:
        """The nodes that are offline."""
        return OFFLINE[: self.offline]

    def neighbours(self, node: str) -> tuple[str, ...]:
        """The peers in a node's tunnel, with those that are offline: a hub knows them, and its spokes do not."""
        online = self.topology.neighbours(node)
        return online if self.topology.hub in online else (*online, *self.offline_peers)

    def tunnels(self, node: str) -> tuple[tuple[str, ...], ...]:
        """The peers of each tunnel that a node has: one tunnel for all of them, or one for each."""
        peers = self.neighbours(node)
        return tuple((peer,) for peer in peers) if self.one_for_each(node) else (peers,)

    def one_for_each(self, node: str) -> bool:
        """Whether a node has a tunnel for each peer."""
        return self.routes == "per-peer" and node == "a"

    def listen_port(self, node: str, peer: str) -> int:
        """The port at which a node's tunnel to a peer listens."""
        return TUNNEL_PORT + (self.neighbours(node).index(peer) if self.one_for_each(node) else 0)

    def quick(self, node: str) -> bool:
        """Whether wg-quick makes a node's tunnel from its file."""
        return self.product == "wireguard" and self.routes != "subnet" and node == "a"

    def outer(self, node: str) -> str:
        """The namespace that a member's outer packets leave from: that of the host, if the member is a container."""
        return HOST if node == "a" and HOST in self.gateways else node

    def attached(self, node: str) -> str:
        """The namespace that has a member's address on the router's link: the last gateway before the router."""
        return self.gateways[-1] if node == "a" and self.gateways else node

    def translated(self, node: str) -> bool:
        """Whether nobody can reach a member before it has spoken: a gateway translates its address."""
        return node == "a" and GATEWAY in self.gateways

    def gateway(self, node: str, family: Family) -> str:
        """The default gateway of a member, or of its host."""
        return HOME_GATEWAY[family] if self.translated(node) else gateway_address(node, family)


def plain(topology: str) -> Blueprint:
    """The plan of a topology without faults."""
    return Blueprint(TOPOLOGIES[topology])


@dataclass(frozen=True, slots=True)
class Places:
    """Addresses of b's responder and of the control plane, on and off the overlay."""

    peers: tuple[str, ...]
    peer_port: int
    control: str
    control_port: int
    underlay: str

    @classmethod
    def in_tunnel(cls, plan: Blueprint) -> "Places":
        """The usual ports on the overlay's addresses."""
        family, node = plan.families[0], plan.topology.control_node
        behind = plan.lans.get(plan.server_behind)
        return cls(
            peers=tuple(plan.address("b", each) for each in plan.families),
            peer_port=RESPONDER_PORT,
            control=server_address(behind) if behind else plan.address(node, family),
            control_port=CONTROL_PORT,
            underlay=underlay_address(node, 4),
        )

    def url(self, template: str) -> str:
        """A control URL of the plan, with this lab's addresses."""
        return template.format(control=bracketed(self.control), underlay=self.underlay, port=self.control_port)

    def text(self, template: str) -> str:
        """A file of the plan, or an address of a name, with this lab's addresses."""
        return template.format(control=self.control, underlay=self.underlay, port=self.control_port)


def allowed_ips(plan: Blueprint, node: str, neighbour: str) -> list[str]:
    """What `node` sends to `neighbour`: its own addresses and its LAN, or more if it is a hub or the exit."""
    if plan.quick(node) and plan.routes in EVERYTHING and neighbour == plan.exit:
        return [part for family in plan.families for part in EVERYTHING[plan.routes][family]]
    if neighbour == plan.topology.hub:
        lans = [lan for member, lan in plan.lans.items() if member != node]
        return [*(plan.prefixes[family] for family in plan.families), *lans]
    own = [f"{plan.address(neighbour, family)}/{32 if family == 4 else 128}" for family in plan.families]
    own += [plan.lans[neighbour]] if neighbour in plan.lans else []
    return [*own, MESH_PREFIX] if plan.mesh_peers and neighbour == "b" else own


EVERYTHING: Mapping[Routes, Mapping[Family, tuple[str, ...]]] = {
    "default": {4: ("0.0.0.0/0",), 6: ("::/0",)},
    "halves": {4: ("0.0.0.0/1", "128.0.0.0/1"), 6: ("::/1", "8000::/1")},
}
"""All addresses, as one default route or as two halves, which win over one that is there."""
