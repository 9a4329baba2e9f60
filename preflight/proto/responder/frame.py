"""What our UDP datagrams share: a magic, a signature by the shared key, and addresses of both families in 16 bytes."""

import hmac
import struct
from ipaddress import IPv6Address, ip_address

MAC_BYTES = 16
NO_MAC = bytes(MAC_BYTES)
LEAST_KEY_BYTES = 16


def shared_key(content: bytes) -> bytes:
    """The key in a file's content: without the trailing newline. Raises ValueError if it is too short."""
    key = content.removesuffix(b"\n").removesuffix(b"\r")
    if len(key) < LEAST_KEY_BYTES:
        raise ValueError(f"holds {len(key)} bytes, at least {LEAST_KEY_BYTES} are needed")
    return key


def signature(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256, cut to 128 bits."""
    return hmac.digest(key, data, "sha256")[:MAC_BYTES]


def is_signed(data: bytes, mac: bytes, key: bytes) -> bool:
    """Whether `mac` is the signature of `data`; takes equally long in both cases."""
    return hmac.compare_digest(mac, signature(key, data))


class Head:
    """A header that begins with a magic of four bytes and ends with the signature of the whole datagram.

    The signature covers all bytes before and after it, and zeros in its place. layout: of the whole header.
    """

    def __init__(self, magic: bytes, layout: struct.Struct) -> None:
        self._magic = magic
        self._end = layout.size
        self._start = layout.size - MAC_BYTES

    def sign(self, data: bytes, key: bytes | None) -> bytes:
        """The datagram with its signature; unchanged without a key."""
        return data if key is None else data[: self._start] + self._mac(data, key) + data[self._end :]

    def accepts(self, data: bytes, key: bytes | None) -> bool:
        """Whether a datagram has this header, and with a key the right signature."""
        if len(data) < self._end or not data.startswith(self._magic):
            return False
        return key is None or hmac.compare_digest(data[self._start : self._end], self._mac(data, key))

    def _mac(self, data: bytes, key: bytes) -> bytes:
        return signature(key, data[: self._start] + NO_MAC + data[self._end :])


def pack_address(address: str) -> bytes:
    """Sixteen bytes; IPv4 as an IPv4-mapped address (RFC 4291 section 2.5.5.2). A zone is left out."""
    packed = ip_address(address.partition("%")[0]).packed
    return packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed


def unpack_address(packed: bytes) -> str:
    """The address in sixteen bytes."""
    address = IPv6Address(packed)
    return str(address.ipv4_mapped or address)
