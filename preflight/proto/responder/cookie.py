"""Cookies that prove an address: only a host that receives there can return one, so nobody is flooded with answers."""

import hmac

COOKIE_BYTES = 16
COOKIE_SECONDS = 30.0
"""A cookie is valid in the window it was made in and in the next one."""


class Cookies:
    """Makes and checks cookies without remembering any. secret: random bytes of this process."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, token: bytes, source: tuple[str, int], now: float) -> bytes:
        """The cookie for a source and its session; `now` is in seconds of any steady clock."""
        return self._cookie(token, source, int(now // COOKIE_SECONDS))

    def prove(self, cookie: bytes, token: bytes, source: tuple[str, int], now: float) -> bool:
        """Whether the cookie was made for this source and session not long ago."""
        window = int(now // COOKIE_SECONDS)
        good = [self._cookie(token, source, window - age) for age in (0, 1)]
        return any(hmac.compare_digest(cookie, each) for each in good)

    def _cookie(self, token: bytes, source: tuple[str, int], window: int) -> bytes:
        """Bound to the address, the port and the session, so that a recorded request is useless elsewhere."""
        what = b"%s %s %d %d" % (token, source[0].encode(), source[1], window)
        return hmac.digest(self._secret, what, "sha256")[:COOKIE_BYTES]
