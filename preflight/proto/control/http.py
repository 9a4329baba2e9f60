"""What HTTP headers say about time, and which proxy the environment names for a URL; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from ipaddress import ip_address, ip_network
from typing import Self
from urllib.parse import urlsplit

from preflight.model.host_port import join_host_port
from preflight.proto.control.url import SCHEME_PORTS, ControlUrl

END_OF_YEAR_9999_S = 253402300799.0
"""The last second that Python's calendar can hold."""
REDIRECTION = 3
"""The first digit of its statuses."""
LONGEST_WAIT_S = 86400.0
"""The longest `Retry-After` that is honoured."""


def http_date(value: str | None) -> float | None:
    """A `Date` header (RFC 9110 section 5.6.7) as UNIX seconds, resolution 1 s; None if it is missing or malformed.

    A date before 1970 or after the year 9999 counts as malformed.
    """
    if not value:
        return None
    try:
        date = parsedate_to_datetime(value)
        moment = date.timestamp() if date.tzinfo is not None else -1.0
    except (ValueError, OverflowError):
        return None
    return moment if 0.0 <= moment <= END_OF_YEAR_9999_S else None


def retry_after_s(value: str | None, date: str | None, now_unix_s: float) -> float | None:
    """`Retry-After` (RFC 9110 section 10.2.3) as seconds from now, a day at most; None if it is missing or malformed.

    A date counts from the answer's own `Date`, so a difference between the clocks does no harm.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isdecimal() and text.isascii():
        return min(float(text[:9]), LONGEST_WAIT_S)
    until = http_date(text)
    if until is None:
        return None
    since = http_date(date)
    return min(max(0.0, until - (now_unix_s if since is None else since)), LONGEST_WAIT_S)


def redirect_place(location: str) -> str:
    """Where a `Location` leads, without its query, in which portals put session keys. The text is a stranger's."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return "nowhere"
    host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""
    return f"{host}{parts.path}" or "nowhere"


def redirect_base(location: str, path: str) -> str:
    """Where a `Location` leads, without the path that was asked for: what a control URL would have to be."""
    place = redirect_place(location)
    return place.removesuffix(path) if path and place != path else place


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that the environment names. `url` may hold a password: use it to connect, never show it.

    place: host and port, without credentials.
    """

    variable: str
    url: str = field(repr=False)
    place: str

    @property
    def host(self) -> str:
        """Its name or address, without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Its port, that of its scheme where it names none."""
        parts = urlsplit(self.url)
        return parts.port or SCHEME_PORTS[parts.scheme]

    @property
    def has_address(self) -> bool:
        """Whether its host is an address, so that there is no name to resolve."""
        try:
            ip_address(self.host)
        except ValueError:
            return False
        return True

    @classmethod
    def read(cls, variable: str, value: str) -> Self | None:
        """The proxy in an environment variable; None if it is not an HTTP proxy, which clients then do not use."""
        url = value if "://" in value else f"http://{value}"
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            return None
        if parts.scheme not in SCHEME_PORTS or not host or port == 0:
            return None
        return cls(variable, url, join_host_port(host, port or SCHEME_PORTS[parts.scheme]))


def proxy_for(url: ControlUrl, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy for a URL: the scheme's own variable, then ALL_PROXY, unless NO_PROXY exempts the host.

    Upper case wins over lower case. These are the rules of the workers' own client: NO_PROXY may hold prefixes, such as
    `10.66.0.0/24`, which an overlay's nodes use and which neither urllib nor httpx knows. A proxy that does not speak
    HTTP is not used.
    """
    if _exempt(url, _first(environment, "NO_PROXY")[1]):
        return None
    found = (Proxy.read(variable, value) for variable, value in _named(url, environment))
    return next(filter(None, found), None)


def passed_over(url: ControlUrl, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """The variable of a proxy that does not speak HTTP, and its scheme: programs with SOCKS use it, such as curl."""
    if proxy_for(url, environment) is not None or _exempt(url, _first(environment, "NO_PROXY")[1]):
        return None
    named = ((variable, value.partition("://")[0].lower()) for variable, value in _named(url, environment))
    return next((each for each in named if each[1].startswith("socks")), None)


def _named(url: ControlUrl, environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """The variables for a URL that are set, the strongest first."""
    found = (_first(environment, name) for name in (f"{url.scheme}_PROXY".upper(), "ALL_PROXY"))
    return [(variable, value) for variable, value in found if value]


def _first(environment: Mapping[str, str], name: str) -> tuple[str, str]:
    for variable in (name, name.lower()):
        if value := environment.get(variable, "").strip():
            return variable, value
    return name, ""


def _exempt(url: ControlUrl, no_proxy: str) -> bool:
    return any(_matches(url, entry.strip().lower()) for entry in no_proxy.split(",") if entry.strip())


def _matches(url: ControlUrl, entry: str) -> bool:
    """`*`, an address, a prefix, or a domain with everything below it."""
    if entry == "*":
        return True
    if url.address is not None:
        try:
            return url.address in ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            return False
    domain = entry.lstrip(".")
    return bool(domain) and (url.host == domain or url.host.endswith(f".{domain}"))


def header(head: bytes, name: str) -> str | None:
    """One header's value from the raw head of an HTTP/1.1 answer; None if there is no such header."""
    if not head.startswith(b"HTTP/"):
        return None
    for line in head.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name.lower().encode("ascii"):
            return value.strip().decode("latin-1")
    return None


def status_of(head: bytes) -> int | None:
    """The status from the raw head of an HTTP/1.1 answer; None if it is not one."""
    words = head.partition(b"\r\n")[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return None
    return int(words[1])
