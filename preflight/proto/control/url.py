"""The control URL: parsed once, by the rules of the real clients, into one of two values.

A `ControlUrl` can be used; a `ControlUrlError` says why it cannot. The rules: trim, add `http://` when there is no
scheme, strip each trailing `/`. A port that is not written is the scheme's own.
"""

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal
from unicodedata import normalize
from urllib.parse import SplitResult, unquote, urlsplit

from preflight.model.host_port import bracketed, join_host_port
from preflight.proto.control.url_guess import INVISIBLE, guess

IPAddress = IPv4Address | IPv6Address
SCHEME_PORTS = {"http": 80, "https": 443}
SERVER_PORT = 9847
"""The server's default port; a URL without a port does not lead there."""

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_QUOTES = "\"'`\u201c\u201d\u2018\u2019<>"
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Z][A-Z0-9_]{2,})=")
_ADDED = re.compile(r"(/health|/v1(/populi(/.*)?)?)$")
"""The paths of the API, which clients put behind the URL."""
_USER_INFO = re.compile(r"(https?://)?[^@/?#%\s]*@([^@?#%\s]+)", re.IGNORECASE)
_QUERY = re.compile(r"([^@?#%\s]+)[?#].*", re.DOTALL)


_INSTEAD = "a bearer token goes into control.token_file of the settings or into VOX_MESH_TOKEN, never into the URL"
_MOST_MISTAKES = 4
_LONGEST_SHOWN = 200
"""Characters of a URL that cannot be used; the start is enough to recognise it in a message."""

Fault = Literal["empty", "invalid", "bind-all", "secret"]
"""Why a URL cannot be used: `bind-all`: it names a server's bind address; `secret`: it may hold a password or token."""


@dataclass(frozen=True, slots=True)
class ControlUrl:
    """A usable control URL. `host` is a lower-case ASCII name or a bare address; `path` has no `/` at its end.

    written_host: the host as the operator wrote it; it may be in another alphabet (RFC 5890).
    """

    scheme: Literal["http", "https"]
    host: str
    port: int
    path: str = ""
    port_given: bool = True
    written_host: str = field(default="", compare=False, repr=False)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host in every spelling in which a report may show it."""
        return tuple(dict.fromkeys(filter(None, (self.host, self.written_host))))

    @property
    def address(self) -> IPAddress | None:
        """The host as an IP address; None if it is a name."""
        return _literal(self.host)

    @property
    def authority(self) -> str:
        """Host and, where the URL has one, port, as a URL writes them."""
        return join_host_port(self.host, self.port) if self.port_given else bracketed(self.host)

    def at(self, host: str, port: int | None = None) -> "ControlUrl":
        """The same URL with another host, and perhaps another port, which is then written."""
        return ControlUrl(self.scheme, host, self.port if port is None else port, self.path)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


@dataclass(frozen=True, slots=True)
class ControlUrlError:
    """A control URL that no client can use: a value, not an exception, because `control.url` reports it as a finding.

    written: the URL as the operator wrote it, without what may be a secret, and cut to 200 characters. reason: a clause
    that says what is wrong; it never repeats the URL. problem: the same in a word or two, which the clause contains.
    hosts: the host in it, if there is one, so that a report can replace it. meant: the URL that the operator most
    likely meant, without any secret; None where nothing shows it.
    """

    written: str
    reason: str
    fault: Fault = "invalid"
    hosts: tuple[str, ...] = ()
    problem: str | None = None
    meant: ControlUrl | None = None

    def __str__(self) -> str:
        return self.written


_UNREPLACED = re.compile(r"\$\{\w{1,40}\}|\$[A-Za-z_]\w{0,40}|\{\{ ?[\w.]{1,40} ?\}\}|<[A-Z][A-Z_-]{1,40}>")
"""What a shell, a template or a reader should have replaced."""


def parse_control_url(raw: str) -> ControlUrl | ControlUrlError:
    """The control URL as an operator wrote it, parsed: the one place that knows the rules."""
    text = raw.strip()
    try:
        return _usable(text)
    except _UnusableError as error:
        meant = None if error.meant is None else _parsed(error.meant)
        if meant is None and error.fault == "invalid" and error.problem != "variable":
            meant = _parsed(guess(text))
        if error.fault == "secret":
            # Not even a part of it: where a password ends cannot be known for certain.
            hosts = meant.hosts if meant else ()
            return ControlUrlError(
                meant_without(meant, error.problem), str(error), error.fault, hosts, error.problem, meant
            )
        shown = f"{error.meant} #…" if error.problem == "comment" else text
        written = without_secrets(shown[:_LONGEST_SHOWN])
        return ControlUrlError(written, str(error), error.fault, _hosts_in(text), error.problem, meant)


def meant_without(meant: ControlUrl | None, problem: str | None = "password") -> str:
    """How a URL with a secret in it is shown: by what is left of it. problem: where the secret was."""
    if meant is not None and problem == "query":
        return f"{meant}?…"
    return f"{meant.scheme}://…@{meant.authority}{meant.path}" if meant else "…"


def _parsed(text: str) -> ControlUrl | None:
    """A corrected URL, and corrected again where it has more mistakes; None if nothing shows what is meant."""
    for _ in range(_MOST_MISTAKES):
        try:
            return _usable(text)
        except _UnusableError as error:
            if error.meant is None or error.problem == "zone":
                return None
            text = error.meant
    return None


def is_passed_over(url: ControlUrl | ControlUrlError) -> bool:
    """Whether real workers pass over it to the next source: it is empty, or a server's bind address."""
    return isinstance(url, ControlUrlError) and url.fault in ("empty", "bind-all")


