"""One loop for every core, on real sockets: in an event loop and without, from outside, and to a clean end."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic

import pytest

from preflight.model.event import Event, telling
from preflight.net import udp
from preflight.net.drive import Driving, drive, drive_blocking
from preflight.proto.core import Core, Datagram, Received, Refusal


class Echoes(Core[int]):
    """Sends numbered datagrams, one after the other is answered; knows its round trips and what was refused."""

    def __init__(self, count: int, *, patience_s: float = 20.0, to: tuple[str, int] | None = None) -> None:
        self._count, self._patience_s, self._to = count, patience_s, to
        self._next, self._answered = 0, 0
        self._deadline: float | None = None
        self.over = False
        self.rtts_s: list[float] = []
        self.refusals: list[Refusal] = []
        self.errors: list[OSError] = []
        self._sent_at = 0.0

    @property
    def result(self) -> int | None:
        """How many were answered."""
        return self._answered if self.over else None

    def datagrams_to_send(self, now: float) -> Iterator[Datagram]:
        """The next one."""
        if not self.over and self._next == self._answered < self._count:
            self._deadline = now + self._patience_s
            yield Datagram(bytes([self._next]), self._to, 40)
            self._next += 1

    def sent(self, datagram: Datagram, now: float) -> None:
        """Remember when."""
        self._sent_at = now

    def unsent(self, datagram: Datagram, error: OSError, now: float) -> None:
        """It is over."""
        self.errors.append(error)
        self.over = True

    def receive(self, received: Received, now: float) -> None:
        """Count the answer."""
        self.rtts_s.append(now - self._sent_at)
        self._answered += 1
        self.over = self._answered == self._count

    def refused(self, refusal: Refusal, now: float) -> None:
        """It is over."""
        self.refusals.append(refusal)
        self.over = True

    def get_timer(self) -> float | None:
        """When patience ends."""
        return None if self.over else self._deadline if self._deadline is not None else 0.0

    def handle_timer(self, now: float) -> None:
        """Patience ends."""
        if self._deadline is not None and now >= self._deadline:
            self.over = True


@contextmanager
def echoing() -> Iterator[tuple[str, int]]:
    """A core that echoes, in the running event loop."""

    class Server(Core[None]):
        result = None
        waiting: tuple[Datagram, ...] = ()

        def datagrams_to_send(self, now: float) -> tuple[Datagram, ...]:
            waiting, self.waiting = self.waiting, ()
            return waiting

        def receive(self, received: Received, now: float) -> None:
            self.waiting += (Datagram(received.data, received.source),)

        def get_timer(self) -> float:
            return inf

        def handle_timer(self, now: float) -> None:
            """Never."""

    with udp.open_udp("127.0.0.1") as link, Driving(Server(), link):
        yield link.getsockname()[:2]


def closed_port() -> int:
    """A port that nobody has."""
    with udp.open_udp("127.0.0.1") as taken:
        return int(taken.getsockname()[1])


def test_a_core_runs_to_its_end_in_an_event_loop() -> None:
    """Protects every shell: datagrams out, answers in, the result back; two cores in parallel."""

    async def run() -> list[int | None]:
        with echoing() as place, udp.open_towards(*place) as one, udp.open_udp("127.0.0.1") as other:
            return list(await asyncio.gather(drive(Echoes(20), one), drive(Echoes(30, to=place), other)))

    assert asyncio.run(run()) == [20, 30]


def test_cores_run_without_an_event_loop() -> None:
    """Protects the two programs that start fast: each core has its own socket, timer and end."""
    with (
        udp.open_udp("127.0.0.1") as silent,
        udp.open_towards("127.0.0.1", silent.getsockname()[1]) as one,
        udp.open_towards("127.0.0.1", closed_port()) as other,
    ):
        waits, refused = Echoes(1, patience_s=0.3), Echoes(1)
        before = monotonic()
        drive_blocking({one: waits, other: refused})
        assert monotonic() - before >= 0.3
    assert (waits.result, refused.result) == (0, 0)
    assert refused.refusals[0].port_unreachable
    assert refused.refusals[0].quoted == b"\0"


def test_round_trips_are_counted_from_before_the_sending() -> None:
    """Protects short round trips: on loopback the answer is there before `send` returns, and none is negative."""

    async def run() -> list[float]:
        core = Echoes(50)
        with echoing() as place, udp.open_towards(*place) as link:
            await drive(core, link)
        return core.rtts_s

    rtts_s = asyncio.run(run())
    assert len(rtts_s) == 50
    assert min(rtts_s) > 0


def test_what_the_kernel_does_not_send_is_handed_back() -> None:
    """Protects the word "sent": a refusal of this host goes to the core by name, and into the timeline."""
    events: list[Event] = []
    core = Echoes(1, to=("127.0.0.1", 0))
    with udp.open_udp("127.0.0.1") as link:
        assert asyncio.run(drive(core, link, telling(events.append, "test"))) == 0
    assert core.errors[0].strerror == "Invalid argument"
    assert [(event.name, event.fields["error"]) for event in events] == [("not-sent", "EINVAL")]


def test_a_core_that_breaks_ends_its_driver_only() -> None:
    """Protects the run: the error comes out where the result is awaited, the socket is let go, the loop lives on."""

    class Broken(Echoes):
        def receive(self, received: Received, now: float) -> None:
            raise RuntimeError("a bug")

    async def run() -> int | None:
        with echoing() as place, udp.open_towards(*place) as one, udp.open_towards(*place) as other:
            with pytest.raises(RuntimeError, match="a bug"):
                await drive(Broken(1), one)
            assert asyncio.get_running_loop().remove_reader(one) is False
            return await drive(Echoes(1), other)

    assert asyncio.run(run()) == 1


def test_a_cancelled_drive_lets_its_socket_go() -> None:
    """Protects checks that time out: nothing of theirs sends or reads any more."""

    async def run() -> None:
        with udp.open_udp("127.0.0.1") as silent, udp.open_towards("127.0.0.1", silent.getsockname()[1]) as link:
            running = asyncio.create_task(drive(Echoes(1), link))
            await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert asyncio.get_running_loop().remove_reader(link) is False

    asyncio.run(run())


def test_a_core_may_get_more_to_do_from_outside() -> None:
    """Protects bursts that are added while others run: `turn` makes the driver look again, `after_turn` reports it."""

    class Patient(Core[str]):
        result: str | None = None

        def datagrams_to_send(self, now: float) -> tuple[Datagram, ...]:
            return ()

        def get_timer(self) -> float | None:
            return None if self.result else inf

        def handle_timer(self, now: float) -> None:
            """Never."""

    async def run() -> tuple[str | None, int]:
        core, turns = Patient(), []
        with udp.open_udp("127.0.0.1") as link, Driving(core, link, after_turn=lambda: turns.append(1)) as driving:
            core.result = "done"
            driving.turn()
            await driving.over
            driving.turn()
        return core.result, len(turns)

    assert asyncio.run(run()) == ("done", 2)


@pytest.mark.parametrize("program", ["preflight.net.pmtu.__main__", "preflight.net.icmp.__main__"])
def test_the_two_programs_load_no_event_loop(program: str) -> None:
    """Protects their start-up time: asyncio takes longer to load than a search takes to run."""
    script = f"import sys, {program}; print([name for name in sys.modules if name.startswith('asyncio')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
