"""Traceroute against simulated paths: every ICMP error is moved by function call."""

import errno
from dataclasses import dataclass, field

from preflight.model.event import Event, telling
from preflight.model.icmp import Trace
from preflight.proto.core import ORIGIN_ICMP, ORIGIN_LOCAL, Refusal
from preflight.proto.icmp.traceroute import FIRST_PORT, WAVE, Traceroute

HERE, THERE = "10.66.0.1", "10.66.0.9"


@dataclass
class Path:
    """Routers 1 to `length` - 1, then the destination. silent: distances without an answer. prohibits: its firewall."""

    length: int
    silent: frozenset[int] = frozenset()
    prohibits: bool = False
    no_route_at: int = 0
    now: float = 5.0
    waves: list[int] = field(default_factory=list)

    def trace(self, core: Traceroute) -> Trace:
        """Run it completely, in simulated time."""
        while (timer := core.get_timer()) is not None:
            self.now = max(self.now, timer)
            core.handle_timer(self.now)
            wave = list(core.datagrams_to_send(self.now))
            if wave:
                self.waves.append(len(wave))
            for datagram in wave:
                assert datagram.ttl is not None
                host = min(datagram.ttl, self.length)
                if host not in self.silent:
                    core.refused(self.error(host, (THERE, FIRST_PORT + datagram.ttl)), self.now + 0.01 * host)
        assert core.result is not None
        return core.result

    def error(self, host: int, destination: tuple[str, int]) -> Refusal:
        """What the host at this distance answers."""
        if host == self.no_route_at:
            return Refusal(errno.EHOSTUNREACH, ORIGIN_ICMP, 3, 1, destination=destination, offender=f"192.0.2.{host}")
        if host < self.length:
            return Refusal(errno.EHOSTUNREACH, ORIGIN_ICMP, 11, 0, destination=destination, offender=f"192.0.2.{host}")
        code = 10 if self.prohibits else 3
        return Refusal(errno.ECONNREFUSED, ORIGIN_ICMP, 3, code, destination=destination, offender=THERE)


def started(max_hops: int = 12) -> Traceroute:
    """A trace to the destination."""
    return Traceroute(THERE, max_hops=max_hops, timeout_s=1.0)


def test_each_hop_by_its_distance() -> None:
    """The port in the quoted packet shows the distance; behind the destination nothing is shown."""
    found = Path(6).trace(started())
    assert [hop.address for hop in found.hops] == [*(f"192.0.2.{n}" for n in range(1, 6)), THERE]
    assert (found.reached, found.distance, found.error) == (True, 6, None)
    assert [round(hop.rtt_ms or 0) for hop in found.hops] == [10, 20, 30, 40, 50, 60]


def test_a_destination_that_prohibits_is_reached() -> None:
    """A firewall may answer for the closed port: the address is still the destination's."""
    (hop,) = Path(1, prohibits=True).trace(started()).hops
    assert (hop.address, hop.reached) == (THERE, True)


def test_a_router_without_a_route_is_the_end() -> None:
    """The trace shows how far packets get, and does not probe on."""
    path = Path(9, no_route_at=2)
    found = path.trace(started())
    assert ([hop.address for hop in found.hops], found.reached) == (["192.0.2.1", "192.0.2.2"], False)
    assert path.waves == [WAVE]


def test_gaps_are_shown_and_a_silent_wave_is_the_last() -> None:
    """A router that answers nothing leaves a gap; after a wave without any answer nobody is asked any more."""
    assert [hop.address for hop in Path(3, silent=frozenset({2})).trace(started()).hops] == ["192.0.2.1", None, THERE]
    path = Path(20, silent=frozenset(range(3, 21)))
    found = path.trace(started(20))
    assert (len(found.hops), path.waves) == (2, [WAVE, WAVE])


def test_the_bound_is_kept() -> None:
    """No more hops than asked for."""
    path = Path(50)
    assert len(path.trace(started(6)).hops) == 6
    assert path.waves == [4, 2]


def test_what_this_host_refuses_is_said() -> None:
    """A packet that could not leave does not show a silent hop."""
    core = started()
    (first, *_) = core.datagrams_to_send(1.0)
    core.unsent(first, OSError(errno.EPERM, "Operation not permitted"), 1.0)
    core.handle_timer(3.0)
    core.datagrams_to_send(3.0)
    assert core.result == Trace((), "Operation not permitted")
    local = started()
    local.datagrams_to_send(1.0)
    local.refused(Refusal(errno.EMSGSIZE, ORIGIN_LOCAL, reason="Message too long"), 1.1)
    local.handle_timer(3.0)
    local.datagrams_to_send(3.0)
    assert local.result == Trace((), "Message too long")


def test_errors_about_other_packets_are_ignored() -> None:
    """Only ports that were probed count."""
    core = started()
    core.datagrams_to_send(1.0)
    for port in (FIRST_PORT, FIRST_PORT + 5, 53):
        core.refused(Refusal(1, ORIGIN_ICMP, 3, 3, destination=(THERE, port), offender=THERE), 1.1)
    core.handle_timer(3.0)
    core.datagrams_to_send(3.0)
    assert core.result == Trace(())


def test_the_trace_is_reported() -> None:
    """The timeline holds each wave, each answer and the end."""
    events: list[Event] = []
    Path(2).trace(Traceroute(THERE, max_hops=4, timeout_s=1.0, tell=telling(events.append, "icmp.traceroute")))
    names = [event.name for event in events]
    assert (names[0], names[-1], names.count("hop-answered")) == ("wave-sent", "concluded", 4)
