"""A closed port, by function call: only the host's own answer counts."""

import errno

from preflight.model.event import Event, telling
from preflight.proto.core import ORIGIN_ICMP, Datagram, Received, Refusal
from preflight.proto.icmp.closed_port import ClosedPort


def started(events: list[Event] | None = None) -> ClosedPort:
    """A question that has been sent."""
    tell = telling(events.append if events is not None else None, "icmp.closed_port")
    core = ClosedPort(1.0, 0.5, tell)
    assert [datagram.data for datagram in core.datagrams_to_send(1.0)] == [b""]
    assert core.datagrams_to_send(1.1) == []
    return core


def test_port_unreachable_is_proof() -> None:
    """The host answered: it is there, and nobody listens."""
    events: list[Event] = []
    core = started(events)
    core.refused(Refusal(errno.ECONNREFUSED, ORIGIN_ICMP, 3, 3, offender="10.66.0.2"), 1.1)
    assert (core.result, core.get_timer()) == (True, None)
    assert [(event.name, event.fields["closed"]) for event in events] == [("concluded", True)]


def test_anything_else_proves_nothing() -> None:
    """Another error, an answer, and silence: the port is not proven closed."""
    unreachable, answered, silent = started(), started(), started()
    unreachable.refused(Refusal(errno.EHOSTUNREACH, ORIGIN_ICMP, 3, 1, offender="192.0.2.1"), 1.1)
    answered.receive(Received(b"hello"), 1.1)
    silent.handle_timer(1.4)
    assert silent.get_timer() == 1.5
    silent.handle_timer(1.5)
    unsent = started()
    unsent.unsent(Datagram(b""), PermissionError(), 1.1)
    cores = (unreachable, answered, silent, unsent)
    assert [core.result for core in cores] == [False, False, False, False]
    assert [core.otherwise for core in cores] == ["silent", "open", "silent", "unsent"]