class _UnusableError(ValueError):
    """The text is a clause that says what is wrong with the URL, without repeating it.

    problem: the words in it that name the mistake. meant: the corrected text.
    """

    def __init__(
        self, reason: str, fault: Fault = "invalid", *, problem: str | None = None, meant: str | None = None
    ) -> None:
        super().__init__(reason)
        self.fault: Fault = fault
        self.problem = problem
        self.meant = meant


def _usable(text: str) -> ControlUrl:
    if not text:
        raise _UnusableError("it is empty", "empty")
    _refuse_decoration(text)
    _refuse_secrets(text)
    if (several := re.match(r"([^,;]+)[,;]", text)) is not None:
        reason = "it holds several URLs, and a client takes one"
        raise _UnusableError(reason, problem="several", meant=several.group(1).strip())
    if re.search(r"[\s\x00-\x1f\x7f]", text):
        meant = re.sub(r"[\s\x00-\x1f\x7f]", "", text)
        raise _UnusableError("it holds a blank or a control character", problem="blank", meant=meant)
    if INVISIBLE.search(text):
        raise _UnusableError("it holds an invisible character", problem="invisible", meant=INVISIBLE.sub("", text))
    parts = _split(_with_scheme(_with_slashes(text)))
    scheme = parts.scheme.lower()
    if scheme not in SCHEME_PORTS:
        meant = re.sub(
            r"^[a-z][a-z0-9+.-]*(?=://)", "https" if scheme in ("wss", "tls", "ssl") else "http", text, flags=re.I
        )
        reason = "its scheme is neither http nor https, which the control plane speaks"
        raise _UnusableError(reason, problem="scheme", meant=meant if meant != text else None)
    written = parts.hostname or ""
    if "%" in written:
        # Without it, the URL keeps its port and its path for another host.
        reason = "an address with a zone (%) means something on one node only"
        raise _UnusableError(reason, problem="zone", meant=re.sub(r"%[^\]/:]*", "", text, count=1))
    port = _port(parts)
    return ControlUrl(
        scheme="https" if scheme == "https" else "http",
        host=_host(written),
        port=SCHEME_PORTS[scheme] if port is None else port,
        path=_path(parts),
        port_given=port is not None,
        written_host=written,
    )


def _refuse_decoration(text: str) -> None:
    """Refuse what a file or a shell left around the URL: quotes, or the name of a variable."""
    bare = text.strip(_QUOTES).strip()
    if bare != text:
        raise _UnusableError("it has quotes around it, which are part of it", problem="quotes", meant=bare)
    if (named := _ASSIGNMENT.match(text)) is not None:
        name = named.group(1)
        reason = f"it begins with {name}=, the name of a variable"
        raise _UnusableError(reason, problem=f"{name}=", meant=text[named.end() :])
    if (commented := re.match(r"(\S+)\s+#", text)) is not None:
        reason = "a comment follows it, which is part of the value where it is set"
        raise _UnusableError(reason, problem="comment", meant=commented.group(1))
    if (left := _UNREPLACED.search(text)) is not None:
        raise _UnusableError(f"nothing has replaced the variable {left.group()} in it", problem="variable")


def _with_slashes(text: str) -> str:
    """The text, if a scheme in it has its colon and its two slashes."""
    if (twice := re.match(r"(https?:?/*)+(?=https?:?/)", text, re.IGNORECASE)) is not None:
        raise _UnusableError("it has its scheme twice", problem="twice", meant=text[twice.end() :])
    if (scheme := re.match(r"(https?)//+", text, re.IGNORECASE)) is not None:
        meant = f"{scheme.group(1)}://{text[scheme.end() :]}"
        raise _UnusableError("the colon behind its scheme is missing", problem="colon", meant=meant)
    if (scheme := re.match(r"(https?):(/(?!/)|(?!//|\d+(/|$)))", text, re.IGNORECASE)) is not None:
        meant = f"{scheme.group(1)}://{text[scheme.end() :]}"
        raise _UnusableError("two slashes belong behind its scheme", problem="slashes", meant=meant)
    return text


