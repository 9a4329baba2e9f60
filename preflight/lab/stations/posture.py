"""What is wrong and stops nothing: open control planes, secrets in the wrong place, nodes of the list, and plug-ins."""

import json
import ssl
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from preflight.lab import routes
from preflight.lab.axes.setup import Setup
from preflight.lab.blueprint import Blueprint, Registered
from preflight.lab.front import Front
from preflight.lab.names import LabError
from preflight.lab.part import Part, planned
from preflight.lab.processes import program, run
from preflight.lab.site import PACKAGES
from preflight.lab.stations import asks
from preflight.lab.stations.asks import JOIN, LIST, ask, must
from preflight.lab.stations.fault import Fault, NotThereError
from preflight.lab.stations.tls import no_old_tls
from preflight.lab.truth import Deciding, Place, Truth
from preflight.programs import python_module
from preflight.proto.control.signed import Signer

if TYPE_CHECKING:
    from preflight.lab.network import Network

_POSTURE, _NODES, _RUN = (Place("posture", station) for station in ("posture", "nodes", "run"))
_ROLES = {"VOX_MESH_WORKER_TOKEN": "token", "VOX_MESH_ADMIN_TOKEN": "token"}
_AT_WORK = {"listen_addr": "10.66.0.7:9900"}
_PLUGIN = "lab_plugin"


def _opened(setup: Setup) -> tuple[Part, ...]:
    return (planned("the control plane has no secret", loopback=True, guards="none", bootstrap="none"),)


def _is_open(network: "Network") -> None:
    must(ask(network, LIST).status == 200, "the list is not for everyone")


def _takes_every_key(setup: Setup) -> tuple[Part, ...]:
    def shape(plan: Blueprint) -> Blueprint:
        return replace(plan, server_options=(*plan.server_options, "--like-upstream"))

    return (asks.shaped("the control plane is like the real one, which takes every signature", shape, loopback=True),)


def _takes_signature(network: "Network") -> None:
    must(ask(network, LIST).status == HTTPStatus.UNAUTHORIZED, "the list is for everyone")
    got = ask(network, LIST, more=Signer().headers(LIST, time.time(), "0f"))
    must(got.status == HTTPStatus.OK, f"a signature by a new key: {got.status or got.text}")


def _shared(setup: Setup) -> tuple[Part, ...]:
    return (
        planned("one token for all roles", loopback=True, guards="shared"),
        asks.variables("a has it twice", **_ROLES),
    )


def _is_shared(network: "Network") -> None:
    section = asks.settings(network, "control")["control_plane"]
    files = {section.get(f"{role}token_file") for role in ("", "worker_", "admin_")}
    must(len(files) == 1 and network.plan.node_environment.items() >= _ROLES.items(), "each role has its own token")


def _accepts_strangers(network: "Network") -> None:
    """A join under another scope is accepted; its row is taken away again."""
    token = asks.mesh_token(network)
    got = ask(network, JOIN, asks.record("proof", scope_id="another-cluster"), token=token)
    must(got.status == 200, f"a join under another scope: {got.status}")
    ask(network, "/v1/populi/leave", {"id": "proof"}, token=token)


def _exposed(setup: Setup) -> tuple[Part, ...]:
    host = "b" if setup.home == "peer" else "c"
    everywhere = planned("the control plane listens on all addresses", server_listens_on_all=True)
    return (everywhere, routes.public_endpoint("a", of=host))


def _not_exposed(setup: Setup) -> str | None:
    if setup.product != "wireguard":
        return "a does not know the control host's public address from this product"
    if setup.user == "ordinary":
        return "an ordinary user may not read where the tunnel to the control host ends"
    if setup.namespace == "container" and setup.outer == "ipv6":
        return "a container has no route to the public address, which is one of IPv4"
    if setup.families == "ipv6":
        return "the lab's server listens on all addresses of IPv4 only"
    if setup.home not in ("third", "peer"):
        return "the control host has no tunnel with a public endpoint"
    if setup.home == "peer" and setup.layout == "hub":
        return "a's tunnel ends at the hub, so a does not know where the control host's ends"
    if setup.routes == "halves":
        return "the halves send what is for a new endpoint into the tunnel itself"
    return asks.needs_direct(setup)


def _is_exposed(network: "Network") -> None:
    with asks.open_socket(network, host=routes.PUBLIC_ADDRESS):
        pass


