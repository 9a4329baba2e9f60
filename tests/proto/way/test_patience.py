"""How long the answers to what a tunnel has sent may take."""

from dataclasses import replace

import pytest

from preflight.model.overlay import OverlayPeer
from preflight.model.tapped import IcmpError, TapPacket
from preflight.proto.way.patience import (
    DATA_S,
    HANDSHAKE_S,
    RETRY_S,
    error_s,
    has_called,
    last_data_ns,
    left_s,
    may_ask,
    next_look_s,
    refused,
    unanswered_for,
    until_asked,
)
from tests.proto.way.seeing import BEGAN_NS, HERE, PORT, ROUTER, THERE, THIRD, outer

TO = frozenset(((THERE, PORT),))


def error(destination: str) -> TapPacket:
    """A router's word about a packet to this address."""
    said = IcmpError(reason="port", source=HERE, destination=destination, destination_port=PORT, source_port=PORT)
    return TapPacket(received_ns=BEGAN_NS, device="eth0", outgoing=False, source=ROUTER, destination=HERE, error=said)


def at(seconds: float) -> int:
    """A moment after the begin."""
    return BEGAN_NS + round(seconds * 1e9)


def test_answers_have_time_from_the_first_packet_on() -> None:
    """Of data, if there is any: a busy tunnel sends all the time."""
    shake, data = outer("initiation", out=True, at_s=1.0), outer("data", out=True, at_s=2.0)
    assert unanswered_for([], at(3.0)) is None
    assert unanswered_for([outer("data", out=False), outer("keepalive", out=True)], at(3.0)) is None
    assert unanswered_for([shake], at(1.0)) == pytest.approx(HANDSHAKE_S)
    assert unanswered_for([shake, data, outer("data", out=True, at_s=2.5)], at(3.0)) == pytest.approx(DATA_S - 1.0)


def test_a_call_that_the_peer_s_crossed_is_no_try() -> None:
    """WireGuard forgets its own question when it answers another: that its answer is not taken proves nothing."""
    own = outer("initiation", out=True, at_s=1.0, sender=7)
    crossing = outer("initiation", out=False, at_s=1.05, sender=3)
    answer = outer("response", out=False, at_s=1.1, sender=9, receiver=7)
    assert unanswered_for([own, answer], at(1.2)) is not None
    assert unanswered_for([own, crossing], at(1.2)) is not None  # nothing answers: then the peer's call says nothing
    assert unanswered_for([own, crossing, answer], at(1.2)) is None
    assert unanswered_for([own, answer, replace(crossing, received_ns=at(1.2))], at(1.2)) is not None


def test_an_error_takes_no_longer_than_the_way_to_the_host() -> None:
    """Its echo shows how long that is; nobody waits longer than where it is not known."""
    assert error_s(None) == DATA_S
    assert error_s(0.005) < DATA_S / 3
    assert error_s(0.3) == DATA_S
    assert all(error_s(each) >= min(DATA_S, 4 * each) for each in (0.0, 0.05, 0.15, 0.6))


def test_a_handshake_of_its_own_is_due_five_seconds_after_the_last() -> None:
    """For a third of a second, at whichever end the last one began."""
    shakes = [outer("initiation", out=True, at_s=0.0), outer("response", out=True, at_s=1.0)]
    assert not may_ask([], at(9.0), heard=False)
    for heard in (False, True):
        assert [may_ask(shakes, at(each), heard=heard) for each in (5.9, 6.1, 6.7)] == [False, True, False]


def test_a_handshake_may_be_due_at_any_moment_after_a_call_that_no_tap_saw() -> None:
    """A peer that calls every five seconds has called before the tap was there: the gap must not pass unused."""
    peer = OverlayPeer(key="k", last_handshake_unix_s=0.0, rx_bytes=148)
    assert (has_called(peer), has_called(replace(peer, rx_bytes=0)), has_called(None)) == (True, False, False)
    assert may_ask([], at(0.5), heard=True)
    assert may_ask([outer("initiation", out=False, at_s=0.2)], at(0.5), heard=True)


def test_how_long_to_wait_at_least() -> None:
    """An answer has its time, also behind the usual end; without a call of our own the peer's calls say how long."""
    call, answer = outer("initiation", out=True, at_s=1.0), outer("response", out=True, at_s=1.0)
    for known in (False, True):
        assert left_s([call], at(1.5), known=known) == pytest.approx(HANDSHAKE_S - 0.5)
        assert left_s([call], at(9.0), known=known) == 0.0
    assert left_s([answer], at(1.5), known=True) == 0.0
    assert left_s([answer], at(1.5), known=False) == until_asked([answer], at(1.5)) > 0.0


def test_when_data_was_sent_last_to_the_peer() -> None:
    """Handshakes are repeated by the product itself, and what goes to others is not for the peer."""
    packets = [
        outer("initiation", out=True, at_s=4.0),
        outer("data", out=True, at_s=1.0),
        outer("data", out=True, at_s=2.0),
        outer("data", out=True, at_s=3.0, remote=(THIRD, PORT)),
    ]
    assert last_data_ns(packets, TO) == at(2.0)
    assert last_data_ns(packets, frozenset()) == at(3.0)
    assert last_data_ns(packets[:1], TO) is None


def test_who_refuses_what_was_sent_to_the_peer() -> None:
    """An error about it; not those about what went to others, nor what the peer sends."""
    assert refused([error(THERE)], TO)
    assert not refused([outer("data", out=True), outer("data", out=False), error(THIRD)], TO)
    assert refused([error(THIRD)], frozenset())


def test_an_answered_call_puts_off_this_node_s_own() -> None:
    """WireGuard asks again five seconds behind its answer, and the answer to that has its time."""
    call, answer = outer("initiation", out=False, at_s=1.0), outer("response", out=True, at_s=1.0)
    assert until_asked([call], at(2.0)) == 0.0
    assert until_asked([call, answer], at(2.0)) == pytest.approx(RETRY_S + HANDSHAKE_S - 1.0)
    assert until_asked([answer, outer("response", out=True, at_s=6.0)], at(6.0)) == pytest.approx(RETRY_S + HANDSHAKE_S)
    assert until_asked([call, answer], at(20.0)) == 0.0


def test_the_next_look_is_when_a_handshake_may_be_started() -> None:
    """A look that comes later may find that another call of the peer was answered, which puts it off again."""
    answer = outer("response", out=True, at_s=1.0)
    assert next_look_s([answer], at(2.0), 0.1) == 0.1
    assert next_look_s([answer], at(5.97), 0.1) == pytest.approx(0.03)
    assert next_look_s([answer], at(6.1), 0.1) == 0.1
    assert next_look_s([], at(6.1), 0.1) == 0.1
