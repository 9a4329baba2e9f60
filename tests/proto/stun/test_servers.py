"""Asking STUN servers: datagrams between the core and our own codec's server side, by function call."""

import errno
from collections.abc import Callable

import pytest

from preflight.model.event import Event, telling
from preflight.model.stun import StunAnswer
from preflight.proto.core import ORIGIN_ICMP, Datagram, Received, Refusal
from preflight.proto.stun import binding as stun
from preflight.proto.stun.servers import RTO_S, Asked, StunQuestions

KEY = b"0123456789abcdef"
SEEN = ("203.0.113.5", 4000)
ONE, OTHER = ("192.0.2.1", 3478), ("192.0.2.2", 3478)
Answer = Callable[[StunQuestions, Datagram, float], None]


def asked(place: tuple[str, int], number: int = 0) -> Asked:
    """A server that nobody has asked yet."""
    return Asked(bytes([number]) * 12, place, StunAnswer(f"{place[0]}:{place[1]}", place[0]))


def run(core: StunQuestions, answer: Answer) -> tuple[list[StunAnswer], list[float]]:
    """Until it is over: what was learnt, and when something was sent."""
    now, times = 10.0, []
    while (timer := core.get_timer()) is not None:
        now = max(now, timer)
        core.handle_timer(now)
        for datagram in core.datagrams_to_send(now):
            times.append(now)
            answer(core, datagram, now)
        core.handle_timer(now)
    return list(core.result or ()), times


def honest(core: StunQuestions, datagram: Datagram, now: float) -> None:
    """A server that answers."""
    data = stun.answer(datagram.data, SEEN, KEY)
    assert data is not None
    assert datagram.to is not None
    core.receive(Received(data, datagram.to), now + 0.02)


@pytest.mark.parametrize("key", [None, KEY])
def test_an_answer_ends_it(key: bytes | None) -> None:
    """One request, one round trip, signed or not."""
    (found,), times = run(StunQuestions([asked(ONE)], key), honest)
    assert (found.mapped, found.rtt_ms, found.why) == ("203.0.113.5:4000", 20.0, None)
    assert times == [10.0]


def test_silence_is_asked_again_and_then_reported() -> None:
    """One lost datagram is not a blocked network; three without an answer are silence, after three seconds."""
    (found,), times = run(StunQuestions([asked(ONE)]), lambda core, datagram, now: None)
    assert (found.mapped, found.why) == (None, "silent")
    assert times == [10.0, 10.0 + RTO_S[0], 10.0 + RTO_S[0] + RTO_S[1]]


def test_only_the_server_itself_may_answer() -> None:
    """An answer from elsewhere says nothing about the way to the server; each server has its own transaction."""

    def from_the_other(core: StunQuestions, datagram: Datagram, now: float) -> None:
        data = stun.answer(datagram.data, SEEN)
        assert data is not None
        core.receive(Received(data, OTHER if datagram.to == ONE else ONE), now)

    found, _ = run(StunQuestions([asked(ONE, 1), asked(OTHER, 2)]), from_the_other)
    assert [each.why for each in found] == ["silent", "silent"]
    assert found[0].rejected == {"foreign": len(RTO_S)}


def test_what_is_no_answer_has_a_reason() -> None:
    """An echo of the request, and an answer without the signature that this node asks for, are distinguished."""

    def badly(core: StunQuestions, datagram: Datagram, now: float) -> None:
        core.receive(Received(datagram.data, ONE), now)
        unsigned = stun.answer(stun.request(bytes(12)), SEEN)
        assert unsigned is not None
        core.receive(Received(unsigned, ONE), now)

    (found,), _ = run(StunQuestions([asked(ONE)], KEY), badly)
    assert found.rejected == {"echoed": 3, "unsigned": 3}


def test_a_closed_port_and_a_refusal_of_this_host() -> None:
    """Both end the question at once; an ICMP error about another server's port does not."""

    def refuse(core: StunQuestions, datagram: Datagram, now: float) -> None:
        if datagram.to == OTHER:
            core.unsent(datagram, OSError(errno.EPERM, "Operation not permitted"), now)
        else:
            wrong = Refusal(errno.ECONNREFUSED, ORIGIN_ICMP, 3, 3, destination=(ONE[0], 9), offender=ONE[0])
            core.refused(wrong, now)
            right = Refusal(errno.ECONNREFUSED, ORIGIN_ICMP, 3, 3, destination=ONE, offender=ONE[0])
            core.refused(right, now)

    (closed, unsent), times = run(StunQuestions([asked(ONE, 1), asked(OTHER, 2)]), refuse)
    assert (closed.why, unsent.why, unsent.detail) == ("closed", "no-route", "EPERM")
    assert times == [10.0, 10.0]


def test_it_tells_what_it_asks_and_hears() -> None:
    """The timeline names each server, and what it saw."""
    events: list[Event] = []
    run(StunQuestions([asked(ONE)], None, telling(events.append, "stun.servers")), honest)
    assert [event.name for event in events] == ["asked", "answered", "concluded"]
    assert events[1].fields["mapped"] == "203.0.113.5:4000"
