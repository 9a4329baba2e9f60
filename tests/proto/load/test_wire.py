"""What asker and responder say about load: only who has the key is understood, and only once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.model.load import Counted, FlowKind
from preflight.proto.load import wire
from preflight.proto.load.wire import Amount, Grant, Report, Request

KEY, OTHER = b"a key that both have", b"a key of another one"
NONCE, NEXT = b"n" * wire.NONCE_BYTES, b"m" * wire.NONCE_BYTES
ASKED = Request("udp-down", Amount(7.5, 2**33, 123_456), b"o" * wire.NONCE_BYTES)
GIVEN = Grant(Amount(7.5, 2**33, 123_456), b"session!")
SAID = Report(Counted(10**10, 12, 3.25, 10**9, 2.5, 4), 10**11)


@pytest.mark.parametrize("kind", ["tcp-up", "tcp-down", "udp-up", "udp-down"])
def test_what_is_said_is_understood(kind: FlowKind) -> None:
    """Both ends mean the same."""
    asked = Request(kind, ASKED.amount, ASKED.nonce)
    assert wire.read_challenge(wire.challenge(NONCE)) == NONCE
    assert wire.read_request(wire.request(asked, NONCE, KEY), NONCE, KEY) == asked
    assert wire.read_grant(wire.grant(GIVEN, NONCE, KEY), NONCE, KEY) == GIVEN
    assert wire.read_report(wire.report(SAID, NONCE, KEY), NONCE, KEY) == SAID


def test_another_key_or_an_old_talk_is_not_understood() -> None:
    """A recorded request starts no flow, and nobody without the key does."""
    said = wire.request(ASKED, NONCE, KEY)
    assert wire.read_request(said, NEXT, KEY) is None
    assert wire.read_request(said, NONCE, OTHER) is None
    assert wire.read_grant(wire.grant(GIVEN, NONCE, KEY), NEXT, KEY) is None
    assert wire.read_report(wire.report(SAID, NONCE, KEY), NONCE, OTHER) is None


def test_one_message_is_not_taken_for_another() -> None:
    """A responder's own words, sent back to it, start nothing."""
    grant = wire.grant(GIVEN, NONCE, KEY)
    assert wire.read_request(grant.ljust(wire.REQUEST_BYTES, b"\0"), NONCE, KEY) is None
    assert wire.read_report(wire.request(ASKED, NONCE, KEY), NONCE, KEY) is None


@given(st.binary(max_size=200))
def test_no_bytes_break_a_reader(data: bytes) -> None:
    """Anyone can connect and say anything."""
    assert wire.read_request(data, NONCE, KEY) is None
    assert wire.read_grant(data, NONCE, KEY) is None
    assert wire.read_report(data, NONCE, KEY) is None
    assert not wire.is_of(GIVEN.session, data)


def test_a_responder_says_less_than_a_handshake_costs() -> None:
    """Protects others: without proof of the key nothing goes out but the challenge, on a connection that TCP proved."""
    assert wire.CHALLENGE_BYTES <= 20


def test_datagrams_have_their_size_and_their_session() -> None:
    """A flow's datagrams fit into a tunnel, and count for their own flow only."""
    data = wire.datagram(GIVEN.session, 2**40)
    assert len(data) == wire.DATAGRAM_BYTES
    assert wire.is_of(GIVEN.session, data)
    assert not wire.is_of(b"another!", data)
    assert len(wire.datagram(GIVEN.session, 0, 0)) < 30
