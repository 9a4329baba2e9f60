"""Sweeps over networks made of function calls: every count is exact, whatever is lost, copied, late or foreign."""

import errno
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.model.event import Event, telling
from preflight.proto.core import ORIGIN_ICMP, Received, Refusal
from preflight.proto.icmp.echo import EchoCodec
from preflight.proto.icmp.sweep import BACK_OFF_S, CATCH_UP_S, NO_ROOM_S, Burst, EchoSweep, Sweep

Fate = Callable[[str, int], tuple[float, ...]]
"""When answers to the n-th request to an address come, seconds after it: none is a loss, two are a copy."""


@dataclass
class Network:
    """Time that passes only here, targets that answer as the test says, and what was sent when."""

    sweep: Sweep
    fate: Fate = lambda address, n: (0.001,)
    refuse: Callable[[str, int], str] = lambda address, n: ""
    wake_late_s: float = 0.0
    now: float = 1000.0
    sent_at: list[tuple[float, str]] = field(default_factory=list)
    tried: Counter[str] = field(default_factory=Counter)
    ended: list[Burst] = field(default_factory=list)
    arrivals: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)

    def run(self) -> None:
        """Until no burst is under way."""
        while (wake_at := self.sweep.wake_at(self.now)) is not None:
            arrival_at = self.arrivals[0][0] if self.arrivals else float("inf")
            self.now = max(self.now, min(wake_at + self.wake_late_s, arrival_at))
            while self.arrivals and self.arrivals[0][0] <= self.now:
                heappop(self.arrivals)[2]()
            self.send()
            self.ended += self.sweep.ended(self.now)

    def send(self) -> None:
        """What is due."""
        for number, burst in self.sweep.due(self.now):
            n = self.tried[burst.address]
            self.tried[burst.address] += 1
            if error := self.refuse(burst.address, n):
                self.sweep.refused(burst, error, self.now)
                continue
            self.sweep.sent(number, burst, self.now)
            self.sent_at.append((self.now, burst.address))
            for delay_s in self.fate(burst.address, n):
                self.at(self.now + delay_s, partial(self._answer, number, burst.address))

    def _answer(self, number: int, address: str) -> None:
        self.sweep.answered(number, address, self.now)

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Something that comes in at a time."""
        heappush(self.arrivals, (when, len(self.arrivals) + len(self.sent_at) * 1000, what))

    def add(self, addresses: int, *, count: int = 3, interval_s: float = 0.02, timeout_s: float = 1.0) -> list[Burst]:
        """A burst to each of some addresses."""
        add = self.sweep.add
        return [
            add(f"t{i}", count=count, interval_s=interval_s, timeout_s=timeout_s, now=self.now)
            for i in range(addresses)
        ]


fates = st.dictionaries(
    st.tuples(st.integers(0, 19), st.integers(0, 3)),
    st.lists(st.floats(0.0001, 0.9), max_size=3).map(tuple),
)


@given(fates=fates, rate=st.sampled_from([50.0, 1000.0, 10000.0]), wake_late_s=st.sampled_from([0.0, 0.004, 0.3]))
def test_every_count_is_exact(fates: dict[tuple[int, int], tuple[float, ...]], rate: float, wake_late_s: float) -> None:
    """Loss, copies, overtaking and answers that take longer than the interval: each target gets its own, once."""
    network = Network(
        Sweep(rate), fate=lambda address, n: fates.get((int(address[1:]), n), (0.001,)), wake_late_s=wake_late_s
    )
    bursts = network.add(20, count=4)
    network.run()
    assert sorted(burst.address for burst in network.ended) == sorted(burst.address for burst in bursts)
    for index, burst in enumerate(bursts):
        answered = sum(bool(fates.get((index, n), (0.001,))) for n in range(4))
        assert (burst.stats.sent, burst.stats.received) == (4, answered)
        assert len(burst.stats.rtt_ms) == answered
        copies = sum(max(len(fates.get((index, n), ())) - 1, 0) for n in range(4))
        assert burst.stats.duplicates <= copies, "a copy behind the end of its burst is not counted"


@given(late_s=st.floats(1.001, 5.0))
def test_a_late_answer_is_no_answer(late_s: float) -> None:
    """After the time-out a target is silent, and its late answer counts for no other one."""
    network = Network(Sweep(1000.0), fate=lambda address, n: (late_s,) if address == "t0" else (0.001,))
    silent, *others = network.add(3, count=1)
    network.run()
    for _, _, arrive in network.arrivals:
        arrive()
    assert (silent.stats.sent, silent.stats.received) == (1, 0)
    assert all(burst.stats.received == 1 for burst in others)
    assert network.sweep.foreign == 1


def test_round_trips_are_in_the_order_of_sending() -> None:
    """Answers overtake each other; the first round trip is the first request's."""
    network = Network(Sweep(1000.0), fate=lambda address, n: ((0.3, 0.2, 0.001)[n],))
    (burst,) = network.add(1)
    network.run()
    assert [round(rtt) for rtt in burst.stats.rtt_ms] == [300, 200, 1]


