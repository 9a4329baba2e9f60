"""Faults of what a request carries, of the answer that comes back, and of a proxy between them."""

import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPConnection
from typing import TYPE_CHECKING

from preflight.lab.axes.setup import Setup
from preflight.lab.blueprint import Places
from preflight.lab.front import NOBODY, Act, Front, Route
from preflight.lab.gateways import Running
from preflight.lab.network import inside
from preflight.lab.nginx import NGINX
from preflight.lab.part import Part, planned
from preflight.lab.site import write_private
from preflight.lab.stations import asks
from preflight.lab.stations.asks import JOIN, LIST, ask, must
from preflight.lab.stations.fault import Fault
from preflight.lab.stations.proofs import each_of
from preflight.lab.stations.words import at_control_host
from preflight.lab.truth import Deciding, Healer, Place, Truth
from preflight.model.host_port import bracketed

if TYPE_CHECKING:
    from preflight.lab.network import Network

_BODY, _ANSWER = Place("request", "body"), Place("request", "answer")
_PROXY, _HOST = Place("request", "proxy"), Place("posture", "host")
HEARTBEAT = "/v1/populi/heartbeat"
_LABELS = [f"pool=inference-{number:04}" for number in range(120)]
"""A join with them is longer than two kilobytes."""
_SMALLEST_CAP = 2048
_GATEWAY_CAP = 1024
_TOO_LARGE: Mapping[str, int] = {"nginx": 413, "caddy": 502, "haproxy": 413}
"""What a gateway answers to a body beyond its limit; Caddy ends the request on its way to the control plane."""
_LONG = asks.record("proof", capabilities={"labels": _LABELS})
_SKEW_S = 600
_SLOW_MS = 450
_PROXY_PORT = 3128
_PROXY_FILE = "proxy-url"


_LONG_JOIN = asks.labelled("a has many labels", _LABELS)


def _status(place: Place, code: str, status: int, *, heals: Healer = "nothing") -> Callable[[Setup], Truth]:
    return at_control_host(place, code, Deciding("http_status", status), heals=heals)


def _gateway_cap(network: "Network") -> None:
    asks.answers(JOIN, _TOO_LARGE[network.plan.gate], populi=False, body=_LONG)(network)
    asks.answers("/health", 200, populi=True)(network)


def _gateway_cap_is(setup: Setup) -> Truth:
    # A 502 says nothing of the body.
    status = _TOO_LARGE[setup.gateway]
    return _status(_BODY if status == asks.TOO_LARGE else _ANSWER, "enroll.join-failed", status)(setup)


def _keeps_bodies(setup: Setup) -> str | None:
    """Why nothing in front loses bodies."""
    return "this gateway hands on whole requests only" if setup.gateway != "nginx" else asks.needs_direct(setup)


def _cut(network: "Network") -> None:
    got = ask(network, LIST, token=asks.mesh_token(network))
    must(got.text.startswith("IncompleteRead"), f"the list: {got.status} {got.text}")


def _second_is_reset(network: "Network") -> None:
    over = asks.connection(network)
    try:
        first = ask(network, "/health", over=over)
        second = ask(network, "/health", over=over)
    finally:
        over.close()
    must(first.status == 200 and second.text.startswith("ConnectionReset"), f"{first.status}, then {second}")


def _not_json(network: "Network") -> None:
    got = ask(network, LIST, token=asks.mesh_token(network))
    whole = got.text.rstrip().endswith("}")
    must((got.status, got.populi, whole) == (200, True, False), f"the list: {got.status} {got.text}")


def _is_compressed(network: "Network") -> None:
    got = ask(network, "/health")
    must((got.populi, got.headers.get("content-encoding")) == (True, "gzip"), f"/health: {got.status} {got.headers}")


