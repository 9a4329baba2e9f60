"""Requests of the laboratory's own, to prove what answers at the control plane's address, and files to break on a."""

import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from preflight.lab.axes.setup import Setup
from preflight.lab.blueprint import SCOPE, Blueprint, Front, Places
from preflight.lab.network import inside
from preflight.lab.part import Part
from preflight.lab.processes import start, wait_for_words
from preflight.lab.site import CONTROL, DATABASE, write_private
from preflight.lab.stations.fault import NotThereError
from preflight.programs import python_module

if TYPE_CHECKING:
    from preflight.lab.network import Network

WAIT_S = 5.0
SHORT_S = 0.5
"""To wait for what is not expected to come."""
LIST = "/v1/populi/nodes"
JOIN = "/v1/populi/join"
EXCHANGE = "/v1/populi/bootstrap/exchange"
FEATURE = "x-populi-feature"
"""The header by which a control plane is known, on its errors too."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. status 0: no answer, for the reason in `text`."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""

    @property
    def populi(self) -> bool:
        """Whether a control plane wrote it."""
        return FEATURE in self.headers


def connection(network: "Network", *, context: ssl.SSLContext | None = None) -> HTTPConnection:
    """A connection from a to the control plane's address, which accepts every certificate unless a context says more.

    Raises OSError.
    """
    places = Places.in_tunnel(network.plan)
    where = (places.control, places.control_port)
    made = HTTPConnection(*where, timeout=WAIT_S)
    if network.plan.secure or context is not None:
        made = HTTPSConnection(*where, timeout=WAIT_S, context=context or trusting())
    with inside(network.names.namespace("a")):
        made.connect()
    made.auto_open = 0  # it would connect again outside the namespace
    return made


def trusting() -> ssl.SSLContext:
    """A context for servers of the lab whose certificates are not the point."""
    return ssl._create_unverified_context()  # noqa: S323 - it proves a fault, and sends nothing that must stay secret


def ask(
    network: "Network",
    path: str,
    body: Any = None,
    *,
    token: str = "",
    over: HTTPConnection | None = None,
) -> Answer:
    """One request from a: GET, or POST of a body as JSON. over: a connection that is in use already."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    content = None if body is None else json.dumps(body)
    if content is not None:
        headers["Content-Type"] = "application/json"
    using = over
    try:
        using = using or connection(network)
        using.request("POST" if content is not None else "GET", network.plan.path + path, content, headers)
        response = using.getresponse()
        text = response.read().decode("utf-8", "replace")
    except (OSError, HTTPException) as error:
        return Answer(0, text=f"{type(error).__name__}: {error}")
    finally:
        if over is None and using is not None:
            using.close()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, text)


def mesh_token(network: "Network") -> str:
    """The bearer that opens everything."""
    return content(network.names.files(CONTROL) / "mesh-token").decode().strip()


def content(path: Path) -> bytes:
    """The bytes of a file, none if it is missing."""
    return path.read_bytes() if path.exists() else b""


def must(true: bool, why: str) -> None:
    """Raise NotThereError with the reason unless it is true."""
    if not true:
        raise NotThereError(why)


def answers(path: str, status: int, *, populi: bool, body: Any = None) -> "Callable[[Network], None]":
    """A proof: with a good bearer, this path is answered with a status, by a control plane or by another server."""

    def prove(network: "Network") -> None:
        got = ask(network, path, body, token=mesh_token(network))
        who = "a control plane" if got.populi else "another server"
        must((got.status, got.populi) == (status, populi), f"{path}: {got.status or got.text} by {who}")

    return prove


def in_front(summary: str, front: Front) -> Part:
    """Something is in front of the control plane."""
    return Part(summary, shape=lambda plan: replace(plan, front=front))


def shaped(summary: str, change: Callable[[Blueprint], Blueprint]) -> Part:
    """Another plan."""
    return Part(summary, shape=change)


def written(summary: str, name: str, make: "Callable[[Network], bytes]") -> Part:
    """a has a file with other content: what `make` gives when everything runs."""

    def inject(network: "Network") -> None:
        path = network.names.files("a") / name
        write_private(path, "")
        path.write_bytes(make(network))

    return Part(summary, inject=inject)


def settings(network: "Network", node: str = "a") -> dict[str, Any]:
    """The settings file of a node."""
    found: dict[str, Any] = yaml.safe_load(content(network.names.files(node) / "preflight.yaml"))
    return found


def variables(summary: str, **files: str) -> Part:
    """a has these variables in its environment; each value is a file in its folder that holds it."""
    return shaped(summary, lambda plan: replace(plan, node_environment={**plan.node_environment, **files}))


def with_urls(plan: Blueprint, change: Callable[[str], str]) -> Blueprint:
    """The plan with another control URL, wherever a has it from."""
    variables = {name: change(url) for name, url in plan.url_variables.items()}
    return replace(plan, control_url=plan.control_url and change(plan.control_url), url_variables=variables)


