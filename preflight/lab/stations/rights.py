"""Faults of who may do what, and of places that disagree about it: nothing stops, and nothing is safe."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.lab.axes.setup import Setup
from preflight.lab.blueprint import Blueprint, Registered
from preflight.lab.front import Act, Front, Route
from preflight.lab.part import Part
from preflight.lab.site import CONTROL, write_private
from preflight.lab.stations import asks
from preflight.lab.stations.asks import LIST, ask, must
from preflight.lab.stations.fault import Fault
from preflight.lab.stations.posture import rows, shows
from preflight.lab.stations.proofs import each_of
from preflight.lab.truth import Deciding, Place, Truth
from preflight.model.host_port import bracketed

if TYPE_CHECKING:
    from preflight.lab.network import Network

_POSTURE, _NODES, _SOURCE = Place("posture", "posture"), Place("posture", "nodes"), Place("request", "source")
_INBOX = "/v1/populi/a2a/inbox"
_OPEN_INBOX = Route(_INBOX, Act(bearer=True), exact=True)
_WORKER = "VOX_MESH_WORKER_TOKEN"
_COMMON = "default"
"""A scope id as unrelated people choose it."""
_EARLIER = "earlier-cluster"
_WORKERS_FILE = ".vox/populi/mesh.env"
_ROOT_FILE = "workspace"


def _opens(*paths: str) -> "Callable[[Network], None]":
    """Without a bearer and with a wrong one these are answered, and the control plane itself asks for one."""

    def prove(network: "Network") -> None:
        for path in paths:
            body: dict[str, str] | None = None if path == LIST else {}
            for token in ("", "not-the-token"):
                got = ask(network, path, body, token=token)
                must(got.populi and got.status not in (401, 403), f"{path}: {got.status or got.text}")

    return prove


def _asks_for_one(network: "Network") -> None:
    must(ask(network, LIST).status == 401, "the list is for everyone")


# A token with too many rights


def _strong(setup: Setup) -> tuple[Part, ...]:
    """The secret that the lab calls a worker's is the administrator's, and a has it as a worker's."""

    def inject(network: "Network") -> None:
        token = asks.content(network.names.files(CONTROL) / "worker-token").decode().strip()
        write_private(network.names.files("a") / "worker-token", token)

    roles = asks.control_settings("the server has an administrator's token", admin_token_file="worker-token")  # noqa: S106 - a file's name
    has = asks.variables("a has it as a worker's", **{_WORKER: "worker-token"})
    return (roles, has, Part("a's file has it", inject=inject))


def _administers(network: "Network") -> None:
    must(_WORKER in network.plan.node_environment, "a has no worker's token")
    token = asks.content(network.names.files("a") / "worker-token").decode().strip()
    must(ask(network, "/v1/populi/exec/leases", token=token).status == 200, "the worker's token does not administer")


# A scope id that others have, and nodes of another scope


def _common(setup: Setup) -> tuple[Part, ...]:
    named = asks.shaped("a's scope id is a common word", lambda plan: replace(plan, scope_id=_COMMON), loopback=True)
    return (named, asks.control_settings("the cluster has it", scope_id=_COMMON))


def _is_common(network: "Network") -> None:
    own = asks.settings(network)["control"]["scope_id"]
    servers = asks.settings(network, CONTROL)["control_plane"]["scope_id"]
    must(own == servers == _COMMON, f"a has the scope id {own}, the control plane {servers}")


def _no_others(setup: Setup) -> str | None:
    return "the nodes of the cluster have its usual scope id" if setup.cluster != "empty" else asks.needs_control(setup)


def _mixed(setup: Setup) -> tuple[Part, ...]:
    usual = [Registered(f"n{number}") for number in (1, 2)]
    return rows("n3 has another scope id", *usual, Registered("n3", fields={"scope_id": _EARLIER}))(setup)


def _taken(setup: Setup) -> tuple[Part, ...]:
    """The id is in a's settings too. Whose address the row has, a's kernel can say where a tunnel has b as a peer."""

    def shape(plan: Blueprint) -> Blueprint:
        place = f"{bracketed(plan.address('b', plan.families[0]))}:9900"
        node = {**plan.node.get("node", {}), "id": "a"}
        row = Registered("a", fields={"listen_addr": place})
        return replace(plan, registered=(*plan.registered, row), node={**plan.node, "node": node})

    return (asks.shaped("b has a's id", shape, loopback=True),)


# Files that anyone reads


def _readable(setup: Setup) -> tuple[Part, ...]:
    def inject(network: "Network") -> None:
        (network.names.files("a") / "token").chmod(0o644)

    return (Part("everyone may read the file of a's token", inject=inject),)


def _is_readable(network: "Network") -> None:
    mode = (network.names.files("a") / "token").stat().st_mode & 0o777
    must(mode == 0o644, f"a's token has the mode {mode:o}")


# Places that disagree