def _is_kept(network: "Network") -> None:
    """Two requests with different ids are answered with the same one."""
    got = [ask(network, LIST, token=asks.mesh_token(network)) for _ in range(2)]
    ids = {answer.headers.get("x-request-id") for answer in got}
    must([answer.status for answer in got] == [200, 200] and len(ids) == 1, f"the list is not kept: {ids}")


def _caches(setup: Setup) -> str | None:
    """Why nothing in front keeps the list."""
    if setup.gateway != "nginx":
        return "Caddy has no cache, and HAProxy's keeps nothing that a bearer got"
    return asks.needs_direct(setup)


def _waits(network: "Network") -> None:
    got = ask(network, LIST, token=asks.mesh_token(network))
    must(got.status == 429 and "retry-after" in got.headers, f"the list: {got.status or got.text}")


def _never_answers(network: "Network") -> None:
    over = asks.connection(network)
    try:
        over.sock.settimeout(asks.SHORT_S)
        got = ask(network, "/health", over=over)
    finally:
        over.close()
    must(got.text.startswith("TimeoutError"), f"/health: {got.status or got.text}")


def _clock_is_off(network: "Network") -> None:
    """By the date of an answer."""
    date = ask(network, "/health").headers.get("date", "")
    must(bool(date), "the answer has no date")
    ahead_s = parsedate_to_datetime(date).timestamp() - time.time()
    must(abs(ahead_s - _SKEW_S) < _SKEW_S / 2, "the server's clock is right")


def _is_slow(network: "Network") -> None:
    """Over a connection that is open already."""
    over = asks.connection(network)
    started = time.monotonic()
    try:
        must(ask(network, "/health", over=over).status == 200, "/health is not answered")
        must(time.monotonic() - started > _SLOW_MS / 1000, "the control plane answers at once")
    finally:
        over.close()


def _proxy_variable(setup: Setup) -> str:
    return "HTTPS_PROXY" if setup.transport == "tls" else "HTTP_PROXY"


def _proxied(answer: str | None, *, silent: bool = False) -> Callable[[Setup], tuple[Part, ...]]:
    """a's environment names a proxy on the control host. answer: nginx's directives; None: nothing listens there."""

    def inject(network: "Network") -> None:
        host = bracketed(Places.in_tunnel(network.plan).control)
        write_private(network.names.files("a") / _PROXY_FILE, f"http://{host}:{_PROXY_PORT}")
        node = network.plan.control_host
        if silent:
            network.nft(node, f"input tcp dport {_PROXY_PORT} drop")
        if answer is not None:
            mark = network.names.mark("proxy")
            files = network.names.files("control")
            nginx = Running(NGINX, "proxy", files, mark, lambda words: network.command(node, *words))
            target = f"http://{host}:{Places.in_tunnel(network.plan).control_port}"
            nginx.start_now(
                f"server {{ listen {host}:{_PROXY_PORT}; location / {{ {answer.replace('<target>', target)} }} }}"
            )

    def made(setup: Setup) -> tuple[Part, ...]:
        named = asks.variables("a's environment names a proxy", **{_proxy_variable(setup): _PROXY_FILE})
        return (named, Part("the proxy", inject=inject))

    return made


def _variable(setup: Setup) -> Truth:
    deciding = Deciding("variable", _proxy_variable(setup))
    return Truth("host.proxy-env", "control", place=_PROXY, deciding=deciding, heals="file")


def _page(setup: Setup) -> Truth:
    # nginx is not a proxy for TLS: it answers 400 to CONNECT, whatever its configuration says.
    deciding = Deciding("http_status", 400 if setup.transport == "tls" else 403)
    return Truth("host.proxy-env", "control", place=_PROXY, deciding=deciding, heals="file")


def _works(setup: Setup) -> Truth:
    deciding = Deciding("variable", _proxy_variable(setup))
    return Truth("host.proxy-env", "control", deciding=deciding, heals="file", warns=True)


