"""Results of TCP connections and TLS handshakes: plain data."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from preflight.model.host_port import join_host_port

ConnectFailure = Literal["refused", "timeout", "unreachable"]
ConnectOutcome = Literal["open"] | ConnectFailure
TransferOutcome = Literal["finished", "unfinished", "failed"] | ConnectFailure
HandshakeOutcome = (
    Literal["trusted", "expired", "not-yet-valid", "untrusted", "unfit", "name", "client-certificate", "reset"]
    | Literal["failed", "ca-file"]
    | ConnectFailure
)
"""untrusted: nobody whom a client trusts has signed the certificate. unfit: a client refuses it for what it is, such as
too short a key. ca-file: the file of trusted authorities cannot be used, so there was no handshake."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One attempt to connect to one address. elapsed_ms: until the outcome; detail: the system's error text.

    offender: who sent the ICMP error that ended it, as far as the kernel knows.
    """

    address: str
    port: int
    outcome: ConnectOutcome
    elapsed_ms: float
    detail: str = ""
    offender: str | None = None

    @property
    def family(self) -> str:
        """`IPv4` or `IPv6`."""
        return "IPv6" if ":" in self.address else "IPv4"

    @property
    def place(self) -> str:
        """Address and port, as a message names them."""
        return join_host_port(self.address, self.port)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server's certificate, accepted or not. `names`: its DNS names and addresses.

    subject_name, issuer_name: the common names, or all of the names where they have none. issuer_place: where it says
    that the certificate of its issuer is. key_id, issuer_key_id: of its own public key and of its issuer's, as it says.
    misplaced: addresses among its DNS names, where clients do not look for them.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    subject_name: str = ""
    issuer_name: str = ""
    issuer_place: str | None = None
    key_id: str | None = None
    issuer_key_id: str | None = None
    misplaced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Handshake:
    """One TLS handshake with one address.

    detail: the error text of OpenSSL or the system. reply: the answer to the bytes sent; from an unauthenticated peer
    if `outcome` is not `trusted`. chain: the certificates that the server sends, its own first. asks_certificate: the
    server asks for one of the client. authorities: what the file of trusted authorities holds, where `untrusted`.
    """

    address: str
    port: int
    outcome: HandshakeOutcome
    elapsed_ms: float
    detail: str = ""
    version: str | None = None
    certificate: Certificate | None = None
    reply: bytes = b""
    chain: tuple[Certificate, ...] = ()
    asks_certificate: bool = False
    authorities: tuple[Certificate, ...] = ()
    trust: str = ""
    trust_problem: str = ""

    @property
    def place(self) -> str:
        """Address and port, as a message names them."""
        return join_host_port(self.address, self.port)


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """The kernel's state of a connection (tcp(7), TCP_INFO): segments without their options, in bytes, and counts.

    snd_mss: the current size of segments. rcv_mss: the kernel's estimate of the largest received segment (536 at
    first). advmss: the size that this node advertised. pmtu: the kernel's path MTU. unacked, sacked, lost: segments in
    flight; retransmitted: total so far. timeouts: how often in a row the oldest of them was sent again. acked,
    received: bytes. out_of_order: segments that arrived after a gap.
    timestamps: both sides use the option, 12 bytes in each segment.
    """

    snd_mss: int
    rcv_mss: int
    advmss: int
    pmtu: int
    unacked: int
    sacked: int
    lost: int
    retransmitted: int
    timeouts: int
    acked: int
    received: int
    out_of_order: int
    rtt_us: int
    timestamps: bool


@dataclass(frozen=True, slots=True)
class Transfer:
    """One connection that sent a request of several segments.

    max_segment: TCP_MAXSEG, set before connecting, which bounds both directions; None: the kernel's own choice.
    outcome: `finished`: enough of an answer came, or all of it; `unfinished`: not in time; `failed`: TLS or the other
    side ended it; else no connection. sent: bytes of the request. info: at the end; None without a connection.
    probing: `net.ipv4.tcp_mtu_probing`, with which the kernel itself detects black holes (RFC 4821); 0 = off.
    """

    address: str
    port: int
    outcome: TransferOutcome
    sent: int
    max_segment: int | None = None
    info: TcpInfo | None = None
    detail: str = ""
    probing: int = 0

    @property
    def delivered(self) -> bool:
        """Whether the other side has acknowledged full segments (after those of the TLS handshake), or all of a shorter
        request.
        """
        return self.info is not None and self.info.acked >= min(self.sent, 2 * self.info.snd_mss)

    @property
    def stalled(self) -> bool:
        """Whether this node's full segments were retransmitted and none was acknowledged."""
        return self._unfinished_with(outstanding=True) and not self.delivered

    @property
    def waiting(self) -> bool:
        """Whether everything that this node sent was acknowledged, but no full segment came back in time."""
        return self._unfinished_with(outstanding=False) and not self.full_size_came

    def _unfinished_with(self, *, outstanding: bool) -> bool:
        info = self.info
        if info is None or self.outcome != "unfinished":
            return False
        return info.unacked > 0 and info.retransmitted > 0 if outstanding else info.unacked == 0

    @property
    def header_bytes(self) -> int:
        """The headers of IP and TCP including the options of each segment."""
        options = 12 if self.info and self.info.timestamps else 0
        return (40 if ":" in self.address else 20) + 20 + options

    @property
    def packet_bytes(self) -> int:
        """IP packets of full segments as this node sends them; 0 without a connection."""
        return self.info.snd_mss + self.header_bytes if self.info else 0

    @property
    def full_size(self) -> bool:
        """Whether the request was long enough for full segments."""
        return self.info is not None and self.sent >= 2 * self.info.snd_mss

    @property
    def full_size_came(self) -> bool:
        """Whether the other side sent segments as large as this node's own."""
        return self.info is not None and self.info.rcv_mss >= self.info.snd_mss


@dataclass(frozen=True, slots=True)
class OldTls:
    """The answer to a ClientHello that offers at most TLS 1.1. version: the accepted one; None: none.

    refused: the server refused or hung up; False with `version` None: it was silent or unreachable. connected: whether
    it took the connection.
    """

    address: str
    version: str | None = None
    refused: bool = False
    detail: str = ""
    connected: bool = True


@dataclass(frozen=True, slots=True)
class Interception:
    """An answer over HTTP in the place of an address that no host has. location: where it redirects to."""

    address: str
    device: str
    status: int
    location: str | None = None