def _is_committed(network: "Network") -> None:
    folder = network.names.files("a")
    must((folder / ".git").exists(), "a's folder is not a repository")
    # The folder may be that of a's ordinary user, and git refuses others' repositories.
    shown = run([program("git"), "-c", f"safe.directory={folder}", "-C", str(folder), "show", "HEAD"])
    must(asks.mesh_token(network) in shown, "the token is not in the last commit")


def _speaks_old_tls(network: "Network") -> None:
    context = asks.trusting()
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old it is, and meant to be
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    try:
        asks.connection(network, context=context).close()
    except ssl.SSLError as error:
        raise NotThereError(f"the server speaks no old TLS: {error}") from None


def rows(summary: str, *rows: Registered) -> Callable[[Setup], tuple[Part, ...]]:
    """The cluster has these nodes too, and the settings say that this node is called `a`."""

    def shape(plan: Blueprint) -> Blueprint:
        node = {**plan.node.get("node", {}), "id": "a"}
        return replace(plan, registered=(*plan.registered, *rows), node={**plan.node, "node": node})

    return lambda setup: (asks.shaped(summary, shape, loopback=True),)


def shows(id: str, proves: Callable[[dict[str, Any], list[dict[str, Any]]], bool]) -> "Callable[[Network], None]":
    """The list has this node, and it is as wanted, compared with the others."""

    def prove(network: "Network") -> None:
        got = ask(network, LIST, token=asks.mesh_token(network))
        must(got.status == 200, f"{LIST}: {got.status or got.text}")
        nodes = json.loads(got.text)["nodes"]
        found = [node for node in nodes if node["id"] == id]
        others = [node for node in nodes if node["id"] != id]
        must(bool(found) and proves(found[0], others), f"the list does not show it: {found}")

    return prove


def _node_fault(
    name: str,
    code: str,
    node_id: str,
    rows: Callable[[Setup], tuple[Part, ...]],
    summary: str,
    proves: Callable[[dict[str, Any], list[dict[str, Any]]], bool],
    *,
    warns: bool = True,
) -> Fault:
    """A fault of the list.

    A request to the control plane would correct some of them, and only a person knows whether it may: a node may have
    been put aside for a reason, or may have to be started and not forgotten.
    """

    def expected(setup: Setup) -> Truth:
        return Truth(code, "control", deciding=Deciding("node_id", node_id), where="control host", warns=warns)

    return Fault(
        name=name,
        summary=summary,
        place=_NODES,
        made=rows,
        expected=expected,
        proof=shows(node_id, proves),
        excluded=asks.needs_control,
    )


def _plugin(text: str | None) -> Callable[[Setup], tuple[Part, ...]]:
    """a has a package of checks that cannot be loaded. text: of its module; None: it imports what is not there."""

    def inject(network: "Network") -> None:
        if text is not None:
            (network.names.files("a") / PACKAGES / f"{_PLUGIN}.py").write_text(text, encoding="utf-8")

    return lambda setup: (
        planned("a has a package of checks", loopback=True, plugin=True),
        Part("it is broken", inject=inject, loopback=text is None),
    )


def _does_not_load(network: "Network") -> None:
    folder = network.names.files("a") / PACKAGES
    must((folder / f"{_PLUGIN}.py").exists(), "a has no package of checks")
    try:
        run([program("env"), f"PYTHONPATH={folder}", *python_module(_PLUGIN)])
    except LabError:
        return
    raise NotThereError("the package of checks loads")


def _starts_python(setup: Setup) -> str | None:
    if setup.user == "ordinary":
        return "a's user starts Python for each package of checks, and the lab's may be in root's home"
    return None


def _shared_truth(setup: Setup) -> Truth:
    # Other tokens have to be made and carried to their nodes.
    return Truth("posture.shared-token", "control", where="control host", warns=True)


