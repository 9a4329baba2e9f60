"""A TLS ClientHello that offers no version above 1.1, and what answers it: bytes in, bytes out.

Written out by hand, because today's TLS libraries refuse to offer old versions. Nothing follows the answer, so no
session begins.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

RANDOM_BYTES = 32
VERSIONS = {(3, 0): "SSL 3.0", (3, 1): "TLS 1.0", (3, 2): "TLS 1.1", (3, 3): "TLS 1.2"}
_HANDSHAKE, _ALERT = 22, 21
_CLIENT_HELLO, _SERVER_HELLO = 1, 2
_FATAL = 2
_ALERTS = {40: "handshake_failure", 47: "illegal_parameter", 70: "protocol_version", 71: "insufficient_security"}
_SUITES = (0xC009, 0xC00A, 0xC013, 0xC014, 0x0033, 0x0039, 0x002F, 0x0035, 0x000A, 0x00FF)
"""AES and 3DES in CBC mode with SHA-1, by ECDHE, DHE and RSA; and the signal that renegotiation is safe (RFC 5746)."""
_GROUPS = (0x0017, 0x0018, 0x0019)


@dataclass(frozen=True, slots=True)
class HelloAnswer:
    """version: what the server chose; None: it refused, for the reason in `detail`."""

    version: str | None
    detail: str = ""


def client_hello(server_name: str, random: bytes) -> bytes:
    """The record (RFC 4346 section 7.4.1.2) with the name in it (RFC 6066 section 3) unless it is an address."""
    suites = b"".join(struct.pack("!H", suite) for suite in _SUITES)
    groups = b"".join(struct.pack("!H", group) for group in _GROUPS)
    extensions = _server_name(server_name) + _extension(10, _vector(groups, 2)) + _extension(11, _vector(b"\0", 1))
    body = b"\x03\x02" + random + _vector(b"", 1) + _vector(suites, 2) + _vector(b"\0", 1) + _vector(extensions, 2)
    message = bytes([_CLIENT_HELLO]) + _vector(body, 3)
    return bytes([_HANDSHAKE]) + b"\x03\x01" + _vector(message, 2)


def answer_to(data: bytes) -> HelloAnswer | None:
    """What the first bytes of the answer say; None: not enough of them yet."""
    for kind, payload in _records(data):
        if kind == _HANDSHAKE and len(payload) >= 6 and payload[0] == _SERVER_HELLO:
            version = payload[4], payload[5]
            return HelloAnswer(VERSIONS.get(version, f"version {version[0]}.{version[1]}"))
        if kind == _ALERT and len(payload) >= 2:
            if payload[0] != _FATAL:
                continue  # a warning, as about a name that it does not know, goes before the answer
            return HelloAnswer(None, _ALERTS.get(payload[1], f"alert {payload[1]}"))
        if kind not in (_HANDSHAKE, _ALERT):
            return HelloAnswer(None, "no TLS")
    return None


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and payload of each record, whole ones and the beginning of the last."""
    while len(data) >= 5:
        length = int.from_bytes(data[3:5])
        yield data[0], data[5 : 5 + length]
        data = data[5 + length :]


def _server_name(name: str) -> bytes:
    try:
        ip_address(name)
    except ValueError:
        return _extension(0, _vector(b"\0" + _vector(name.encode("ascii"), 2), 2))
    return b""


def _extension(kind: int, data: bytes) -> bytes:
    return struct.pack("!H", kind) + _vector(data, 2)


def _vector(data: bytes, length_bytes: int) -> bytes:
    return len(data).to_bytes(length_bytes) + data
