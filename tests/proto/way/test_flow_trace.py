"""A trace along one flow: waves, hops, and its end; without sockets."""

import struct
from dataclasses import replace

import pytest

from preflight.model.flow import Flow
from preflight.model.icmp import Trace
from preflight.proto.core import Datagram, Received
from preflight.proto.way.flow_trace import NEXT_S, ROUND_TRIPS, WAIT_S, FlowTrace
from tests.proto.way.test_outer_packets import ECHO, FLOW, SIX, error_about

TTL = {False: 8, True: 7}


def run(flow: Flow, routers: list[str | None], *, end: str = "silent", first: int = 1) -> tuple[Trace, int]:
    """A trace through routers, of whom None does not answer. end: what the destination does: silent, port, reply."""
    core, now, sent = FlowTrace(flow, identifier=9, first=first), 0.0, 0
    while core.get_timer() is not None:
        for datagram in core.datagrams_to_send(now):
            sent += 1
            core.sent(datagram, now)
            if (answer := _answer(flow, datagram, routers, end)) is not None:
                core.receive(answer, now + 0.01)
        now += 0.5
        core.handle_timer(now)
    assert core.result is not None
    return core.result, sent


def _answer(flow: Flow, datagram: Datagram, routers: list[str | None], end: str) -> Received | None:
    ttl = datagram.data[TTL[flow.is_ipv6]]
    expired, closed = ((3, 0), (1, 4)) if flow.is_ipv6 else ((11, 0), (3, 3))
    if ttl <= len(routers):
        router = routers[ttl - 1]
        return Received(error_about(datagram.data, *expired), (router, 0)) if router else None
    if end == "port":
        return Received(error_about(datagram.data, *closed), (flow.destination, 0))
    if end == "reply":
        reply = struct.pack("!BBHHH", 0, 0, 0, 9, ttl)
        return Received(bytes((0x45, *bytes(19))) + reply, (flow.destination, 0))
    return None


@pytest.mark.parametrize("flow", [FLOW, SIX])
def test_hops_in_their_order_and_silence_behind_them(flow: Flow) -> None:
    """A silent wave ends it, so that a dead end costs one wait."""
    routers = ["fd01::1", "fd02::1"] if flow.is_ipv6 else ["10.0.0.1", "10.0.1.1"]
    trace, sent = run(flow, [*routers])
    assert [hop.address for hop in trace.hops] == routers
    assert (trace.reached, sent) == (False, 8)


def test_a_gap_stays_a_gap_and_the_destination_ends_it() -> None:
    """A router that does not answer is not left out; nobody is asked behind the destination."""
    trace, sent = run(FLOW, ["10.0.0.1", None, "10.0.2.1", "10.0.3.1"], end="port")
    assert [hop.address for hop in trace.hops] == ["10.0.0.1", None, "10.0.2.1", "10.0.3.1", FLOW.destination]
    assert (trace.reached, sent) == (True, 8)


def test_echoes_are_answered_by_replies() -> None:
    """Where UDP is filtered, echoes still show how far this node gets."""
    trace, _ = run(ECHO, ["10.0.0.1"], end="reply")
    assert [(hop.address, hop.reached) for hop in trace.hops] == [("10.0.0.1", False), (FLOW.destination, True)]


def test_it_never_sends_more_than_its_most() -> None:
    """Three traces of a run stay within 30 packets."""
    trace, sent = run(FLOW, [f"10.0.{number}.1" for number in range(30)])
    assert (len(trace.hops), sent) == (8, 8)


def test_a_second_look_begins_where_it_is_told() -> None:
    """The hops before are known, and their routers need not answer again."""
    trace, sent = run(FLOW, [f"10.0.{number}.1" for number in range(30)], first=7)
    assert ([(hop.ttl, hop.address) for hop in trace.hops], sent) == ([(7, "10.0.6.1"), (8, "10.0.7.1")], 2)


