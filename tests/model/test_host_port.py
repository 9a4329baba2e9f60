"""`HOST:PORT` as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.model.host_port import bracketed, join_host_port, split_host_port


@pytest.mark.parametrize(
    ("host", "port", "text"),
    [("10.66.0.2", 862, "10.66.0.2:862"), ("fd66::2", 0, "[fd66::2]:0"), ("control.example", 1, "control.example:1")],
)
def test_an_ipv6_address_goes_into_brackets(host: str, port: int, text: str) -> None:
    """The same text is written everywhere, and it can be pasted into a URL or a command."""
    assert join_host_port(host, port) == text == f"{bracketed(host)}:{port}"
    assert split_host_port(text) == (host, port)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.66.0.2", "10.66.0.2", 862),
        ("10.66.0.2:8620", "10.66.0.2", 8620),
        ("fd66::2", "fd66::2", 862),
        ("::1", "::1", 862),
        ("::", "::", 862),
        ("[fd66::2]", "fd66::2", 862),
        ("[fd66::2]:0", "fd66::2", 0),
        ("stun.example.net", "stun.example.net", 862),
    ],
)
def test_a_default_port_stands_in_for_one_that_is_not_written(text: str, host: str, port: int) -> None:
    """A bare IPv6 address is an address, not a host with a port."""
    assert split_host_port(text, 862) == (host, port)


def test_without_a_default_the_last_colon_separates_the_port() -> None:
    """`--bind ::1:9847` has always been understood."""
    assert split_host_port("::1:9847") == ("::1", 9847)


@pytest.mark.parametrize("default", [None, 862])
@pytest.mark.parametrize(
    "text",
    ["", ":", ":862", "h:", "h:x", "h:-1", "h:65536", "h:٣", "[fd66::2", "[fd66::2]862", "fd66::2]:1", " h:1", "[]:1"],
)
def test_anything_else_is_refused(text: str, default: int | None) -> None:
    """Half an address does not count as an address: the caller says which option or key holds it."""
    with pytest.raises(ValueError, match="has no"):
        split_host_port(text, default)


@given(st.text(max_size=40), st.none() | st.integers(0, 65535))
def test_any_text_is_read_or_refused(text: str, default: int | None) -> None:
    """No text crashes, and what is read can be written and read again."""
    try:
        host, port = split_host_port(text, default)
    except ValueError:
        return
    assert 0 <= port <= 65535
    if "[" not in host and "]" not in host:
        assert split_host_port(join_host_port(host, port)) == (host, port)
