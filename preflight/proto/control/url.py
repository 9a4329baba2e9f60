"""The control URL: normalised exactly as the real clients do it, and explained where it cannot be used.

Trim; add `http://` when there is no scheme; strip trailing `/`. A port that is not written is the scheme's own.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal
from unicodedata import normalize
from urllib.parse import SplitResult, unquote, urlsplit

from preflight.model.host_port import bracketed, join_host_port

IPAddress = IPv4Address | IPv6Address
SCHEME_PORTS = {"http": 80, "https": 443}
SERVER_PORT = 9847
"""Where the server listens unless told otherwise; a URL without a port does not lead there."""

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")


_INSTEAD = "a bearer token goes into control.token_file of the settings or into VOX_MESH_TOKEN, never into the URL"


class ControlUrlError(ValueError):
    """A control URL that no client can use. `bind_all`: it names a server's bind address. Never repeats the URL."""

    def __init__(self, message: str, *, bind_all: bool = False) -> None:
        super().__init__(message)
        self.bind_all = bind_all


@dataclass(frozen=True, slots=True)
class ControlUrl:
    """A usable control URL. `host` is a lower-case ASCII name or a bare address; `path` has no `/` at its end."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    path: str = ""
    port_given: bool = True

    @property
    def address(self) -> IPAddress | None:
        """The host as an IP address; None if it is a name."""
        return _literal(self.host)

    @property
    def authority(self) -> str:
        """Host and, where the URL has one, port, as a URL writes them."""
        return join_host_port(self.host, self.port) if self.port_given else bracketed(self.host)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def normalise(raw: str) -> ControlUrl:
    """Normalise a control URL as an operator wrote it. Raises ControlUrlError with a clause that says what is wrong."""
    text = raw.strip()
    if not text:
        raise ControlUrlError("it is empty")
    refuse_secrets(text)
    if re.search(r"[\s\x00-\x1f\x7f]", text):
        raise ControlUrlError("it holds a blank or a control character")
    if re.match(r"https?:/(?!/)", text, re.IGNORECASE):
        raise ControlUrlError("two slashes belong behind its scheme")
    parts = _split(text if "://" in text else f"http://{text}")
    scheme = parts.scheme.lower()
    if scheme not in SCHEME_PORTS:
        raise ControlUrlError("its scheme is neither http nor https, which the control plane speaks")
    host = _host(parts.hostname or "")
    port = _port(parts)
    return ControlUrl(
        scheme="https" if scheme == "https" else "http",
        host=host,
        port=SCHEME_PORTS[scheme] if port is None else port,
        path=parts.path.rstrip("/"),
        port_given=port is not None,
    )


def refuse_secrets(raw: str) -> None:
    """Refuse a control URL with a place in which secrets stand, however it is written: raises ControlUrlError.

    That is user info, a query or a fragment (RFC 3986 sections 3.2.1, 3.4 and 3.5), also without a scheme, with a `/`
    or a blank in a password, escaped, or in the wide signs that browsers take for the plain ones. None is of any use.
    """
    text = unquote(normalize("NFKC", raw))
    if "@" in text:
        raise ControlUrlError(f"it holds a user name or a password; {_INSTEAD}")
    if re.search("[?#]", text):
        raise ControlUrlError(f"it has a query or a fragment, which may be a secret; {_INSTEAD}")


def without_secrets(text: str) -> str:
    """A text that quotes what somebody took for a URL, without user info, query and fragment."""
    text = re.sub(r"(?<=://).*@|[^\s'\"=(]*@", "…@", text)
    return re.sub(r"(?<=://)([^\s'\"?#]*)[?#][^\s'\"]+|[?#][^\s'\"=]+=[^\s'\"]+", r"\1?…", text)


def usable(raw: str | None) -> ControlUrl | None:
    """The normalised URL, or None where there is none that a client could use; `normalise` says why."""
    try:
        return normalise(raw or "")
    except ControlUrlError:
        return None


def _split(text: str) -> SplitResult:
    authority = text.partition("://")[2].split("/")[0]
    if authority.count(":") > 1 and (address := _literal(authority)) is not None:
        if address.is_unspecified:
            raise _bind_all(address)
        raise ControlUrlError(f"an IPv6 address goes into brackets, as in http://[fd66::2]:{SERVER_PORT}")
    try:
        return urlsplit(text)
    except ValueError:
        raise ControlUrlError("its host is not an address and not a name") from None


def _bind_all(address: IPAddress) -> ControlUrlError:
    return ControlUrlError(f"{address} is where a server binds, not where a client can connect", bind_all=True)


def _port(parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:
        raise ControlUrlError("its port is not a number from 1 to 65535") from None
    if port == 0:
        raise ControlUrlError("port 0 is no port that a server can listen on")
    return port


def _host(host: str) -> str:
    """A lower-case ASCII name, or an address in its shortest form."""
    address = _literal(host)
    if address is not None:
        if address.is_unspecified:
            raise _bind_all(address)
        return str(address)
    if not host:
        raise ControlUrlError("it has no host")
    if "%" in host:
        raise ControlUrlError("an address with a zone (%) means something on this node only")
    try:
        name = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        name = ""
    labels = name.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        raise ControlUrlError("its host looks like an IPv4 address and is none")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ControlUrlError("its host is not an address and not a host name")
    return name


def _literal(host: str) -> IPAddress | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return None if address.scope_id else address.ipv4_mapped or address
    return address