def _through_proxy(status: int, *, populi: bool, failure: str = "") -> "Callable[[Network], None]":
    """What the proxy in a's environment does with a request for /health. failure: how the connection fails."""

    def prove(network: "Network") -> None:
        names = [name for name, file in network.plan.node_environment.items() if file == _PROXY_FILE]
        must(bool(names), "a's environment names no proxy")
        places = Places.in_tunnel(network.plan)
        proxy = HTTPConnection(places.control, _PROXY_PORT, timeout=asks.SHORT_S)
        try:
            with inside(network.names.namespace("a")):
                proxy.connect()
        except OSError as error:
            must(type(error).__name__ == failure, f"the proxy: {error}")
            return
        got = ask(network, f"http://{bracketed(places.control)}:{places.control_port}/health", over=proxy)
        proxy.close()
        must((got.status, got.populi) == (status, populi), f"the proxy answers {got.status or got.text}")

    return prove


def _filtered(setup: Setup) -> str | None:
    """Why nobody can put a proxy on the control host."""
    if setup.firewall != "open" and setup.home == "peer":
        return "b's firewall lets nothing in at the port of a proxy"
    return asks.needs_direct(setup)


def _not_plain(setup: Setup) -> str | None:
    """Over TLS a client sees an end of the connection, and no reset."""
    return "the relay's reset looks like an end over TLS" if setup.transport == "tls" else asks.needs_direct(setup)


def _filtered_or_tls(setup: Setup) -> str | None:
    return "nginx hands no TLS on" if setup.transport == "tls" else _filtered(setup)


_answer = partial(Fault, place=_ANSWER, excluded=asks.needs_direct)
_body = partial(Fault, place=_BODY, excluded=asks.needs_direct)
_proxy = partial(Fault, place=_PROXY, excluded=_filtered)