FAULTS = (
    Fault(
        name="posture-open",
        summary="the control plane has no secret at all",
        place=_POSTURE,
        made=_opened,
        # A new secret, and how all nodes get it, is a person's to choose; no node knows where the server reads it.
        expected=lambda setup: Truth("posture.open", "control", where="control host"),
        proof=_is_open,
        excluded=asks.needs_control,
        alone=True,
    ),
    Fault(
        name="posture-signed",
        summary="the control plane takes a signature by any key in the place of a bearer",
        place=_POSTURE,
        made=_takes_every_key,
        # Whom to trust is for a person to say; no node knows where the server's environment is written.
        expected=lambda setup: Truth(
            "posture.open", "control", deciding=Deciding("problem", "any key"), where="control host"
        ),
        proof=_takes_signature,
        excluded=asks.needs_control,
    ),
    Fault(
        name="posture-shared-token",
        summary="one token serves workers and administrators",
        place=_POSTURE,
        made=_shared,
        expected=_shared_truth,
        proof=_is_shared,
        excluded=asks.needs_control,
    ),
    Fault(
        name="posture-scope-open",
        summary="the control plane accepts joins under another scope",
        place=_POSTURE,
        made=lambda setup: (asks.drilled("scope-open"),),
        expected=lambda setup: Truth("posture.scope-open", "control", where="control host"),
        proof=_accepts_strangers,
        excluded=asks.needs_control,
    ),
    Fault(
        name="posture-scope-unset",
        summary="the control plane has no scope id, so it accepts every one",
        place=_POSTURE,
        made=lambda setup: (asks.control_settings("the control plane has no scope id", scope_id=None),),
        # The line is in the report; where the control plane's environment is written, no node knows.
        expected=lambda setup: Truth("posture.scope-open", "control", where="control host"),
        proof=_accepts_strangers,
        excluded=asks.needs_control,
    ),
    Fault(
        name="posture-exposed",
        summary="the control plane listens on a public address too",
        place=_POSTURE,
        made=_exposed,
        expected=lambda setup: Truth(
            "posture.exposed",
            "control",
            deciding=Deciding("answered_address", routes.PUBLIC_ADDRESS),
            # The line is in the report; where the control plane's own settings are written, no node knows.
            where="control host",
        ),
        proof=_is_exposed,
        excluded=_not_exposed,
    ),
    Fault(
        name="posture-old-tls",
        summary="the gateway accepts TLS 1.0 and 1.1",
        place=_POSTURE,
        made=lambda setup: (asks.in_front("a gateway with old TLS", Front(old_tls=True)),),
        expected=lambda setup: Truth("posture.tls-old", "control", where="control host", warns=True),
        proof=_speaks_old_tls,
        excluded=no_old_tls,
    ),
    Fault(
        name="posture-secret-in-git",
        summary="a's folder is a repository with a token in a committed compose file",
        place=_POSTURE,
        made=lambda setup: (planned("a token is committed", loopback=True, committed=True),),
        expected=lambda setup: Truth("posture.secret-in-git", "node", deciding=Deciding("file", "docker-compose.yml")),
        proof=_is_committed,
    ),
    _node_fault(
        "nodes-stale",
        "nodes.stale",
        "n2",
        rows("n2 was last seen ten minutes ago", Registered("n1", fields=_AT_WORK), Registered("n2", age_s=600)),
        "a node was last seen ten minutes ago",
        lambda node, others: all(each["last_seen_unix_ms"] - node["last_seen_unix_ms"] > 300_000 for each in others),
    ),
    _node_fault(
        "nodes-quarantined",
        "nodes.quarantined",
        "a",
        rows("a is quarantined", Registered("a", quarantined=True)),
        "this node is quarantined",
        lambda node, others: bool(node.get("quarantined")),
        warns=False,
    ),
    _node_fault(
        "nodes-draining",
        "nodes.draining",
        "a",
        rows("a is drained for an hour", Registered("a", drained_for_s=3600)),
        "this node is drained for an hour",
        lambda node, others: bool(node.get("maintenance")),
    ),
    _node_fault(
        "nodes-version-skew",
        "nodes.version-skew",
        "n2",
        rows("n2 runs an older version", Registered("n1", fields=_AT_WORK), Registered("n2", version="0.9")),
        "a node runs an older version than the others",
        lambda node, others: bool(others) and all(each["version"] != node["version"] for each in others),
    ),
    _node_fault(
        "nodes-duplicate-address",
        "nodes.duplicate-address",
        "n2",
        rows("n2 announces n1's address", *(Registered(id, fields=_AT_WORK) for id in ("n1", "n2"))),
        "two nodes announce one address",
        lambda node, others: sum(each.get("listen_addr") == node["listen_addr"] for each in others) == 1,
    ),
    *(
        Fault(
            name=f"run-plugin-{name}",
            summary=f"a third-party package of checks cannot be loaded: {summary}",
            place=_RUN,
            made=_plugin(text),
            expected=lambda setup: Truth("run.plugin-broken", "node", warns=True),
            proof=_does_not_load,
            excluded=_starts_python,
        )
        for name, summary, text in (
            ("incomplete", "it imports what is not there", None),
            ("raises", "it raises an error", "raise RuntimeError('this machine is not supported')\n"),
            ("syntax", "it is not Python", "def checks(:\n"),
        )
    ),
)
