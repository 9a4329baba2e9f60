"""Path-MTU search by ICMP echo, without I/O: the peer's kernel replaces a responder.

An echo reply returns the request's data (RFC 792, RFC 4443 section 4.2), so it carries our probe with its token, number
and size. The search of `preflight.proto.pmtu.fast` runs unchanged on the replies. It measures the round trip only: a
missing large echo was lost on the way there, or its answer on the way back. The datagrams that this host reassembles
are the answers.
"""

import struct
from collections.abc import Callable
from dataclasses import replace

from preflight.model.event import Tell, silent
from preflight.model.pmtu import PathMtu
from preflight.proto.core import Core, Datagram, Received, Refusal
from preflight.proto.pmtu.exchange import Exchange
from preflight.proto.pmtu.fast import PathMtuSearch
from preflight.proto.pmtu.wire import Kind, Message, decode, encode, overhead

REQUESTS = {4: 8, 6: 128}
REPLIES = {4: 0, 6: 129}

_HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence number: as long as a UDP header


class EchoSearch(Core[PathMtu]):
    """One search with whole ICMP messages.

    address: the peer's. ceiling: MTU of the interface that leads there, bytes. token: eight random bytes. identifier:
    of the echoes; a ping socket puts its own in. ip_header: messages come in with their IPv4 header (raw sockets).
    reassembled: this host's count of reassembled datagrams; None = unknown.
    """

    def __init__(
        self,
        *,
        address: str,
        ceiling: int,
        token: bytes,
        identifier: int = 0,
        ip_header: bool = False,
        reassembled: Callable[[], int | None] = lambda: None,
        tell: Tell = silent,
    ) -> None:
        self._search = PathMtuSearch(Exchange("forward", address=address, ceiling=ceiling, token=token, tell=tell))
        self._version = 6 if ":" in address else 4
        self._overhead = overhead(address)
        self._identifier = identifier
        self._ip_header = ip_header
        self._reassembled = reassembled
        self._sent = 0

    @property
    def result(self) -> PathMtu | None:
        """What was found; packets of these sizes went there and came back."""
        return self._search.result

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """Echo requests that are due."""
        return [Datagram(self._request(datagram.data)) for datagram in self._search.datagrams_to_send(now)]

    def receive(self, received: Received, now: float) -> None:
        """Take an ICMP message; the search ignores everything except replies to its echoes."""
        data = self._answered(received.data)
        probe = decode(data) if data is not None else None
        if data is None or probe is None:
            return
        if probe.kind is Kind.HELLO:
            answer = Message(Kind.WELCOME, probe.token, probe.number, reassembled=self._reassembled())
        elif probe.kind is Kind.PROBE:
            size = len(data) + self._overhead
            answer = Message(Kind.ACK, probe.token, probe.number, size=size, reassembled=self._reassembled())
        else:
            return
        self._search.receive(Received(encode(answer)), now)

    def refused(self, refusal: Refusal, now: float) -> None:
        """Take "too big" errors, which quote a request from its ICMP header on; echoes have no port to be closed."""
        if refusal.too_big:
            self._search.refused(replace(refusal, quoted=refusal.quoted[_HEADER.size :]), now)

    def get_timer(self) -> float | None:
        """When the next echo is due, or the burst's time is up."""
        return self._search.get_timer()

    def handle_timer(self, now: float) -> None:
        """Judge the burst if its time is up."""
        self._search.handle_timer(now)

    def _request(self, data: bytes) -> bytes:
        """An echo request. The kernel fills in the checksum for ICMPv6 (RFC 3542 section 3.1), not for ICMP."""
        kind, sequence = REQUESTS[self._version], self._sent % 0x10000
        self._sent += 1
        checksum = 0
        if self._version == 4:
            checksum = _checksum(_HEADER.pack(kind, 0, 0, self._identifier, sequence) + data)
        return _HEADER.pack(kind, 0, checksum, self._identifier, sequence) + data

    def _answered(self, packet: bytes) -> bytes | None:
        """The data of an echo reply; a raw socket also shows other messages, our own requests on loopback too."""
        message = packet[(packet[0] & 0x0F) * 4 :] if self._ip_header and packet else packet
        if len(message) < _HEADER.size or message[0] != REPLIES[self._version]:
            return None
        return message[_HEADER.size :]


def _checksum(message: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = message + bytes(len(message) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
