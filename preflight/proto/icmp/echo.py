"""ICMP and ICMPv6 echo without I/O: requests out, replies and errors about them in (RFC 792, RFC 4443 section 4).

The payload holds a token and a number: identifiers are only 16 bits wide, every program chooses its own, and the kernel
replaces them on ping sockets.
"""

import struct
from typing import Final, Literal, NamedTuple

Version = Literal[4, 6]

TOKEN_BYTES: Final = 4
PAYLOAD_BYTES: Final = 56
"""As ping sends: with headers a packet of 84 bytes over IPv4, 104 over IPv6."""

_HEADER = struct.Struct("!BBHHH4sI")  # type, code, checksum, identifier, sequence number; token, number
_QUOTED = struct.Struct("!BxxxHH")
_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}
_IP_HEADER_BYTES = {4: 20, 6: 40}
_DESTINATION = {4: slice(16, 20), 6: slice(24, 40)}

_REASONS: Final = {
    (4, 3, 0): "network unreachable",
    (4, 3, 1): "host unreachable",
    (4, 3, 2): "protocol unreachable",
    (4, 3, 3): "port unreachable",
    (4, 3, 4): "packet too big",
    (4, 3, 9): "network prohibited",
    (4, 3, 10): "host prohibited",
    (4, 3, 13): "administratively prohibited",
    (4, 11, 0): "TTL exceeded",
    (6, 1, 0): "no route",
    (6, 1, 1): "administratively prohibited",
    (6, 1, 3): "address unreachable",
    (6, 1, 4): "port unreachable",
    (6, 1, 5): "source address failed ingress policy",
    (6, 1, 6): "reject route",
    (6, 2, 0): "packet too big",
    (6, 3, 0): "hop limit exceeded",
}


class EchoError(NamedTuple):
    """An ICMP error about one of our requests.

    sequence: the request's sequence number, the low 16 bits of its number. destination: where it was sent, packed;
    empty where the message does not quote that. reason: in words.
    """

    sequence: int
    destination: bytes
    reason: str


class EchoCodec:
    """Builds the requests of one socket and reads what comes back to it.

    identifier: 16 bits; other programs use others. token: random, `TOKEN_BYTES` long.
    """

    def __init__(self, version: Version, identifier: int, token: bytes) -> None:
        self.version = version
        self._identifier = identifier
        self._token = token
        self._padding = bytes(range(PAYLOAD_BYTES - TOKEN_BYTES - 4))
        constant = _HEADER.pack(_REQUEST[version], 0, 0, identifier, 0, token, 0) + self._padding
        self._constant_sum = sum(struct.unpack(f"!{len(constant) // 2}H", constant))

    def request(self, number: int) -> bytes:
        """The request with a number below 2**32, checksum included (the kernel makes ICMPv6's, and ping sockets')."""
        low = number & 0xFFFF
        total = self._constant_sum + low + low + (number >> 16)  # RFC 1071: the sequence number is the low half, again
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        kind = _REQUEST[self.version]
        return _HEADER.pack(kind, 0, ~total & 0xFFFF, self._identifier, low, self._token, number) + self._padding

    def reply(self, message: bytes) -> int | None:
        """The number of our request that an ICMP message answers; None for everything else, our own requests too."""
        if len(message) < _HEADER.size or message[0] != _REPLY[self.version]:
            return None
        _, _, _, _, sequence, token, number = _HEADER.unpack_from(message)
        return number if token == self._token and sequence == number & 0xFFFF else None

    def error(self, message: bytes) -> EchoError | None:
        """What an ICMP error message says about a request of ours; None for every other message."""
        version = self.version
        inner_at = 8 + _IP_HEADER_BYTES[version]
        if len(message) < inner_at + _QUOTED.size:
            return None
        if (version == 4 and message[8] & 0x0F != 5) or message[0] in (_REQUEST[version], _REPLY[version]):
            return None
        kind, identifier, sequence = _QUOTED.unpack_from(message, inner_at)
        if kind != _REQUEST[version] or identifier != self._identifier:
            return None
        destination = message[8:inner_at][_DESTINATION[version]]
        return EchoError(sequence, destination, reason(version, message[0], message[1]))


def quoted_sequence(request: bytes) -> int | None:
    """The sequence number of a request as far as an error quotes it, from its ICMP header on."""
    return int(_QUOTED.unpack_from(request)[2]) if len(request) >= _QUOTED.size else None


def reason(version: Version, icmp_type: int, icmp_code: int) -> str:
    """What an ICMP error means, in words."""
    return _REASONS.get((version, icmp_type, icmp_code), f"ICMP type {icmp_type} code {icmp_code}")
