"""The settings files of a lab, made from its plan: a's, its responder's and the control plane's, and their secrets."""

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from preflight.lab.blueprint import AGENTS, SCOPE, UNNAMED, Bearer, Blueprint, Kind, Places
from preflight.lab.topology import MESH_PREFIX, mesh_address
from preflight.model.host_port import join_host_port


@dataclass(frozen=True, slots=True)
class LabSecrets:
    """Secrets that only the lab's files contain."""

    mesh: str = field(repr=False)
    submitter: str = field(repr=False)
    responder_key: str = field(repr=False)
    worker: str = field(repr=False)
    jwt: str = field(repr=False)

    @classmethod
    def fresh(cls) -> "LabSecrets":
        """Fresh secrets."""
        return cls(*(secrets.token_urlsafe(24) for _ in range(5)))

    def bearer(self, kind: Bearer) -> str:
        """The content of a's token file."""
        return {"mesh": self.mesh, "submitter": self.submitter, "unknown": "a-token-of-another-cluster"}[kind]


LOAD_S = 5.0
"""Of one flow: six of them run."""


def node_settings(plan: Blueprint, places: Places, kind: Kind, tunnel: str) -> dict[str, Any]:
    """a's preflight.yaml; file names are relative to it. tunnel: the name of its interface."""
    peer = {"address": places.peers[0], "name": "b", "responder": places.peer_port, **_mailbox(plan, "b")}
    mesh = [{"address": mesh_address(number), "name": f"p{number}"} for number in range(1, plan.mesh_peers + 1)]
    settings: dict[str, Any] = {
        "peers": [peer, *mesh],
        **({"control": _control(plan, places)} if plan.configured else {}),
        "responder": {**_key(plan), **_mailbox(plan, "a")},
        "posture": {"repositories": ["."]},  # and not the caller's working folder
    }
    if kind == "loopback":
        settings["overlay"] = {"interface": "lo", "prefixes": ["127.0.0.0/8"]}
    elif plan.product in UNNAMED:
        settings["overlay"] = {"interface": tunnel}
    elif plan.mesh_peers:
        settings["overlay"] = {"prefixes": [*plan.prefixes.values(), MESH_PREFIX]}
    if plan.load != "none":
        settings["load"] = {"seconds": LOAD_S}
    return settings | dict(plan.node)


def _control(plan: Blueprint, places: Places) -> dict[str, Any]:
    """How a finds the control plane."""
    control: dict[str, Any] = {"scope_id": plan.scope_id, "token_file": "token"}
    if plan.control_url is not None:
        control["url"] = places.url(plan.control_url)
    if plan.certificate is not None:
        control["ca_file"] = "ca.pem"
    return control


def _key(plan: Blueprint) -> dict[str, Any]:
    return {"key_file": "responder.key"} if plan.responder_key else {}


def _mailbox(plan: Blueprint, node: str) -> dict[str, Any]:
    """A node's mailbox, if there is a control plane to hold it."""
    return {"agent_id": AGENTS[node]} if plan.configured else {}


def responder_settings(plan: Blueprint, places: Places, kind: Kind, tunnel: str) -> dict[str, Any]:
    """b's preflight.yaml: its mailbox, and a as the permitted requester. tunnel: the name of its interface."""
    asker = "127.0.0.1" if kind == "loopback" else plan.address("a", plan.families[0])
    scheme = "https" if plan.secure else "http"
    url = places.url(f"{scheme}://{{control}}:{{port}}{plan.path}")
    control = {"url": url, "scope_id": SCOPE, "token_file": "token"}
    if plan.secure:
        control["ca_file"] = "ca.pem"
    return {
        "peers": [{"address": asker, "name": "a", **_mailbox(plan, "a")}],
        **({"control": control} if plan.configured else {}),
        # No product claims it: without its name nothing says that a bearer may go that way in clear.
        **({"overlay": {"interface": tunnel}} if kind != "loopback" and plan.product in UNNAMED else {}),
        "responder": {**_key(plan), **_mailbox(plan, "b"), **_more(plan)},
    }


def _more(plan: Blueprint) -> dict[str, Any]:
    """What b's responder does in addition."""
    return {**({"observe": True} if plan.observing else {}), **({"load": True} if plan.load == "taken" else {})}


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
    return {"control_plane": section | dict(plan.control)}


def responder_binds(plan: Blueprint, places: Places) -> list[str]:
    """Arguments of `preflight responder`."""
    addresses = ("0.0.0.0", "::") if plan.mesh_peers else places.peers  # noqa: S104 - it has too many to name them
    return [word for peer in addresses for word in ("--bind", join_host_port(peer, places.peer_port))]
