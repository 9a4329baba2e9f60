"""Questions of the laboratory's own about a's way to the control plane: names, connections and requests.

They prove what is there without the product. The parts that break a's files and the control plane's are here too.
"""

import json
import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import yaml

from preflight.lab.axes.setup import Setup
from preflight.lab.blueprint import SCOPE, Blueprint, Places
from preflight.lab.front import Front
from preflight.lab.name_servers import DNS_PORT
from preflight.lab.network import inside
from preflight.lab.part import Part
from preflight.lab.processes import program
from preflight.lab.site import CONTROL, write_private
from preflight.lab.stations.fault import NotThereError

if TYPE_CHECKING:
    from preflight.lab.network import Network
    from preflight.lab.stations.proofs import Proof

WAIT_S = 5.0
SHORT_S = 0.5
"""To wait for what is not expected to come."""
_QUICK_S = 1.0
"""No set-up of a lab has so long a round trip."""
_LOOK_UP_S = 4.0
_OUTCOMES: Mapping[type[OSError], str] = {
    ConnectionRefusedError: "refused",
    ConnectionResetError: "reset",
    TimeoutError: "silent",
    PermissionError: "forbidden",
}
TOO_LARGE = 413
LIST = "/v1/populi/nodes"
JOIN = "/v1/populi/join"
EXCHANGE = "/v1/populi/bootstrap/exchange"
FEATURE = "x-populi-feature"
"""The header by which a control plane is known, on its errors too."""


def places_of(network: "Network") -> Places:
    """Where the control plane is in this lab."""
    return Places.in_tunnel(network.plan)


def control_address(network: "Network") -> str:
    """The address at which the control plane listens."""
    return places_of(network).control


def url_of(network: "Network") -> str:
    """The control URL that a uses."""
    plan = network.plan
    named = [url for url in plan.url_variables.values() if "{control}" in url]
    return places_of(network).url(plan.control_url or named[0])


# Names and connections


def connects(network: "Network", address: str) -> str:
    """How a TCP connection of a to the control plane's port at an address ends, and its first byte's answer.

    It is `open`, `refused`, `reset`, `silent`, `forbidden` (by a's own kernel) or `unreachable`.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside(network.names.namespace("a")), socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(_QUICK_S)
        try:
            client.connect((address, places_of(network).control_port))
            client.sendall(b"\r\n")
            client.recv(1)
        except OSError as error:
            if isinstance(error, TimeoutError) and _is_connected(client):
                return "open"
            return next((word for kind, word in _OUTCOMES.items() if isinstance(error, kind)), "unreachable")
    return "open"


def _is_connected(client: socket.socket) -> bool:
    try:
        client.getpeername()
    except OSError:
        return False
    return True


def looked_up(network: "Network", name: str) -> tuple[str, ...]:
    """The addresses that a's programs get for a name; none too if nothing comes in time."""
    words = network.command("a", program("getent"), "ahosts", name)
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_LOOK_UP_S, check=False)
    except subprocess.TimeoutExpired:
        return ()
    return tuple(dict.fromkeys(line.split()[0] for line in done.stdout.splitlines()))


def answered(network: "Network", resolver: str, name: str, *, tcp: bool = False, other: bool = False) -> str:
    """What a resolver says to a about a name: addresses, a code such as NXDOMAIN, `empty`, `blocked`, `too long`, or an
    outcome.

    The outcomes of a connection are `refused`, `silent` and `unreachable`. other: about addresses of the other family.
    """
    query = dns.message.make_query(name, "A" if (network.plan.families[0] == 4) != other else "AAAA", use_edns=True)
    with inside(network.names.namespace("a")):
        try:
            reply = dns.query.tcp(query, resolver, _QUICK_S) if tcp else _over_udp(query, resolver)
        except dns.exception.Timeout:
            return "silent"
        except OSError as error:
            return next((word for kind, word in _OUTCOMES.items() if isinstance(error, kind)), "unreachable")
    if reply.flags & dns.flags.TC:
        return "too long"
    if reply.rcode() != dns.rcode.NOERROR:
        return dns.rcode.to_text(reply.rcode())
    if any(isinstance(each, dns.edns.EDEOption) and each.code == dns.edns.EDECode.BLOCKED for each in reply.options):
        return "blocked"
    return " ".join(item.to_text() for rrset in reply.answer for item in rrset) or "empty"


