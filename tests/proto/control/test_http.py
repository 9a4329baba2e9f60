"""HTTP headers about time, and which proxy a worker would take."""

import pytest

from preflight.proto.control.http import header, http_date, passed_over, proxy_for, retry_after_s
from preflight.proto.control.url import ControlUrl, parse_control_url

NOON = "Tue, 24 Nov 2026 12:00:00 GMT"
NOON_S = 1795521600.0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NOON, NOON_S),
        (None, None),
        ("", None),
        ("noon", None),
        ("Tue, 99 Nov 2026 12:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -0100", None),
        ("Mon, 01 Jan 0100 00:00:00 GMT", None),
    ],
)
def test_http_date(value: str | None, expected: float | None) -> None:
    """A `Date` is UNIX seconds; a malformed one is nothing, not a crash."""
    assert http_date(value) == expected


@pytest.mark.parametrize(
    ("value", "date", "expected"),
    [
        ("7", None, 7.0),
        (" 0 ", None, 0.0),
        ("-1", None, None),
        ("soon", None, None),
        (None, None, None),
        ("9" * 400, None, 86400.0),
        ("NaN", None, None),
        ("1e400", None, None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", NOON, 86400.0),
        ("Tue, 24 Nov 2026 12:00:30 GMT", NOON, 30.0),
        ("Tue, 24 Nov 2026 12:00:30 GMT", None, 20.0),
        ("Tue, 24 Nov 2026 11:00:00 GMT", NOON, 0.0),
    ],
)
def test_retry_after(value: str | None, date: str | None, expected: float | None) -> None:
    """Seconds or a date; a date counts from the server's own clock if it is known (own clock here: 12:00:10)."""
    assert retry_after_s(value, date, NOON_S + 10) == expected


@pytest.mark.parametrize(
    ("url", "environment", "variable"),
    [
        ("http://10.66.0.2", {}, None),
        ("http://10.66.0.2", {"HTTP_PROXY": "http://proxy:3128"}, "HTTP_PROXY"),
        ("http://10.66.0.2", {"http_proxy": "proxy:3128"}, "http_proxy"),
        ("http://10.66.0.2", {"HTTPS_PROXY": "http://proxy:3128"}, None),
        ("https://10.66.0.2", {"HTTPS_PROXY": "http://proxy:3128"}, "HTTPS_PROXY"),
        ("http://10.66.0.2", {"ALL_PROXY": "http://proxy:3128"}, "ALL_PROXY"),
        ("http://10.66.0.2", {"ALL_PROXY": "socks5://proxy:1080"}, None),
        ("http://10.66.0.2", {"HTTP_PROXY": "http://"}, None),
        ("http://10.66.0.2", {"HTTP_PROXY": "http://p:x"}, None),
        ("http://10.66.0.2", {"HTTP_PROXY": "p:1", "NO_PROXY": "10.66.0.2"}, None),
        ("http://10.66.0.2", {"HTTP_PROXY": "p:1", "NO_PROXY": "a, 10.66.0.0/24"}, None),
        ("http://10.66.0.2", {"HTTP_PROXY": "p:1", "no_proxy": "*"}, None),
        ("http://10.66.0.2", {"HTTP_PROXY": "p:1", "NO_PROXY": "10.67.0.0/24,overlay"}, "HTTP_PROXY"),
        ("http://[fd66::2]", {"HTTP_PROXY": "p:1", "NO_PROXY": "fd66::/64"}, None),
        ("http://c.overlay", {"HTTP_PROXY": "p:1", "NO_PROXY": ".overlay"}, None),
        ("http://c.overlay", {"HTTP_PROXY": "p:1", "NO_PROXY": "Overlay"}, None),
        ("http://c.myoverlay", {"HTTP_PROXY": "p:1", "NO_PROXY": "overlay"}, "HTTP_PROXY"),
    ],
)
def test_proxy_choice(url: str, environment: dict[str, str], variable: str | None) -> None:
    """The proxy is the one that a worker takes, prefixes in NO_PROXY included."""
    parsed = parse_control_url(url)
    assert isinstance(parsed, ControlUrl)
    proxy = proxy_for(parsed, environment)
    assert (proxy.variable if proxy else None) == variable


def test_a_proxy_that_does_not_speak_http_is_passed_over() -> None:
    """It is named only where it would be used, and never with its password."""
    url = ControlUrl("http", "10.66.0.3", 9847)
    socks = {"ALL_PROXY": "socks5h://user:secret@127.0.0.1:1080"}
    assert passed_over(url, socks) == ("ALL_PROXY", "socks5h")
    assert passed_over(url, {**socks, "NO_PROXY": "10.66.0.0/24"}) is None
    assert passed_over(url, {**socks, "http_proxy": "http://192.0.2.1:3128"}) is None
    assert passed_over(url, {}) is None


def test_a_proxys_password_is_not_shown() -> None:
    """Neither the place nor the repr of a proxy holds its credentials."""
    proxy = proxy_for(
        ControlUrl("http", "h", 80, port_given=False), {"HTTP_PROXY": "http://user:hunter2-hunter2@[fd00::1]:3128"}
    )
    assert proxy is not None
    assert proxy.place == "[fd00::1]:3128"
    assert "hunter2" not in repr(proxy) + str(proxy)


def test_header_of_a_raw_head() -> None:
    """The head of an answer is read without a parser that could choke on what strangers send."""
    head = b"HTTP/1.1 200 OK\r\nServer: x\r\nDATE:  " + NOON.encode() + b"\r\n\r\nDate: body"
    assert header(head, "date") == NOON
    assert header(head, "age") is None
    assert header(b"SSH-2.0-x\r\nDate: y\r\n", "date") is None
