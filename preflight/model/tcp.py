"""What TCP connections and TLS handshakes say: plain data."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

ConnectFailure = Literal["refused", "timeout", "unreachable"]
ConnectOutcome = Literal["open"] | ConnectFailure
HandshakeOutcome = Literal["trusted", "expired", "not-yet-valid", "untrusted", "name", "failed"] | ConnectFailure


@dataclass(frozen=True, slots=True)
class Connection:
    """One attempt to connect to one address. elapsed_ms: until the outcome; detail: the system's words for it."""

    address: str
    port: int
    outcome: ConnectOutcome
    elapsed_ms: float
    detail: str = ""

    @property
    def family(self) -> str:
        """`IPv4` or `IPv6`."""
        return "IPv6" if ":" in self.address else "IPv4"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server's own certificate, whether it was accepted or not. `names`: DNS names and addresses that it is for."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Handshake:
    """One TLS handshake with one address.

    detail: OpenSSL's or the system's words for a failure. reply: what came back for the bytes to be sent, headers of an
    unauthenticated peer if `outcome` is not `trusted`.
    """

    address: str
    port: int
    outcome: HandshakeOutcome
    elapsed_ms: float
    detail: str = ""
    version: str | None = None
    certificate: Certificate | None = None
    reply: bytes = b""
