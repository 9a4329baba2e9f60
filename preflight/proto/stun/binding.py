"""STUN Binding (RFC 8489): what both sides need of it, around aioice's codec.

The server's side answers only requests that are at least as long as its answer: a forged source never gets more than
was sent in its name. A SOFTWARE attribute pads the requests of this module. With a key both carry a
MESSAGE-INTEGRITY (section 14.5) with the shared key as password. The codec is imported when first used.
"""

import struct
from typing import TYPE_CHECKING

from preflight.model.host_port import split_host_port

if TYPE_CHECKING:
    from aioice.stun import Message

COOKIE = b"\x21\x12\xa4\x42"
BINDING = 0x0001
TRANSACTION_BYTES = 12
DEFAULT_PORT = 3478
SOFTWARE = "preflight diagnostics"
"""21 letters: the padded attribute makes a request of 48 bytes, 80 with integrity; the longest answers have 44, 76."""
LONGEST = 548
"""Largest message: it fits the smallest IPv4 packet that every host takes (RFC 8489 section 6.1)."""

Endpoint = tuple[str, int]


class StunError(ValueError):
    """The server answered, but not with an address; the text says why."""


def read_server(text: str) -> Endpoint:
    """Host and port of `HOST`, `HOST:PORT`, `[V6]` or `[V6]:PORT`. Raises ValueError."""
    try:
        host, port = split_host_port(text, DEFAULT_PORT)
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"{text!r} is not HOST[:PORT], as stun.example.net:3478 or [2001:db8::1]:3478")
    return host, port


def magics() -> list[bytes]:
    """The first four bytes of Binding requests that may be answered, of each length; then comes `COOKIE`."""
    return [struct.pack("!HH", BINDING, length) for length in range(12, LONGEST - 20, 4)]


def request(transaction: bytes, key: bytes | None = None) -> bytes:
    """A Binding request."""
    from preflight import stun_codec as stun

    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, transaction, {"SOFTWARE": SOFTWARE})
    if key is not None:
        message.add_message_integrity(key)
    return bytes(message)


def answer(data: bytes, source: Endpoint, key: bytes | None = None, *, signed_only: bool = False) -> bytes | None:
    """The answer to a Binding request from `source`; None for what must be dropped.

    key: a request with MESSAGE-INTEGRITY must fit it, and gets an answer with it. signed_only: others get none.
    """
    from preflight import stun_codec as stun

    message = _parse(data)
    if message is None or (message.message_method, message.message_class) != (stun.Method.BINDING, stun.Class.REQUEST):
        return None
    signed = "MESSAGE-INTEGRITY" in message.attributes
    if (signed and (key is None or not message.check_message_integrity(key))) or (signed_only and not signed):
        return None
    mapped = (source[0].partition("%")[0], source[1])
    response = stun.Message(
        stun.Method.BINDING, stun.Class.RESPONSE, message.transaction_id, {"XOR-MAPPED-ADDRESS": mapped}
    )
    if signed and key is not None:
        response.add_message_integrity(key)
    packed = bytes(response)
    return packed if len(packed) <= len(data) else None


def mapped_address(data: bytes, transaction: bytes, key: bytes | None = None) -> Endpoint | None:
    """Where the server saw the request come from; None if this does not answer it, or with a key is not signed.

    Raises StunError for an error answer (section 14.8), with its code and words, and for one without an address.
    """
    from preflight import stun_codec as stun

    message = _parse(data)
    if message is None or message.transaction_id != transaction or message.message_method != stun.Method.BINDING:
        return None
    if key is not None and not message.check_message_integrity(key):
        return None
    if message.message_class == stun.Class.ERROR:
        code, words = message.attributes.get("ERROR-CODE", (0, "no code"))
        raise StunError(f"{code} {words[:80]}".strip())
    if message.message_class != stun.Class.RESPONSE:
        return None
    found = message.attributes.get("XOR-MAPPED-ADDRESS") or message.attributes.get("MAPPED-ADDRESS")
    if found is None:
        raise StunError("the answer has no mapped address")
    return str(found[0]), int(found[1])


def _parse(data: bytes) -> "Message | None":
    """A message; None for anything else. The codec checks neither the cookie nor the length of short attributes."""
    from preflight import stun_codec as stun

    if data[4:8] != COOKIE or data[0] & 0xC0 or len(data) > LONGEST:
        return None
    try:
        return stun.parse_message(data)
    except (ValueError, IndexError, struct.error):
        return None
