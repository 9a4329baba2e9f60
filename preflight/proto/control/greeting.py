"""What a server says that does not answer plain requests: another service, HTTP/2, or one that waits for a line."""

from preflight import codes
from preflight.model.control import ControlError, HttpAnswer
from preflight.model.facts import DeathFacts
from preflight.model.printable import excerpt
from preflight.model.remedy import Remedies, by_hand, look
from preflight.proto.control.answers import Finding, look_at
from preflight.proto.control.http import header, status_of
from preflight.proto.control.populi import FEATURE_HEADER, is_populi
from preflight.proto.control.url import ControlUrl

SHOWN = 60
BEHIND_PROXY_LINE = b"PROXY UNKNOWN\r\nGET /health HTTP/1.0\r\n\r\n"
"""A request as a gateway sends it with the PROXY protocol, version 1, about a client that it does not know."""
PROXY_PROTOCOL, HTTP2, NO_SITE, NOT_HTTP = "PROXY protocol", "HTTP/2", "no site", "not HTTP"
_BAD_REQUEST = 400
_SETTINGS, _HEADER_BYTES = 4, 9
_WITHOUT_PROXY_LINE = by_hand(
    "Let the gateway take connections without the PROXY protocol on this port: in nginx, take proxy_protocol out of "
    "listen.",
    where="control host",
)
_READ_SITES = look("nginx -T | grep -nE 'return 444|server_name|listen'", where="control host", root=True)


def said_instead(said: bytes, url: ControlUrl, silent: str, asked: bytes) -> Finding | None:
    """What it is that listens there; None if its words do not show it.

    silent: how it treated a client's request in plain HTTP. asked: what was sent before it spoke; nothing, the request
    again, or one behind a PROXY line.
    """
    if not said:
        return None
    if asked.startswith(b"GET "):
        return _said_to_request(said, url, garbled=NOT_HTTP in silent)
    if is_http2(said):
        message = f"{url.authority} speaks {HTTP2} alone, as gRPC servers do: clients of a control plane send HTTP/1.1"
        return Finding(codes.CONTROL_NOT_POPULI, message, _who_listens(url), DeathFacts(problem=HTTP2))
    if said.startswith(b"HTTP/"):
        if not asked:
            return None
        if status_of(said) == _BAD_REQUEST:
            message = f"{silent}, and answers {_BAD_REQUEST} to a line that is not a request: an HTTP server closes "
            message += f"requests for {url.authority}, as one does that has no site of that name"
            return Finding(codes.CONTROL_UNHEALTHY, message, _READ_SITES, DeathFacts(problem=NO_SITE))
        message = f"{silent}; behind a line of the {PROXY_PROTOCOL} it answers: it waits for a gateway in front of it"
        return Finding(codes.CONTROL_UNHEALTHY, message, _WITHOUT_PROXY_LINE, DeathFacts(problem=PROXY_PROTOCOL))
    if asked:
        return None
    message = f"{url.authority} speaks before it is asked anything, {excerpt(said.decode('latin-1'), SHOWN)!r}"
    message += ", which no HTTP server does: another service listens there"
    return Finding(codes.CONTROL_NOT_POPULI, message, _who_listens(url), DeathFacts(problem=NOT_HTTP))


def _said_to_request(said: bytes, url: ControlUrl, *, garbled: bool) -> Finding | None:
    """What the first bytes of an answer to a plain request show that no client takes for HTTP.

    garbled: no client of HTTP could read an earlier answer.
    """
    if is_http2(said):
        return None
    line = excerpt(said.partition(b"\r\n")[0].decode("latin-1"), SHOWN)
    if not said.startswith(b"HTTP/"):
        message = f"{url.authority} answers a request with {line!r}, which is {NOT_HTTP}: another service listens there"
        return Finding(codes.CONTROL_NOT_POPULI, message, _who_listens(url), DeathFacts(problem=NOT_HTTP))
    if not garbled:
        return None
    own = header(said, FEATURE_HEADER) is not None
    message = f"{url.authority} begins its answer with {line!r}, and what follows is {NOT_HTTP} that a client can read"
    code = codes.CONTROL_BAD_ANSWER if own else codes.CONTROL_NOT_POPULI
    return Finding(code, message, look(look_at(url)), DeathFacts(problem=NOT_HTTP), "answer" if own else "server")


def asks_plainly(url: ControlUrl) -> bytes:
    """A request as clients send it, without anything secret."""
    return f"GET {url.path}/health HTTP/1.1\r\nHost: {url.authority}\r\nConnection: close\r\n\r\n".encode("ascii")


def is_http2(said: bytes) -> bool:
    """Whether it begins with a frame SETTINGS of the connection itself (RFC 9113 section 3.4)."""
    return len(said) >= _HEADER_BYTES and said[3] == _SETTINGS and not any(said[5:_HEADER_BYTES])


def _who_listens(url: ControlUrl) -> Remedies:
    where = f"ss -ltnp 'sport = :{url.port}'   # on the control host: who listens, and where the control plane does"
    return look(where, where="control host")


def may_be_tls(url: ControlUrl, bad: HttpAnswer | ControlError) -> bool:
    """Whether the answer to plain HTTP may be that of a server that waits for a TLS handshake."""
    if url.scheme == "https":
        return False
    if isinstance(bad, HttpAnswer):
        return bad.status == _BAD_REQUEST and not is_populi(bad)
    return bad.kind == "protocol"
