"""What a lab is made of before anything is broken: a value, and the files that follow from it.

Some faults are mistakes in this plan (a wrong scope id, a control URL on the LAN); they return a changed plan.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from preflight.lab.topology import (
    CONTROL_PORT,
    CROWD_PREFIX,
    OVERLAY_PREFIXES,
    TOPOLOGIES,
    Family,
    Topology,
    crowd_address,
    overlay_address,
    underlay_address,
)
from preflight.model.host_port import bracketed, join_host_port
from preflight.model.peer import RESPONDER_PORT

SCOPE = "preflight-lab"
AGENTS = {"a": "1", "b": "2"}

Product = Literal["wireguard", "vxlan", "nebula", "openvpn"]
Kind = Literal["wireguard", "vxlan", "nebula", "openvpn", "loopback"]
"""What a lab is made of: a product's real tunnels between namespaces, or processes on loopback."""
UNNAMED: frozenset[Product] = frozenset(("vxlan", "openvpn"))
"""Products that tell nothing of themselves: a's settings name the interface."""
Server = Literal["bundled", "absent", "everything", "redirect"]
Bootstrap = Literal["fresh", "spent", "invalid", "disabled", "expired", "none"]
Bearer = Literal["mesh", "submitter", "unknown"]
Guards = Literal["separate", "shared", "none"]
Certificate = Literal["good", "expiring", "expired", "untrusted", "other-name"]


@dataclass(frozen=True, slots=True)
class ResolverPlan:
    """A name server on the router. `answers`: name to its addresses; `silent`: it drops every question."""

    address: str
    answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Registered:
    """A node that the cluster has already. age_s: seconds since it was heard; fields: more of its record."""

    id: str
    age_s: int = 0
    version: str = "1.0"
    quarantined: bool = False
    drained_for_s: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Blueprint:
    """The plan of one lab.

    families: of the addresses inside the tunnel; underlay: what the tunnel's own packets are.
    control_url: with `{control}`, `{underlay}` and `{port}` to be filled in; None leaves a's settings without one.
    responder: whether one runs at b. server_options: more words for `control-plane serve`.
    server_listens_on_all: on every address, not the overlay's. server_dies: at a's first heartbeat, and comes back.
    guards: whether the control plane has a secret for each role, the same one for several, or none.
    registered: what the cluster's list holds beforehand.
    committed: a's folder is a git repository with a token in its compose file. plugin: a has a package of checks that
    breaks while it is imported.
    node_environment: variables of a, by the name of the file in a's folder that holds the value.
    crowd: how many peers a has besides b, each with an overlay address of its own at which b answers.
    node: what a's settings file says besides the usual, key by key.
    """

    topology: Topology
    product: Product = "wireguard"
    families: tuple[Family, ...] = (4, 6)
    underlay: Family = 4
    tunnel_mtu: int = 1420
    keepalive_s: int = 25
    responder: bool = True
    server: Server = "bundled"
    server_options: tuple[str, ...] = ()
    server_listens_on_all: bool = False
    server_dies: bool = False
    guards: Guards = "separate"
    certificate: Certificate | None = None
    control_url: str | None = "http://{control}:{port}"
    scope_id: str = SCOPE
    bootstrap: Bootstrap = "fresh"
    bearer: Bearer = "mesh"
    resolvers: tuple[ResolverPlan, ...] = ()
    registered: tuple[Registered, ...] = ()
    committed: bool = False
    plugin: bool = False
    node_environment: Mapping[str, str] = field(default_factory=dict)
    crowd: int = 0
    node: Mapping[str, Any] = field(default_factory=dict)


def plain(topology: str) -> Blueprint:
    """The plan of a topology in which all is well."""
    return Blueprint(TOPOLOGIES[topology])


@dataclass(frozen=True, slots=True)
class Places:
    """Where b's responder and the control plane are found, and under what address the latter is off the overlay."""

    peers: tuple[str, ...]
    peer_port: int
    control: str
    control_port: int
    underlay: str

    @classmethod
    def in_tunnel(cls, plan: Blueprint) -> "Places":
        """The usual ports on the overlay's addresses."""
        family = plan.families[0]
        return cls(
            peers=tuple(overlay_address("b", each) for each in plan.families),
            peer_port=RESPONDER_PORT,
            control=overlay_address(plan.topology.control_node, family),
            control_port=CONTROL_PORT,
            underlay=underlay_address(plan.topology.control_node, 4),
        )

    def url(self, template: str) -> str:
        """A control URL of the plan, with this lab's addresses."""
        return template.format(control=bracketed(self.control), underlay=self.underlay, port=self.control_port)