FAULTS = (
    _proxy(
        name="proxy-refuses",
        summary="nobody listens at the proxy that a's environment names",
        made=_proxied(None),
        expected=_variable,
        proof=_through_proxy(0, populi=False, failure="ConnectionRefusedError"),
    ),
    _proxy(
        name="proxy-silent",
        summary="a firewall drops what a sends to the proxy that its environment names",
        made=_proxied(None, silent=True),
        expected=_variable,
        proof=_through_proxy(0, populi=False, failure="TimeoutError"),
    ),
    _proxy(
        name="proxy-forbids",
        summary="the proxy that a's environment names answers with its page: forbidden",
        made=_proxied("return 403;"),
        expected=_page,
        proof=_through_proxy(403, populi=False),
    ),
    _proxy(
        name="proxy-cannot-reach",
        summary="the proxy that a's environment names does not reach the control plane, and answers 502",
        made=_proxied(f"proxy_pass http://{NOBODY};"),
        expected=lambda setup: Truth(
            "host.proxy-env", "control", place=_PROXY, deciding=Deciding("http_status", 502), heals="file"
        ),
        proof=_through_proxy(502, populi=False),
        excluded=_filtered_or_tls,
    ),
    Fault(
        name="host-proxy",
        summary="requests reach the control plane through a proxy, which needs none: its address is on the overlay",
        place=_HOST,
        made=_proxied("proxy_pass <target>;"),
        expected=_works,
        proof=_through_proxy(200, populi=True),
        excluded=_filtered_or_tls,
    ),
    _body(
        name="body-too-large",
        summary="a's join is longer than what the control plane takes",
        made=lambda setup: (_LONG_JOIN, asks.control_settings("a small cap", max_body_bytes=_SMALLEST_CAP)),
        # The line is in the report; where the control plane's environment is written, no node knows.
        expected=_status(_BODY, "enroll.join-failed", 413),
        proof=asks.answers(JOIN, 413, populi=True, body=_LONG),
        excluded=asks.needs_control,
    ),
    _body(
        name="body-too-large-for-gateway",
        summary="a's join is longer than what the gateway takes",
        made=lambda setup: (_LONG_JOIN, asks.in_front("a small cap", Front(most_body=_GATEWAY_CAP))),
        expected=_gateway_cap_is,
        proof=_gateway_cap,
    ),
    _body(
        name="body-lost",
        summary="a gateway hands requests on without their bodies",
        made=lambda setup: (
            planned("a has no bootstrap token", bootstrap="none"),
            asks.in_front("a gateway that loses bodies", Front(root=Act(without="body"))),
        ),
        expected=at_control_host(_BODY, "enroll.join-failed", Deciding("http_status", 400)),
        proof=each_of(asks.answers(JOIN, 400, populi=True, body=_LONG), asks.answers("/health", 200, populi=True)),
        excluded=_keeps_bodies,
    ),
    _answer(
        name="answer-cut",
        summary="the list of nodes ends inside a chunk",
        made=asks.fronted("a relay that cuts", relay="cuts"),
        expected=at_control_host(_ANSWER, "control.bad-answer", Deciding("problem", "cut short")),
        proof=_cut,
    ),
    _answer(
        name="answer-reset-when-reused",
        summary="each connection is reset at its second request",
        made=asks.fronted("a relay that resets", relay="resets"),
        expected=at_control_host(_ANSWER, "control.bad-answer", Deciding("problem", "kept-alive")),
        proof=_second_is_reset,
        excluded=_not_plain,
    ),
    _answer(
        name="answer-not-json",
        summary="the list of nodes is a half of a JSON document",
        made=asks.fronted("a relay that halves", relay="halves"),
        expected=at_control_host(_ANSWER, "control.bad-answer", Deciding("problem", "JSON")),
        proof=_not_json,
    ),
    _answer(
        name="answer-compressed",
        summary="a gateway compresses every answer, although no client asks for it",
        made=asks.fronted("a relay that compresses", relay="compresses"),
        expected=at_control_host(_ANSWER, "control.bad-answer", Deciding("problem", "compressed")),
        proof=_is_compressed,
    ),
    _answer(
        name="answer-cached",
        summary="a gateway keeps the list of nodes, and gives it to later requests",
        made=asks.fronted("a cache", caches=True),
        expected=at_control_host(_ANSWER, "control.bad-answer", Deciding("problem", "cached")),
        proof=_is_kept,
        excluded=_caches,
    ),
    _answer(
        name="answer-hang",
        summary="the control plane accepts connections, and never answers",
        made=lambda setup: (asks.drilled("hang"),),
        expected=at_control_host(_ANSWER, "control.timeout"),
        proof=_never_answers,
        excluded=asks.needs_control,
    ),
    _answer(
        name="answer-heartbeat-500",
        summary="heartbeats are answered with 500",
        made=lambda setup: (asks.drilled("heartbeat-500"),),
        expected=_status(_ANSWER, "enroll.heartbeat-failed", 500),
        proof=asks.answers(HEARTBEAT, 500, populi=True, body={}),
        excluded=asks.needs_control,
    ),
    _answer(
        name="answer-throttled",
        summary="a gateway answers 429 to every API route, for good",
        made=asks.fronted("a limit", routes=(Route("/v1/", Act(429, headers={"Retry-After": "5"})),)),
        expected=_status(_ANSWER, "control.throttled", 429),
        proof=_waits,
    ),
    _answer(
        name="answer-clock",
        summary="the server's clock is ten minutes ahead",
        made=lambda setup: (asks.drilled(f"clock-skew={_SKEW_S}"),),
        expected=lambda setup: Truth("control.clock-skew", "control", where="control host"),
        proof=_clock_is_off,
        excluded=asks.needs_control,
    ),
    _answer(
        name="answer-slow",
        summary="the control plane needs half a second for each answer",
        made=lambda setup: (asks.drilled(f"slow={_SLOW_MS}"),),
        expected=at_control_host(_ANSWER, "control.slow", warns=True),
        proof=_is_slow,
        excluded=asks.needs_control,
    ),
)