@given(number=st.integers(0, 2**32 - 1), source=st.sampled_from(["t0", "t1", "elsewhere"]))
def test_strangers_count_for_nobody(number: int, source: str) -> None:
    """A number that was never sent, or the right one from another address, does not count as an answer."""
    network = Network(Sweep(1000.0), fate=lambda address, n: ())
    bursts = network.add(2, count=1)
    network.send()
    sent = {burst.address: burst.numbers[0] for burst in bursts}
    network.sweep.answered(number, source, network.now)
    right = sent.get(source) == number
    assert sum(burst.stats.received for burst in bursts) == right
    assert network.sweep.foreign == (not right)


def test_an_error_is_its_targets_and_ends_the_waiting() -> None:
    """A router that says "unreachable" has answered: nothing more is waited for, and the others are not concerned."""
    network = Network(Sweep(1000.0), fate=lambda address, n: () if address == "t0" else (0.001,))
    dead, alive = network.add(2, count=2)
    began = network.now

    def complain() -> None:
        for number in list(dead.unanswered):
            network.sweep.failed(number & 0xFFFF, "t0", "host unreachable")
            network.sweep.failed(number & 0xFFFF, "t1", "host unreachable")

    network.at(began + 0.1, complain)
    network.run()
    assert dead.stats == type(dead.stats)(2, 0, (), "host unreachable")
    assert (alive.stats.received, alive.stats.error) == (2, None)
    assert network.now - began < 0.2
    assert network.sweep.foreign == 2


def test_an_error_names_the_latest_request_of_its_number() -> None:
    """Sequence numbers have 16 bits: behind 65536 requests the same one is another's."""
    network = Network(Sweep(1e6), fate=lambda address, n: () if address == "t0" else (0.0001,))
    (first,) = network.add(1, count=1, timeout_s=100)
    network.send()
    other = network.sweep.add("t1", count=0x10000, interval_s=0.0, timeout_s=100, now=network.now)
    while other.tried < other.count:
        network.now += 0.001
        network.send()
    sequence = first.numbers[0] & 0xFFFF
    network.sweep.failed(sequence, "t1", "host unreachable")
    assert other.error == "host unreachable"
    network.sweep.failed(sequence, "t0", "host unreachable")
    assert first.error is None, "its number is out of reach by now; nothing is guessed"


@given(
    rate=st.sampled_from([100.0, 1000.0, 5000.0]),
    addresses=st.integers(1, 60),
    wake_late_s=st.sampled_from([0.0, 0.003, 0.05]),
)
def test_the_pace_is_kept(rate: float, addresses: int, wake_late_s: float) -> None:
    """In no stretch of time leave more packets than the pace allows, and never a burst to one target."""
    network = Network(Sweep(rate), wake_late_s=wake_late_s)
    network.add(addresses, interval_s=0.02)
    network.run()
    times = [at for at, _ in network.sent_at]
    slack = 2 + rate * CATCH_UP_S
    for first in range(0, len(times), 7):
        for last in range(first, len(times), 5):
            assert last - first + 1 <= rate * (times[last] - times[first]) + slack + 1e-6
    assert max(Counter(network.sent_at).values()) == 1


def test_many_targets_take_turns() -> None:
    """With more targets than the pace carries in one interval all get their first request before any its second."""
    network = Network(Sweep(1000.0))
    network.add(100, count=2, interval_s=0.001)
    network.run()
    assert len({address for _, address in network.sent_at[:100]}) == 100


def test_what_could_not_leave_is_not_lost() -> None:
    """A firewall's refusal is this node's: it counts as tried, never as sent."""
    network = Network(Sweep(1000.0), refuse=lambda address, n: "Operation not permitted" if n < 2 else "")
    (burst,) = network.add(1, count=3)
    network.run()
    assert (burst.stats.sent, burst.stats.received, burst.stats.error) == (1, 1, "Operation not permitted")
    network = Network(Sweep(1000.0), refuse=lambda address, n: "Network is unreachable")
    (burst,) = network.add(1, count=3)
    network.run()
    assert (burst.stats.sent, burst.stats.received, burst.stats.error) == (0, 0, "Network is unreachable")


def test_a_full_buffer_holds_everybody_and_loses_nothing() -> None:
    """ENOBUFS is this node's own queue: the same request again, after a pause in which nobody sends."""
    sweep = Sweep(1000.0)
    first = sweep.add("t0", count=1, interval_s=0, timeout_s=1, now=0.0)
    sweep.add("t1", count=1, interval_s=0, timeout_s=1, now=0.0)
    held = []
    for _, burst in sweep.due(0.0):
        sweep.no_room(burst, "full", 0.0)
        held.append(burst)
    assert held == [first]
    assert list(sweep.due(BACK_OFF_S / 2)) == []
    addresses = []
    for number, burst in sweep.due(BACK_OFF_S + 0.01):
        sweep.sent(number, burst, BACK_OFF_S + 0.01)
        addresses.append(burst.address)
    assert sorted(addresses) == ["t0", "t1"]