def test_each_probe_keeps_the_flow_s_ports_and_has_its_own_length() -> None:
    """Routers that share load by ports send all of them the flow's way."""
    core = FlowTrace(FLOW)
    probes = core.datagrams_to_send(0.0)
    assert {datagram.data[20:24] for datagram in probes} == {struct.pack("!HH", 51820, 4500)}
    assert [len(datagram.data) - 28 for datagram in probes] == [1, 2, 3, 4]
    assert core.datagrams_to_send(0.1) == []


def test_errors_about_other_flows_are_ignored() -> None:
    """A raw socket hears every error that comes to this machine."""
    core = FlowTrace(FLOW)
    (first, *_) = core.datagrams_to_send(0.0)
    foreign = FlowTrace(replace(FLOW, source_port=1)).datagrams_to_send(0.0)[0]
    core.receive(Received(error_about(foreign.data, 11, 0), ("10.0.0.1", 0)), 0.1)
    core.receive(Received(b"", ("10.0.0.1", 0)), 0.1)
    core.receive(Received(error_about(first.data, 11, 0), ("10.0.0.9", 0)), 0.2)
    core.handle_timer(1.0)
    core.datagrams_to_send(1.0)
    core.handle_timer(2.0)
    core.datagrams_to_send(2.0)
    assert core.result is not None
    assert [hop.address for hop in core.result.hops] == ["10.0.0.9"]


def test_what_this_node_refuses_to_send_is_said() -> None:
    """Its filter, or no route: the trace is over, and says why."""
    core = FlowTrace(FLOW)
    (first, *_) = core.datagrams_to_send(0.0)
    core.unsent(first, OSError(1, "Operation not permitted"), 0.0)
    core.datagrams_to_send(0.0)
    assert core.result is not None
    assert core.result.error == "Operation not permitted"


def test_the_next_wave_leaves_beside_the_one_before() -> None:
    """A router that is heard shows that the trace gets on; what answers the first wave later counts nevertheless."""
    core = FlowTrace(FLOW)
    first = core.datagrams_to_send(0.0)
    core.receive(_heard(first[0], "10.0.0.1"), 0.01)
    assert core.get_timer() == NEXT_S
    core.handle_timer(NEXT_S)
    assert len(core.datagrams_to_send(NEXT_S)) == len(first)
    core.receive(_heard(first[1], "10.0.1.1"), NEXT_S + 0.1)
    core.handle_timer(NEXT_S + WAIT_S)
    core.datagrams_to_send(NEXT_S + WAIT_S)
    assert core.result is not None
    assert [hop.address for hop in core.result.hops] == ["10.0.0.1", "10.0.1.1"]


def test_a_silent_wave_is_waited_for_to_the_end() -> None:
    """A router of a slow path has its time."""
    core = FlowTrace(FLOW)
    core.datagrams_to_send(0.0)
    assert core.get_timer() == WAIT_S


def test_nobody_looks_behind_a_destination_that_another_flow_has_reached() -> None:
    """Silence from there on is the destination's, and a round trip to it is known."""
    core = FlowTrace(FLOW)
    first = core.datagrams_to_send(0.0)
    core.receive(_heard(first[0], "10.0.0.1"), 0.01)
    core.is_there(2, 100.0)
    assert core.get_timer() == ROUND_TRIPS * 0.1
    core.receive(_heard(first[1], "10.0.1.1"), 0.3)
    core.handle_timer(ROUND_TRIPS * 0.1)
    assert core.datagrams_to_send(ROUND_TRIPS * 0.1) == []
    assert core.result is not None
    assert [hop.address for hop in core.result.hops] == ["10.0.0.1", "10.0.1.1"]


def test_a_destination_further_away_than_the_probes_so_far_is_still_looked_for() -> None:
    """They have not got that far."""
    core = FlowTrace(FLOW)
    first = core.datagrams_to_send(0.0)
    core.receive(_heard(first[0], "10.0.0.1"), 0.01)
    core.is_there(len(first) + 1, 1.0)
    core.handle_timer(NEXT_S)
    assert len(core.datagrams_to_send(NEXT_S)) == len(first)


def _heard(datagram: Datagram, router: str) -> Received:
    return Received(error_about(datagram.data, 11, 0), (router, 0))
