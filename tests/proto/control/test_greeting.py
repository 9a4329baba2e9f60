"""What a server's first words show, where it does not answer a plain request."""

import pytest

from preflight.proto.control.greeting import BEHIND_PROXY_LINE, said_instead
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