def _workers_file(summary: str, values: Mapping[str, str]) -> tuple[Part, ...]:
    """a's workers have a file."""

    def root(network: "Network") -> bytes:
        return str(network.names.files("a") / _ROOT_FILE).encode()

    def inject(network: "Network") -> None:
        folder = network.names.files("a")
        path = folder / _ROOT_FILE / _WORKERS_FILE
        path.parent.mkdir(parents=True)
        path.write_text("".join(f"{name}={value}\n" for name, value in values.items()), encoding="ascii")
        path.chmod(0o600)
        for each in (path, *list(path.parents)[: len(path.relative_to(folder).parts) - 1]):
            shutil.chown(each, folder.stat().st_uid, folder.stat().st_gid)  # of who runs preflight on a

    named = asks.variables("a's workers have a workspace", VOX_WORKSPACE_ROOT="workspace-name")
    return (named, asks.written("its place", "workspace-name", root), Part(summary, inject=inject))


def _disagrees(name: str, what: str, values: Mapping[str, str]) -> Fault:
    summary = f"the file of a's workers has the {what} of an earlier cluster"

    def prove(network: "Network") -> None:
        text = asks.content(network.names.files("a") / _ROOT_FILE / _WORKERS_FILE).decode()
        must(all(f"{key}={value}\n" in text for key, value in values.items()), "a's workers have no such file")

    return Fault(
        name=f"source-{name}-disagrees",
        summary=summary,
        place=_SOURCE,
        made=lambda setup: _workers_file(summary, values),
        expected=lambda setup: Truth(
            "enroll.settings-disagree", "control", deciding=Deciding("problem", what), warns=True
        ),
        proof=prove,
        excluded=asks.needs_control,
    )


# A gateway that lets everyone in


def _lets_in(summary: str, front: Front) -> "Callable[[Setup], tuple[Part, ...]]":
    return lambda setup: (asks.in_front(summary, front),)


def _open_is(setup: Setup) -> Truth:
    """Who adds the bearer no answer says; nginx writes its name into what it hands on."""
    deciding = Deciding("server", "nginx") if setup.gateway == "nginx" else None
    return Truth("posture.open", "control", deciding=deciding, where="control host")


def _still_has_one(network: "Network") -> None:
    """The control plane itself has a secret, whatever the gateway does."""
    must((network.names.files(CONTROL) / "mesh-token").exists(), "the control plane has no secret")


FAULTS = (
    Fault(
        name="posture-gateway-bearer",
        summary="the gateway puts the mesh token into every request, also those of strangers",
        place=_POSTURE,
        made=_lets_in("a gateway with the token", Front(root=Act(bearer=True))),
        expected=_open_is,
        proof=each_of(_opens(LIST, _INBOX), _still_has_one),
        excluded=asks.needs_direct,
        alone=True,
    ),
    Fault(
        name="posture-route-open",
        summary="the gateway puts the mesh token into requests for one route, also those of strangers",
        place=_POSTURE,
        made=_lets_in(
            "a gateway with the token for one route", Front(routes=(Route(_INBOX, Act(bearer=True), exact=True),))
        ),
        expected=lambda setup: Truth("posture.route-open", "control", where="control host"),
        proof=each_of(_opens(_INBOX), _asks_for_one),
        excluded=asks.needs_direct,
    ),
    Fault(
        name="posture-role-too-strong",
        summary="a has the administrator's token under the name of a worker's",
        place=_POSTURE,
        made=_strong,
        expected=lambda setup: Truth("posture.role-too-strong", "control", where="control host"),
        proof=_administers,
        excluded=asks.needs_control,
    ),
    Fault(
        name="posture-scope-guessable",
        summary="the cluster's scope id is a word that others choose too",
        place=_POSTURE,
        made=_common,
        expected=lambda setup: Truth(
            "posture.scope-guessable",
            "control",
            deciding=Deciding("scope_id", _COMMON),
            where="control host",
            warns=True,
        ),
        proof=_is_common,
        excluded=_no_others,
    ),
    Fault(
        name="posture-secret-readable",
        summary="every user of a may read the file of its token",
        place=_POSTURE,
        made=_readable,
        expected=lambda setup: Truth("posture.secret-file-mode", "node", heals="command", warns=True),
        proof=_is_readable,
        excluded=asks.needs_control,
    ),
    Fault(
        name="nodes-scope-mixed",
        summary="a node of the list has the scope id of another cluster",
        place=_NODES,
        made=_mixed,
        expected=lambda setup: Truth(
            "nodes.scope-mixed", "control", deciding=Deciding("node_id", "n3"), where="peer", warns=True
        ),
        proof=shows("n3", lambda node, others: node["scope_id"] == _EARLIER),
        excluded=asks.needs_control,
    ),
    Fault(
        name="nodes-id-taken",
        summary="another node of the list has a's id, and announces b's address",
        place=_NODES,
        made=_taken,
        expected=lambda setup: Truth("nodes.id-taken", "control", deciding=Deciding("node_id", "a"), warns=True),
        proof=shows("a", lambda node, others: node["listen_addr"].endswith(":9900")),
        excluded=asks.needs_control,
    ),
    _disagrees("scope", "scope id", {"VOX_MESH_SCOPE_ID": _EARLIER}),
    _disagrees("token", "token", {"VOX_MESH_TOKEN": "the-token-of-an-earlier-cluster"}),
)