def test_a_queue_that_drops_everything_ends_a_burst() -> None:
    """Protects a run from asking such a queue until its deadline; what found room before counts as sent."""
    sweep, now = Sweep(1000.0), 0.0
    burst = sweep.add("t0", count=3, interval_s=0, timeout_s=1, now=now)
    ((number, _),) = sweep.due(now)
    sweep.sent(number, burst, now)
    while burst.tried < 3 and now < 10:
        now += 0.01
        for _, each in sweep.due(now):
            sweep.no_room(each, "No buffer space available", now)
    assert NO_ROOM_S <= now < NO_ROOM_S + 0.2
    assert (burst.sent, burst.error) == (1, "No buffer space available")


def test_a_burst_that_nobody_waits_for_sends_no_more() -> None:
    """A check that was ended stops its echoes."""
    network = Network(Sweep(1000.0), fate=lambda address, n: ())
    dropped, kept = network.add(2, count=5)
    network.send()
    network.sweep.drop(dropped)
    network.run()
    assert network.tried == {"t0": 1, "t1": 5}
    assert network.ended == [kept]


def test_nothing_to_send_ends_at_once() -> None:
    """A burst of none is complete, and an empty sweep has nothing to wait for."""
    sweep = Sweep(1000.0)
    assert sweep.wake_at(5.0) is None
    burst = sweep.add("t0", count=0, interval_s=0, timeout_s=1, now=5.0)
    assert sweep.wake_at(5.0) == 5.0
    assert sweep.ended(5.0) == [burst]
    assert sweep.wake_at(5.0) is None


AHEAD_NS = 1_795_479_667 * 10**9
TARGET = "10.66.0.2"


def echo_sweep(*, raw: bool, events: list[Event] | None = None) -> EchoSweep:
    """A sweep over IPv4 whose kernel stamps what comes by a clock that is far ahead of the steady one."""
    tell = telling(events.append if events is not None else None, "icmp.sweep")
    codec = EchoCodec(4, 7, b"tokn")
    return EchoSweep(Sweep(1000.0), codec, raw=raw, unix_ahead_ns=lambda: AHEAD_NS, tell=tell)


def send_one(core: EchoSweep, now: float) -> bytes:
    """The echo request that is due."""
    for datagram in core.datagrams_to_send(now):
        assert datagram.to == (TARGET, 0)
        core.sent(datagram, now)
        return datagram.data
    raise AssertionError("nothing is due")


@pytest.mark.parametrize("raw", [True, False])
def test_a_reply_on_the_wire_is_an_answer(raw: bool) -> None:
    """With an IPv4 header or without; the round trip is from the sending to the kernel's own time of receiving."""
    events: list[Event] = []
    core = echo_sweep(raw=raw, events=events)
    burst = core.sweep.add(TARGET, count=1, interval_s=0, timeout_s=1, now=5.0)
    request = send_one(core, 5.0)
    header = b"\x45" + bytes(19) if raw else b""
    received_ns = AHEAD_NS + 5_020_000_000
    core.receive(Received(header + b"\0" + request[1:], (TARGET, 0), received_ns), 6.0)
    core.handle_timer(6.0)
    assert burst.stats.rtt_ms == pytest.approx((20.0,))
    assert core.take_ended() == [burst]
    assert core.take_ended() == []
    assert core.get_timer() is None
    assert [event.name for event in events] == ["echo-sent", "echo-answered", "concluded"]


def test_an_error_on_the_wire_ends_the_waiting() -> None:
    """As a raw socket gets it, among the messages, and as a ping socket does, by its error queue."""
    for raw in (True, False):
        core = echo_sweep(raw=raw)
        burst = core.sweep.add(TARGET, count=1, interval_s=0, timeout_s=1, now=5.0)
        request = send_one(core, 5.0)
        if raw:
            inner = b"\x45" + bytes(15) + bytes(map(int, TARGET.split(".")))
            message = b"\x03\x01" + bytes(6) + inner + request[:8]
            core.receive(Received(b"\x45" + bytes(19) + message, ("192.0.2.1", 0)), 5.1)
        else:
            core.refused(Refusal(113, ORIGIN_ICMP, 3, 1, 0, request, (TARGET, 0), "192.0.2.1"), 5.1)
        core.handle_timer(5.1)
        assert (burst.ended, burst.stats.error) == (True, "host unreachable, says 192.0.2.1")


def test_a_full_queue_is_no_refusal() -> None:
    """ENOBUFS: the same request again, later; EPERM: this request was not sent, and says so."""
    core = echo_sweep(raw=True)
    burst = core.sweep.add(TARGET, count=1, interval_s=0, timeout_s=1, now=5.0)
    for datagram in core.datagrams_to_send(5.0):
        core.unsent(datagram, OSError(errno.ENOBUFS, "No buffer space available"), 5.0)
    assert (burst.tried, burst.error) == (0, None)
    for datagram in core.datagrams_to_send(6.0):
        core.unsent(datagram, OSError(errno.EPERM, "Operation not permitted"), 6.0)
    assert (burst.tried, burst.sent, burst.error) == (1, 0, "Operation not permitted")