def secure_url(plan: Blueprint) -> Blueprint:
    """The plan with a control URL that begins with https."""
    return with_urls(plan, lambda url: url.replace("http://", "https://"))


def plain_url(plan: Blueprint) -> Blueprint:
    """The plan with a control URL that begins with http."""
    return with_urls(plan, lambda url: url.replace("https://", "http://"))


def url_of(network: "Network") -> str:
    """The control URL that a uses."""
    plan = network.plan
    named = [url for url in plan.url_variables.values() if "{control}" in url]
    return Places.in_tunnel(plan).url(plan.control_url or named[0])


def needs_control(setup: Setup) -> str | None:
    """For faults that need a control plane at all."""
    return "there is no control plane" if "none" in (setup.control, setup.home) else None


def needs_direct(setup: Setup) -> str | None:
    """For faults of what is in front of the control plane."""
    if setup.transport not in ("plain", "tls"):
        return "something is in front of the control plane already"
    return needs_control(setup)


def needs_tls(setup: Setup) -> str | None:
    """For faults of a TLS handshake."""
    return "the control plane speaks plain HTTP" if setup.transport != "tls" else needs_direct(setup)


def needs_plain(setup: Setup) -> str | None:
    """For faults that only plain HTTP can have."""
    return "the control plane speaks TLS" if setup.transport != "plain" else needs_direct(setup)


def open_socket(network: "Network", *, port: int = 0, host: str = "") -> socket.socket:
    """A TCP connection from a to the control plane's port, or to another port or host. Raises NotThereError."""
    places = Places.in_tunnel(network.plan)
    where = (host or places.control, port or places.control_port)
    try:
        with inside(network.names.namespace("a")):
            return socket.create_connection(where, timeout=WAIT_S)
    except OSError as error:
        raise NotThereError(f"{where}: {error}") from None


def drilled(words: str) -> Part:
    """The bundled control plane with one more of its drills."""

    def shape(plan: Blueprint) -> Blueprint:
        return replace(plan, server_options=(*plan.server_options, "--fault", words))

    return shaped(f"the control plane drills {words}", shape)


def record(node_id: str, **fields: Any) -> dict[str, Any]:
    """What a node sends to join."""
    return {"id": node_id, "capabilities": {}, "version": "1.0", "last_seen_unix_ms": 0, "scope_id": SCOPE, **fields}


def hold_database(network: "Network") -> None:
    """Hold the write lock of the control plane's database, from a process that ends with the lab."""
    database = network.names.files(CONTROL) / DATABASE
    words = network.command("a", *python_module("preflight.lab.lock_holder", str(database)))
    log = network.names.directory / "lock-holder.log"
    holder = start("lock holder", words, mark=network.names.mark("lock-holder"), log=log)
    wait_for_words(holder, "holding ", 1, time.monotonic() + WAIT_S)


def control_settings(summary: str, **keys: Any) -> Part:
    """More keys of the control plane's settings."""
    return shaped(summary, lambda plan: replace(plan, control={**plan.control, **keys}))


def change_settings(network: "Network", change: Callable[[dict[str, Any]], object]) -> None:
    """Change a's settings file."""
    found = settings(network)
    change(found)
    write_private(network.names.files("a") / "preflight.yaml", yaml.safe_dump(found, sort_keys=False))


def labelled(summary: str, labels: list[str]) -> Part:
    """a has these labels."""

    def shape(plan: Blueprint) -> Blueprint:
        node = {**plan.node.get("node", {}), "labels": labels}
        return replace(plan, node={**plan.node, "node": node})

    return shaped(summary, shape)


def host_of(network: "Network") -> str:
    """The control plane's address."""
    return Places.in_tunnel(network.plan).control


def clock_ahead_s(network: "Network") -> float:
    """How far the server's clock is ahead of this machine's, by the date of an answer."""
    date = ask(network, "/health").headers.get("date", "")
    must(bool(date), "the answer has no date")
    return parsedate_to_datetime(date).timestamp() - time.time()


def seconds(network: "Network", path: str) -> float:
    """How long an answer takes over a connection that is open already."""
    over = connection(network)
    started = time.monotonic()
    try:
        must(ask(network, path, over=over).status == HTTPStatus.OK, f"{path} is not answered")
        return time.monotonic() - started
    finally:
        over.close()


def nodes(network: "Network") -> list[dict[str, Any]]:
    """The nodes of the cluster's list."""
    got = ask(network, LIST, token=mesh_token(network))
    must(got.status == HTTPStatus.OK, f"{LIST}: {got.status or got.text}")
    found: list[dict[str, Any]] = json.loads(got.text)["nodes"]
    return found
