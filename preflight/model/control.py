"""What the control plane's client returns and raises: plain data for judges and protocol cores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from preflight.model.facts import DeathFacts

if TYPE_CHECKING:
    from pydantic import SecretStr

ControlErrorKind = Literal[
    "no-url",
    "dns",
    "refused",
    "unreachable",
    "timeout",
    "tls",
    "status",
    "protocol",
    "foreign",
    "redirected",
    "exposed",
]


class ControlError(Exception):
    """A request to the control plane that did not succeed.

    kind: where it failed; `status` means that an HTTP answer came and was not the expected one; `foreign`, that
    the answer is not from a control plane but from a gateway, a portal or another product. Such an answer says nothing
    about a request, a token or a node, so it has no status here; `exposed`, that nothing was sent, because a secret
    would have left this node in clear.
    status: the HTTP status of the control plane's answer, or of a server error or `later` from a box on the path.
    retry_after_s: the value of `Retry-After`, seconds. by_control_plane: False where something on the path answered.
    decided: what is known of the answer, also of a stranger's. station: how far the request came, where that is known
    better than by the kind. The message never contains a bearer or a request's body.
    """

    def __init__(
        self,
        kind: ControlErrorKind,
        status: int | None,
        message: str,
        retry_after_s: float | None = None,
        *,
        by_control_plane: bool = True,
        decided: DeathFacts | None = None,
        station: str | None = None,
    ) -> None:
        super().__init__(message)
        self.station = station
        self.by_control_plane = by_control_plane
        self.kind: ControlErrorKind = kind
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s
        self.decided = decided or DeathFacts()


class NotHttpError(ControlError):
    """The server that answered does not speak HTTP; kind `protocol`."""

    def __init__(self, message: str) -> None:
        super().__init__("protocol", None, message)


class CredentialsError(Exception):
    """A credential cannot be saved at its place; the text says why and never shows it."""


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
        """The cluster that the node belongs to."""
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
        """When the maintenance ends by itself; None if it has no end, or if the value is not a time."""
        until = self.fields.get("maintenance_until_unix_ms")
        return until if isinstance(until, int) and not isinstance(until, bool) and 0 < until < 2**64 else None


@dataclass(frozen=True, slots=True)
class NodeList:
    """The answer of `GET nodes`."""

    schema_version: int
    nodes: tuple[NodeRecord, ...]


@dataclass(frozen=True, slots=True)
class Credential:
    """What a bootstrap token is exchanged for. `repr` hides the token."""

    mesh_token: "SecretStr"
    scope_id: str | None


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One HTTP answer. Header names are lower case; `body` is limited to the size that the caller set.

    cut: the body was longer. kept: it was made for an earlier request, so a cache on the way gave it. renamed: it names
    another request than the one that was sent.
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
    kept: bool = False
    renamed: bool = False
