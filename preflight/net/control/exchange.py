"""One HTTP request and its answer, bounded in size; the caller bounds the time."""

import errno
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpcore
import httpx
from pydantic import SecretStr

from preflight.model.control import ControlError, ControlErrorKind, HttpAnswer, NotHttpError
from preflight.model.event import Tell, silent
from preflight.model.facts import DeathFacts
from preflight.model.printable import excerpt
from preflight.net.control.proxy_tunnel import ProxyTunnel, proxy_authorization
from preflight.net.tcp.tls import client_context
from preflight.proto.control.answers import CUT, KEPT_ALIVE, LIMIT, RESET, TOO_LONG
from preflight.proto.control.gateways import header_too_large, passed_through, server_name
from preflight.proto.control.http import REDIRECTION, Proxy, redirect_base, redirect_place, retry_after_s
from preflight.proto.control.populi import FEATURE_HEADER, is_populi, kind_of, shown
from preflight.proto.control.url import ControlUrl

_STAGES = {
    "connection.connect_tcp.complete": "connected",
    "connection.start_tls.complete": "tls-finished",
    "http11.send_request_body.complete": "sent",
    "http11.receive_response_headers.complete": "answer-began",
}
"""The trace events of httpcore that a timeline shows, by the stage of a request that each ends."""


_KEPT = httpx.Limits(max_connections=100, max_keepalive_connections=50)
"""Checks that ask at the same time find their connections open again: on a slow path a new one costs as much."""


@dataclass(slots=True)
class Moments:
    """How far a request got and when, from httpcore's trace events; 0.0: it did not get there.

    `tell` hears each stage of the request, which it knows as `request`: method and path.
    """

    tell: Tell = silent
    request: str = ""
    sent: float = 0.0
    answered: float = 0.0
    sent_unix_s: float = 0.0
    answered_unix_s: float = 0.0
    connected: bool = False
    opened: bool = False
    received: int = 0

    async def note(self, event: str, _info: Mapping[str, Any]) -> None:
        """Take one event. A proxy's own answer comes before the request is sent."""
        if event in _STAGES:
            self.tell(time.monotonic(), "request-stage", request=self.request, stage=_STAGES[event])
        if event == "connection.connect_tcp.started":
            self.connected = True
        elif event == "connection.connect_tcp.complete":
            self.opened = True
        elif event == "http11.send_request_headers.started":
            self.sent, self.sent_unix_s = time.perf_counter(), time.time()
            self.answered = self.answered_unix_s = 0.0
        elif event == "http11.receive_response_headers.complete":
            self.answered, self.answered_unix_s = time.perf_counter(), time.time()

    @property
    def lacking(self) -> str:
        """What was missing when the time was up."""
        if self.answered:
            return "complete answer"
        return "answer" if self.sent else "TLS handshake" if self.opened else "connection"

    @property
    def station(self) -> str:
        """The station behind which nothing was seen any more."""
        return "answer" if self.sent else "tls" if self.opened else "connect"


@dataclass(frozen=True, slots=True)
class Request:
    """What to send. headers: in addition to the usual. most_bytes: how much of the answer's body to keep.

    through: the proxy to ask with the whole URL, where the transport does not do it (`asks_itself`).
    """

    method: str
    url: str
    body: Mapping[str, Any] | None
    most_bytes: int
    headers: Mapping[str, str] = field(default_factory=dict)
    tls_name: str | None = None
    through: Proxy | None = None


def asks_itself(url: ControlUrl, proxy: Proxy | None) -> bool:
    """Whether the request line for a proxy must be made here: httpcore leaves out the brackets of an IPv6 address.

    A proxy answers such a line with 400 (RFC 9112 section 3.2.2, RFC 3986 section 3.2.2).
    """
    return proxy is not None and url.scheme == "http" and ":" in url.host and proxy.url.startswith("http:")


