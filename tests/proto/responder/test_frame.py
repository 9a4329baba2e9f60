"""Signatures and addresses of our datagrams."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.proto.responder.frame import MAC_BYTES, Head, is_signed, pack_address, signature, unpack_address

KEY, OTHER_KEY = b"0123456789abcdef", b"another key of 16"
LAYOUT = struct.Struct("!4s8s16s")
HEAD = Head(b"\xf9TST", LAYOUT)


def datagram(rest: bytes) -> bytes:
    """A datagram with this header, unsigned."""
    return LAYOUT.pack(b"\xf9TST", b"contents", bytes(MAC_BYTES)) + rest


@given(st.binary(max_size=100), st.data())
def test_every_bit_is_signed(rest: bytes, data: st.DataObject) -> None:
    """Protects against changes on the way, in the header and behind it, the signature itself included."""
    signed = HEAD.sign(datagram(rest), KEY)
    assert HEAD.accepts(signed, KEY)
    assert not HEAD.accepts(signed, OTHER_KEY)
    bit = data.draw(st.integers(0, 8 * len(signed) - 1))
    changed = bytearray(signed)
    changed[bit // 8] ^= 1 << bit % 8
    assert not HEAD.accepts(bytes(changed), KEY)


def test_without_a_key_only_the_form_counts() -> None:
    """Protects nodes without a shared key: they take what has the magic and the length, signed or not."""
    plain = HEAD.sign(datagram(b"rest"), None)
    assert plain == datagram(b"rest")
    assert HEAD.accepts(plain, None)
    assert HEAD.accepts(HEAD.sign(plain, KEY), None)
    assert not HEAD.accepts(plain, KEY)
    assert not HEAD.accepts(plain[: LAYOUT.size - 1], None)
    assert not HEAD.accepts(b"\xf8" + plain[1:], None)


def test_a_signature_is_rfc_2104_cut_to_128_bits() -> None:
    """Protects other implementations: HMAC-SHA-256 of RFC 4231's second test case."""
    assert signature(b"Jefe", b"what do ya want for nothing?").hex() == "5bdcc146bf60754e6a042426089575c7"
    assert is_signed(b"data", signature(KEY, b"data"), KEY)
    assert not is_signed(b"data", signature(KEY, b"data")[:-1], KEY)


@given(st.ip_addresses().filter(lambda address: address.version == 4 or address.ipv4_mapped is None))
def test_addresses_of_both_families_fit_in_16_bytes(address: object) -> None:
    """Protects what a peer reports about its hops and endpoints."""
    assert len(pack_address(str(address))) == 16
    assert unpack_address(pack_address(str(address))) == str(address)


@pytest.mark.parametrize("address", ["fe80::1%eth0", "fe80::1%wg-0.1"])
def test_a_zone_is_left_out(address: str) -> None:
    """Protects peers from the names of this node's interfaces."""
    assert unpack_address(pack_address(address)) == "fe80::1"