def _over_udp(query: dns.message.Message, resolver: str) -> dns.message.Message:
    """The answer to a datagram. Its socket is connected, unlike dnspython's: only then the kernel reports refusals."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(_QUICK_S)
        client.connect((resolver, DNS_PORT))
        client.send(query.to_wire())
        return dns.message.from_wire(client.recv(65535))


def connection_ends(*expected: str, to: "Callable[[Network], str]" = control_address) -> "Proof":
    """A connection of a to the control plane's address, or another, ends in one of these ways."""

    def prove(network: "Network") -> None:
        seen = connects(network, to(network))
        if seen not in expected:
            raise NotThereError(f"a's connection to {to(network)} is {seen}, not {' or '.join(expected)}")

    return prove


def url_matches(mistake: str) -> "Proof":
    """a's control URL has this mistake, which is a regular expression."""

    def prove(network: "Network") -> None:
        written = [network.plan.control_url or "", *network.plan.url_variables.values()]
        urls = [places_of(network).url(each) for each in written]
        if not any(re.search(mistake, url) for url in urls):
            raise NotThereError(f"no control URL of a matches {mistake}: {', '.join(urls)}")

    return prove


def resolver_says(resolver: str, name: str, *expected: str) -> "Proof":
    """A resolver of a says one of these about a name."""

    def prove(network: "Network") -> None:
        seen = answered(network, resolver, name)
        if seen not in expected:
            raise NotThereError(f"{resolver} says {seen!r} about {name}, not {' or '.join(expected)}")

    return prove


def leads_to(name: str, address: str) -> "Proof":
    """The first address that a's programs get for a name is this one; an empty one: they get none."""

    def prove(network: "Network") -> None:
        seen = (*looked_up(network, name), "")[0]
        if seen != address:
            raise NotThereError(f"{name} leads a to {seen or 'nothing'}, not to {address or 'nothing'}")

    return prove


# Requests


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
    places = places_of(network)
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
    more: Mapping[str, str] = MappingProxyType({}),
    over: HTTPConnection | None = None,
) -> Answer:
    """One request from a: GET, or POST of a body as JSON. more: headers. over: a connection that is in use already."""
    headers = {**more, **({"Authorization": f"Bearer {token}"} if token else {})}
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
    return path.read_bytes() if path.is_file() else b""


def must(true: bool, why: str) -> None:
    """Raise NotThereError with the reason unless it is true."""
    if not true:
        raise NotThereError(why)


def answers(path: str, status: int, *, populi: bool, body: Any = None) -> "Proof":
    """A proof: with a good bearer, this path is answered with a status, by a control plane or by another server."""

    def prove(network: "Network") -> None:
        got = ask(network, path, body, token=mesh_token(network))
        who = "a control plane" if got.populi else "another server"
        must((got.status, got.populi) == (status, populi), f"{path}: {got.status or got.text} by {who}")

    return prove


def in_front(summary: str, front: Front) -> Part:
    """Something is in front of the control plane."""
    return Part(summary, shape=lambda plan: replace(plan, front=front))


def fronted(summary: str, **front: Any) -> Callable[[Setup], tuple[Part, ...]]:
    """What makes a fault that something in front of the control plane is. front: fields of Front."""
    part = in_front(summary, Front(**front))
    return lambda setup: (part,)


def shaped(summary: str, change: Callable[[Blueprint], Blueprint], *, loopback: bool = False) -> Part:
    """Another plan."""
    return Part(summary, shape=change, loopback=loopback)


def labelled(summary: str, labels: list[str]) -> Part:
    """a has these labels."""

    def shape(plan: Blueprint) -> Blueprint:
        node = {**plan.node.get("node", {}), "labels": labels}
        return replace(plan, node={**plan.node, "node": node})

    return shaped(summary, shape, loopback=True)


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
    return shaped(
        summary, lambda plan: replace(plan, node_environment={**plan.node_environment, **files}), loopback=True
    )


def with_urls(plan: Blueprint, change: Callable[[str], str]) -> Blueprint:
    """The plan with another control URL, wherever a has it from."""
    variables = {name: change(url) for name, url in plan.url_variables.items()}
    return replace(plan, control_url=plan.control_url and change(plan.control_url), url_variables=variables)


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
    places = places_of(network)
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

    return shaped(f"the control plane drills {words}", shape, loopback=True)


def record(node_id: str, **fields: Any) -> dict[str, Any]:
    """What a node sends to join."""
    return {"id": node_id, "capabilities": {}, "version": "1.0", "last_seen_unix_ms": 0, "scope_id": SCOPE, **fields}


def control_settings(summary: str, **keys: Any) -> Part:
    """More keys of the control plane's settings."""
    return shaped(summary, lambda plan: replace(plan, control={**plan.control, **keys}), loopback=True)


def change_settings(network: "Network", change: Callable[[dict[str, Any]], object]) -> None:
    """Change a's settings file."""
    found = settings(network)
    change(found)
    write_private(network.names.files("a") / "preflight.yaml", yaml.safe_dump(found, sort_keys=False))