def open_transport(url: ControlUrl, proxy: Proxy | None, ca_file: Path | None) -> httpx.AsyncHTTPTransport:
    """Connections for one URL. A transport, not an httpx client: it follows no redirect and keeps no cookie.

    Raises ControlError("tls") for a CA file that cannot be used.
    """
    context = _tls_context(ca_file) if url.scheme == "https" else None
    if proxy is None or asks_itself(url, proxy):
        return httpx.AsyncHTTPTransport(verify=context or False, trust_env=False, limits=_KEPT)
    transport = httpx.AsyncHTTPTransport(verify=context or False, proxy=proxy.url, trust_env=False, limits=_KEPT)
    if context is not None and ":" in url.host:
        # httpx has no argument for what opens its connections.
        transport._pool = httpcore.AsyncConnectionPool(ssl_context=context, network_backend=ProxyTunnel(proxy))
    return transport


async def exchange(transport: httpx.AsyncHTTPTransport, asked: Request, moments: Moments) -> HttpAnswer:
    """Send a request and read its answer as it came, without decompressing it. Raises httpx.HTTPError."""
    response = await transport.handle_async_request(_request(asked, moments))
    content = bytearray()
    try:
        async for chunk in response.aiter_raw():
            content += chunk
            moments.received = len(content)
            if len(content) > asked.most_bytes:
                break
    finally:
        await response.aclose()
    return HttpAnswer(
        status=response.status_code,
        headers=dict(response.headers),
        body=bytes(content[: asked.most_bytes]),
        rtt_ms=(moments.answered - moments.sent) * 1000,
        sent_unix_s=moments.sent_unix_s,
        received_unix_s=moments.answered_unix_s,
        connected=moments.connected,
        cut=len(content) > asked.most_bytes,
    )


def _request(asked: Request, moments: Moments) -> httpx.Request:
    headers = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "preflight", **asked.headers}
    extensions: dict[str, Any] = {"trace": moments.note}
    if asked.tls_name:
        extensions["sni_hostname"] = asked.tls_name
    url = httpx.URL(asked.url)
    if asked.through is not None:
        extensions["target"] = asked.url.encode()
        headers["host"] = url.netloc.decode()
        url = httpx.URL(asked.through.url)
        if password := proxy_authorization(url):
            headers["proxy-authorization"] = password
        url = url.copy_with(username=None, password=None)
    return httpx.Request(asked.method, url, json=asked.body, headers=headers, extensions=extensions)


def failure(error: httpx.HTTPError | ssl.SSLError, place: str, moments: Moments) -> ControlError:
    """Why no answer came: the first system error that caused httpx's, as a ControlError."""
    if isinstance(error, httpx.ProxyError):
        status = str(error).partition(" ")[0]
        decided = DeathFacts(http_status=int(status) if status.isdecimal() else None)
        words = f"{place}: the proxy does not connect ({excerpt(str(error))})"
        return ControlError("protocol", None, words, decided=decided, station="proxy")
    if moments.answered:
        return _broken_off(error, place, moments)
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return ControlError("tls", None, f"the TLS handshake with {place} failed: {cause.reason or 'no reason'}")
        if isinstance(cause, OSError) and cause.errno is not None:
            kind, words = _ERRNO.get(cause.errno, ("unreachable", _reason(cause)))
            return _ended(kind, words, place, moments)
    if isinstance(error, httpx.RemoteProtocolError) and "disconnected" not in str(error):
        return NotHttpError(f"{place} answered with something that is not HTTP")
    return _ended("protocol", "closed the connection without an answer", place, moments)


