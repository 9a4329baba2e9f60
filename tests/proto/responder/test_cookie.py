"""Cookies: only a host that receives at an address can return one, and not for long."""

from preflight.proto.responder.cookie import COOKIE_BYTES, COOKIE_SECONDS, Cookies

SOURCE, TOKEN = ("10.66.0.1", 4000), b"12345678"
COOKIES = Cookies(b"s" * 16)


def test_a_cookie_is_good_for_its_source_and_session() -> None:
    """A cookie of another address, port, session or process proves nothing."""
    cookie = COOKIES.make(TOKEN, SOURCE, 100.0)
    assert len(cookie) == COOKIE_BYTES
    assert COOKIES.prove(cookie, TOKEN, SOURCE, 100.0)
    assert not COOKIES.prove(cookie, TOKEN, ("10.66.0.9", 4000), 100.0)
    assert not COOKIES.prove(cookie, TOKEN, ("10.66.0.1", 4001), 100.0)
    assert not COOKIES.prove(cookie, b"87654321", SOURCE, 100.0)
    assert not Cookies(b"t" * 16).prove(cookie, TOKEN, SOURCE, 100.0)


def test_a_cookie_ends_with_the_window_after_its_own() -> None:
    """A recorded request is of no use a minute later."""
    cookie = COOKIES.make(TOKEN, SOURCE, 0.0)
    assert COOKIES.prove(cookie, TOKEN, SOURCE, 2 * COOKIE_SECONDS - 0.1)
    assert not COOKIES.prove(cookie, TOKEN, SOURCE, 2 * COOKIE_SECONDS)


def test_what_is_no_cookie_proves_nothing() -> None:
    """Bytes of any length come from the network."""
    assert not any(COOKIES.prove(b"x" * length, TOKEN, SOURCE, 0.0) for length in (0, 1, 15, 16, 17))
