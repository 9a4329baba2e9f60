"""Path-MTU search by ICMP echo, without I/O: the peer's kernel stands in for a responder.

An echo reply returns the request's data (RFC 792, RFC 4443 section 4.2), and so our probe with its token, number and
size: the search of `preflight.proto.pmtu.fast` runs unchanged on what comes back. It tells the round trip only: a large
echo that stays away was lost on the way there, or its answer was on the way back. What this host counts as put
together from fragments are the answers.
"""

import struct

from preflight.model.pmtu import PathMtu
from preflight.proto.pmtu.fast import PathMtuSearch
from preflight.proto.pmtu.wire import Kind, Message, decode, encode, overhead

REQUESTS = {4: 8, 6: 128}
REPLIES = {4: 0, 6: 129}

_HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence number: as long as a UDP header


class EchoSearch:
    """One search, driven as `preflight.proto.pmtu.fast.Search` says, with whole ICMP messages.

    address: the peer's. ceiling: MTU of the interface that leads there, bytes. token: eight random bytes. identifier:
    of the echoes; a ping socket puts its own in. ip_header: messages come in with their IPv4 header (raw sockets).
    """

    counts_here = True

    def __init__(self, *, address: str, ceiling: int, token: bytes, identifier: int = 0, ip_header: bool = False):
        self._search = PathMtuSearch("forward", address=address, ceiling=ceiling, token=token)
        self._version = 6 if ":" in address else 4
        self._overhead = overhead(address)
        self._identifier = identifier
        self._ip_header = ip_header
        self._sent = 0

    @property
    def result(self) -> PathMtu | None:
        """What was found; its sizes were sent from here and came back."""
        return self._search.result

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """Echo requests that are due."""
        return [self._request(data) for data in self._search.datagrams_to_send(now)]

    def receive(self, packet: bytes, now: float, reassembled: int | None = None) -> None:
        """Take an ICMP message from the peer; whatever is no answer to an echo of this search is ignored."""
        data = self._answered(packet)
        probe = decode(data) if data is not None else None
        if data is None or probe is None:
            return
        if probe.kind is Kind.HELLO:
            answer = Message(Kind.WELCOME, probe.token, probe.number, reassembled=reassembled)
        elif probe.kind is Kind.PROBE:
            size = len(data) + self._overhead
            answer = Message(Kind.ACK, probe.token, probe.number, size=size, reassembled=reassembled)
        else:
            return
        self._search.receive(encode(answer), now)

    def icmp_too_big(self, quoted: bytes, mtu: int, source: str) -> None:
        """Take an ICMP "too big" that quotes a request of ours from its ICMP header on."""
        self._search.icmp_too_big(quoted[_HEADER.size :], mtu, source)

    def too_big_here(self, mtu: int) -> None:
        """This node's own interface refuses packets above `mtu`."""
        self._search.too_big_here(mtu)

    def refused(self, now: float) -> None:
        """Echoes have no port that could be closed: such an error is not about them."""

    def get_timer(self) -> float | None:
        """When to call `datagrams_to_send` or `handle_timer` next; None when the search is over."""
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