def refusal(
    asked: str, answer: HttpAnswer, hidden: tuple[str, ...], path: str, *, limited: bool = False
) -> ControlError:
    """An answer that is not a control plane's 2xx as an error, with a line of its body that shows nothing hidden.

    asked: the method and the route. path: of the URL that was asked. limited: it refuses requests for their number.
    """
    kind, status = kind_of(answer), answer.status
    quoted = redirect_place(answer.headers.get("location", "")).encode() if kind == "redirected" else answer.body
    text = shown(quoted, hidden)
    said = f", a redirect to {text or 'nowhere'}" if kind == "redirected" else f": {text}" if text else ""
    server = server_name(answer)
    by = "" if is_populi(answer) else f" by {server}" if server else ""
    by += "" if is_populi(answer) else f" without the header {FEATURE_HEADER}, so not by a control plane"
    wait = retry_after_s(answer.headers.get("retry-after"), answer.headers.get("date"), answer.received_unix_s)
    known, decided = (status if kind == "status" else None), _decided(answer, path)
    decided = replace(decided, problem=LIMIT) if limited else decided
    message = f"{asked} was answered {status}{by}{said}"
    return ControlError(kind, known, message, wait, by_control_plane=is_populi(answer), decided=decided)


def _decided(answer: HttpAnswer, path: str) -> DeathFacts:
    """What an answer shows of the server that gave it."""
    where = answer.headers.get("location") if answer.status // 100 == REDIRECTION else None
    return DeathFacts(
        http_status=answer.status,
        server=passed_through(answer) if is_populi(answer) else server_name(answer),
        location=None if where is None else excerpt(redirect_base(where, path)),
        problem=TOO_LONG if not is_populi(answer) and header_too_large(answer) else None,
    )


def headers_of(named: ControlUrl | None, bearer: SecretStr | None) -> dict[str, str]:
    """More headers of a request. named: whom `Host` names, if the URL has only its address.

    Raises ControlError for a bearer that no header can carry; libraries would quote it in their errors.
    """
    headers = {"host": named.authority} if named else {}
    if bearer is not None:
        value = bearer.get_secret_value()
        if not (value.isascii() and value.isprintable()):
            raise ControlError("protocol", None, "the bearer token holds a character that an HTTP header cannot carry")
        headers["authorization"] = f"Bearer {value}"
    return headers


def _broken_off(error: Exception, place: str, moments: Moments) -> ControlError:
    """An answer whose head came, and not the rest."""
    cut = isinstance(error, httpx.ReadError) or "incomplete" in str(error) or "without sending complete" in str(error)
    if not cut:
        return ControlError("protocol", None, f"{place} began an answer and garbled it ({excerpt(str(error))})")
    words = f"the answer of {place} was cut short after {moments.received} bytes of its body"
    return ControlError("protocol", None, words, decided=DeathFacts(problem=CUT))


def _ended(kind: ControlErrorKind, words: str, place: str, moments: Moments) -> ControlError:
    """The connection ended; on one that had served a request before, the next one may live on a fresh connection."""
    if kind != "protocol":
        return ControlError(kind, None, f"{place} {words}")
    if not moments.connected:
        words = f"{place} {words}, a kept-alive one, at its next request"
        return ControlError(kind, None, words, decided=DeathFacts(problem=KEPT_ALIVE))
    reset = DeathFacts(problem=RESET) if "reset" in words else None
    return ControlError(kind, None, f"{place} {words}", decided=reset)


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return client_context(ca_file)
    except OSError as error:
        raise ControlError("tls", None, f"control.ca_file {ca_file} cannot be used: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


_ERRNO: dict[int, tuple[ControlErrorKind, str]] = {
    errno.ECONNREFUSED: ("refused", "refused the connection"),
    errno.ETIMEDOUT: ("timeout", "did not answer before the system's own time-out"),
    errno.ECONNRESET: ("protocol", "reset the connection"),
    errno.EPIPE: ("protocol", "closed the connection"),
    errno.ENETUNREACH: ("unreachable", "cannot be reached: no route"),
    errno.EHOSTUNREACH: ("unreachable", "cannot be reached: a router or this node says so"),
}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from _causes(inner)
        error = error.__cause__ or error.__context__