@dataclass(frozen=True, slots=True)
class LabSecrets:
    """What only the lab's own files know."""

    mesh: str = field(repr=False)
    submitter: str = field(repr=False)
    responder_key: str = field(repr=False)

    @classmethod
    def fresh(cls) -> "LabSecrets":
        """Never used before."""
        return cls(*(secrets.token_urlsafe(24) for _ in range(3)))

    def bearer(self, kind: Bearer) -> str:
        """What a's token file holds."""
        return {"mesh": self.mesh, "submitter": self.submitter, "unknown": "a-token-of-another-cluster"}[kind]


def node_settings(plan: Blueprint, places: Places, kind: Kind, tunnel: str) -> dict[str, Any]:
    """a's preflight.yaml; file names are relative to it. tunnel: the name of its interface."""
    control: dict[str, Any] = {"scope_id": plan.scope_id, "token_file": "token"}
    if plan.control_url is not None:
        control["url"] = places.url(plan.control_url)
    if plan.certificate is not None:
        control["ca_file"] = "ca.pem"
    peer = {"address": places.peers[0], "name": "b", "responder": places.peer_port, "agent_id": AGENTS["b"]}
    crowd = [{"address": crowd_address(number), "name": f"p{number}"} for number in range(1, plan.crowd + 1)]
    settings: dict[str, Any] = {
        "peers": [peer, *crowd],
        "control": control,
        "responder": {"key_file": "responder.key", "agent_id": AGENTS["a"]},
        "posture": {"repositories": ["."]},  # and not whatever the caller's working folder is
    }
    if kind == "loopback":
        settings["overlay"] = {"interface": "lo", "prefixes": ["127.0.0.0/8"]}
    elif plan.product in UNNAMED:
        settings["overlay"] = {"interface": tunnel}
    elif plan.crowd:
        settings["overlay"] = {"prefixes": [*OVERLAY_PREFIXES.values(), CROWD_PREFIX]}
    return settings | dict(plan.node)


def responder_settings(plan: Blueprint, places: Places, kind: Kind) -> dict[str, Any]:
    """b's preflight.yaml: its mailbox, and a as the one who may ask."""
    asker = "127.0.0.1" if kind == "loopback" else overlay_address("a", plan.families[0])
    control = {"url": places.url("http://{control}:{port}"), "scope_id": SCOPE, "token_file": "token"}
    if plan.certificate is not None:
        control |= {"url": places.url("https://{control}:{port}"), "ca_file": "ca.pem"}
    return {
        "peers": [{"address": asker, "name": "a", "agent_id": AGENTS["a"]}],
        "control": control,
        "responder": {"key_file": "responder.key", "agent_id": AGENTS["b"]},
    }


def control_plane_settings(plan: Blueprint, now: float | None = None) -> dict[str, Any]:
    """The control plane's preflight.yaml; `now` in UNIX seconds."""
    section: dict[str, Any] = {"scope_id": SCOPE}
    if plan.guards != "none":
        section |= {"token_file": "mesh-token", "submitter_token_file": "submitter-token"}
    if plan.guards == "shared":
        section |= {"worker_token_file": "mesh-token", "admin_token_file": "mesh-token"}
    if plan.bootstrap not in ("disabled", "none"):
        section["bootstrap_token_file"] = "bootstrap-token"  # noqa: S105 - a file's name
    if plan.bootstrap == "expired":
        section["bootstrap_expires_unix_ms"] = int(((now or time.time()) - 3600) * 1000)
    return {"control_plane": section}


def responder_binds(plan: Blueprint, places: Places) -> list[str]:
    """Words for `preflight responder`."""
    addresses = ("0.0.0.0", "::") if plan.crowd else places.peers  # noqa: S104 - it has too many to name them
    return [word for peer in addresses for word in ("--bind", join_host_port(peer, places.peer_port))]


def allowed_ips(plan: Blueprint, node: str, neighbour: str) -> list[str]:
    """What `node` sends to `neighbour`: a hub gets the whole overlay, everybody else only what is theirs."""
    if neighbour == plan.topology.hub:
        return [OVERLAY_PREFIXES[family] for family in plan.families]
    own = [f"{overlay_address(neighbour, family)}/{32 if family == 4 else 128}" for family in plan.families]
    return [*own, CROWD_PREFIX] if plan.crowd and neighbour == "b" else own
