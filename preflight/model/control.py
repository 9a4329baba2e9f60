"""What the control plane's client returns and raises: plain data for judges and protocol cores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pydantic import SecretStr

ControlErrorKind = Literal[
    "no-url", "dns", "refused", "unreachable", "timeout", "tls", "status", "protocol", "foreign", "redirected"
]


class ControlError(Exception):
    """A request to the control plane that did not succeed.

    kind: where it failed; `status` means that an HTTP answer came and was not the expected one; `foreign`, that
    something else than a control plane gave it: a gateway, a portal, another product. What that says about a request,
    a token or a row is not the control plane's word, so it has no status here.
    status: the HTTP status of the control plane's answer, or of a server error or `later` of whatever is on the way.
    retry_after_s: what a `Retry-After` asked for, seconds. The message never holds a bearer or a request's body.
    """

    def __init__(
        self,
        kind: ControlErrorKind,
        status: int | None,
        message: str,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind: ControlErrorKind = kind
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s


class NotHttpError(ControlError):
    """Something answered, and it does not speak HTTP; kind `protocol`."""

    def __init__(self, message: str) -> None:
        super().__init__("protocol", None, message)


class CredentialsError(Exception):
    """A credential cannot be kept where it was to be; the text says why and never shows it."""


@dataclass(frozen=True, slots=True)
class MailboxRow:
    """One message of a mailbox, as `a2a/inbox` lists it."""

    id: int
    sender: str
    receiver: str
    message_type: str
    payload: str
    created_unix_ms: int


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One row of the registry; `fields` is the whole record as the server sent it."""

    id: str
    version: str
    last_seen_unix_ms: int
    fields: dict[str, Any]

    @property
    def scope_id(self) -> str | None:
        """The cluster that the row belongs to."""
        scope = self.fields.get("scope_id")
        return scope if isinstance(scope, str) else None

    @property
    def listen_addr(self) -> str | None:
        """Where the node says that it listens."""
        place = self.fields.get("listen_addr")
        return place if isinstance(place, str) else None

    @property
    def quarantined(self) -> bool:
        """Whether an administrator took the node out of service."""
        return self.fields.get("quarantined") is True

    @property
    def draining(self) -> bool:
        """Whether the node is in maintenance (the server clears a drain whose deadline has passed)."""
        return self.fields.get("maintenance") is True

    @property
    def maintenance_until_unix_ms(self) -> int | None:
        """When the maintenance ends by itself; None where it has no end, or what was told is no time."""
        until = self.fields.get("maintenance_until_unix_ms")
        return until if isinstance(until, int) and not isinstance(until, bool) and 0 < until < 2**64 else None


@dataclass(frozen=True, slots=True)
class NodeList:
    """The answer of `GET nodes`."""

    schema_version: int
    nodes: tuple[NodeRecord, ...]


@dataclass(frozen=True, slots=True)
class Credential:
    """What a bootstrap token buys. `repr` hides the token."""

    mesh_token: "SecretStr"
    scope_id: str | None


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One HTTP answer as it came. Header names are lower case; `body` is at most what the caller asked for.

    cut: there was more of the body than that.
    rtt_ms: from sending the request to the end of the answer's headers. sent_unix_s, received_unix_s: this node's clock
    at these two moments. connected: the request opened its connection (its time includes that).
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    rtt_ms: float
    sent_unix_s: float
    received_unix_s: float
    connected: bool = False
    cut: bool = False
