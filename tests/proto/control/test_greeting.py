"""What a server's first words show, where it does not answer a plain request."""

import pytest

from preflight.proto.control.greeting import BEHIND_PROXY_LINE, asks_plainly, said_instead
from preflight.proto.control.url import ControlUrl

URL = ControlUrl("http", "10.66.0.3", 9847)
SETTINGS = bytes([0, 0, 6, 4, 0, 0, 0, 0, 0]) + bytes(6)


@pytest.mark.parametrize(
    ("said", "asked", "problem"),
    [
        (b"", b"", None),
        (b"SSH-2.0-x\r\n", b"", "not HTTP"),
        (b"HTTP/1.1 408 Request Timeout\r\n", b"", None),
        (SETTINGS, b"", "HTTP/2"),
        (SETTINGS, BEHIND_PROXY_LINE, "HTTP/2"),
        (b"HTTP/1.1 200 OK\r\n", BEHIND_PROXY_LINE, "PROXY protocol"),
        (b"HTTP/1.1 400 Bad Request\r\n", BEHIND_PROXY_LINE, "no site"),
        (b"-ERR unknown command", BEHIND_PROXY_LINE, None),
        (b"\0\0\0\4", b"", "not HTTP"),
    ],
)
def test_who_it_is(said: bytes, asked: bytes, problem: str | None) -> None:
    """A service that speaks first is another one; an answer that comes only behind a line is a gateway's."""
    found = said_instead(said, URL, "10.66.0.3:9847 closed the connection", asked)
    assert (found.decided.problem if found else None) == problem
    assert problem is None or found is None or found.remedies


GARBLED = "10.66.0.3:9847 answered with something that is not HTTP"
CLOSED = "10.66.0.3:9847 closed the connection without an answer"


@pytest.mark.parametrize(
    ("said", "silent", "code"),
    [
        (b"ok\n", CLOSED, "control.not-populi"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n", GARBLED, "control.not-populi"),
        (b"HTTP/1.1 200 OK\r\nx-populi-feature: a\r\nContent-Length: -3\r\n", GARBLED, "control.bad-answer"),
        (b"HTTP/1.1 200 OK\r\n", CLOSED, None),
        (b"", CLOSED, None),
    ],
)
def test_what_a_plain_request_is_answered_with(said: bytes, silent: str, code: str | None) -> None:
    """Protects from a wrong fix: what answers without a PROXY line does not wait for one. A restart is over by now."""
    found = said_instead(said, URL, silent, asks_plainly(URL))
    assert (found.code.slug if found else None) == code
    assert found is None or found.decided.problem == "not HTTP"
    assert found is None or "not HTTP" in found.message