def _path(parts: SplitResult) -> str:
    """The path before the API's own, which clients add."""
    path = parts.path.rstrip("/")
    added = _ADDED.search(path)
    if added is None:
        return path
    meant = f"{parts.scheme}://{parts.netloc}{path[: added.start()]}"
    reason = f"it ends with {added.group()}, which clients add themselves"
    raise _UnusableError(reason, problem=added.group(), meant=meant)


def _with_scheme(text: str) -> str:
    return text if "://" in text else f"http://{text}"


def _hosts_in(text: str) -> tuple[str, ...]:
    """The host of a URL that is wrong elsewhere; nothing where none can be found."""
    try:
        host = urlsplit(_with_scheme(text)).hostname
    except ValueError:
        return ()
    return (host,) if host else ()


def _refuse_secrets(raw: str) -> None:
    """Refuse a control URL with a part that may hold a secret, however it is written.

    That is user info, a query or a fragment (RFC 3986 sections 3.2.1, 3.4 and 3.5), also without a scheme, with a `/`
    or a blank in a password, escaped, or in the wide signs that browsers take for the plain ones. None is of any use.
    """
    text = unquote(normalize("NFKC", raw))
    if "@" in text:
        plain = _USER_INFO.fullmatch(raw)
        meant = f"{plain.group(1) or ''}{plain.group(2)}" if plain else None
        reason = f"it holds a user name or a password; {_INSTEAD}"
        raise _UnusableError(reason, "secret", problem="password", meant=meant)
    if re.search("[?#]", text):
        reason = f"it has a query or a fragment, which may be a secret; {_INSTEAD}"
        plain = _QUERY.fullmatch(raw)
        raise _UnusableError(reason, "secret", problem="query", meant=plain.group(1) if plain else None)


def without_secrets(text: str) -> str:
    """A text that quotes what a user took for a URL, without user info, query and fragment."""
    text = re.sub(r"(?<=://).*@|[^\s'\"=(]*@", "…@", text)
    return re.sub(r"(?<=://)([^\s'\"?#]*)[?#][^\s'\"]+|[?#][^\s'\"=]+=[^\s'\"]+", r"\1?…", text)


def _split(text: str) -> SplitResult:
    authority = text.partition("://")[2].split("/")[0]
    if authority.count(":") > 1 and (address := _literal(authority)) is not None:
        if address.is_unspecified:
            raise _bind_all(address)
        host, _, last = authority.rpartition(":")
        with_port = last == str(SERVER_PORT) and _literal(host) is not None
        meant = text.replace(authority, f"[{host}]:{last}" if with_port else f"[{authority}]", 1)
        reason = f"an IPv6 address goes into brackets, as in http://[fd66::2]:{SERVER_PORT}"
        raise _UnusableError(reason, problem="brackets", meant=meant)
    try:
        return urlsplit(text)
    except ValueError:
        raise _UnusableError("its host is not an address and not a name", problem="host") from None


def _bind_all(address: IPAddress) -> _UnusableError:
    reason = f"{address} is where a server binds, not where a client can connect"
    return _UnusableError(reason, "bind-all", problem="bind")


def _port(parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:
        raise _UnusableError("its port is not a number from 1 to 65535", problem="port", meant=_usual(parts)) from None
    if port == 0:
        raise _UnusableError("no server can listen on port 0", problem="port", meant=_usual(parts))
    return port


def _usual(parts: SplitResult) -> str:
    """The same URL with the server's default port."""
    host = parts.netloc.rpartition(":")[0] or parts.netloc
    return f"{parts.scheme}://{host}:{SERVER_PORT}{parts.path}"


def _host(host: str) -> str:
    """A lower-case ASCII name, or an address in its shortest form."""
    address = _literal(host)
    if address is not None:
        if address.is_unspecified:
            raise _bind_all(address)
        return str(address)
    if not host:
        raise _UnusableError("it has no host", problem="host")
    try:
        name = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        name = ""
    labels = name.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        raise _UnusableError("its host looks like an IPv4 address and is not one", problem="host")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _UnusableError("its host is not an address and not a host name", problem="host")
    return name


def _literal(host: str) -> IPAddress | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return None if address.scope_id else address.ipv4_mapped or address
    return address
