"""The responder's shell: sockets drained in batches, signals, and the mailbox.

It does not run on `preflight.net.drive`: in a flood a datagram must be judged by its source alone, before anything else
is done about it, and one socket serves many cores, which have no result.
"""

import asyncio
import errno
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from ipaddress import ip_address
from typing import Any

from preflight.model.host_port import join_host_port
from preflight.net import ancillary, udp
from preflight.net.host_state import clock_estimate
from preflight.proto.core import Address
from preflight.proto.responder.admission import Verdict
from preflight.proto.stamp.reflector import Marked, SessionReflector
from preflight.responder.core import Arrival, ResponderCore

BATCH = 64
"""Datagrams of one socket before the others, the mailbox and signals get their turn."""


CLOCK_S = 30.0
"""Between two looks at the kernel's clock state, which NTP daemons change about once a minute."""


class ServedSocket:
    """One socket: every datagram goes to the core, what comes back goes back to where the datagram came from."""

    def __init__(self, listening: socket.socket, core: ResponderCore) -> None:
        self.socket = listening
        self.address, self.port = listening.getsockname()[:2]
        self._core = core
        self._overflowed, self._full = 0, udp.found_full()
        self.wildcard = ip_address(self.address).is_unspecified
        udp.set_ttl(listening, udp.FULL_TTL)
        udp.receive_traffic_class(listening)
        if self.wildcard:
            udp.receive_local_address(listening)

    def drain(self) -> None:
        """Serve up to `BATCH` datagrams."""
        core, listening = self._core, self.socket
        self._count_overflow()
        for _ in range(BATCH):
            try:
                data, control, _, source = listening.recvmsg(udp.MAX_DATAGRAM, ancillary.CONTROL_BYTES)
            except BlockingIOError:
                return
            except OSError as error:  # the interface went down, or an ICMP error came: the socket lives on
                core.unsent("receive", udp.error_name(error.errno or errno.EIO), time.monotonic())
                return
            if core.flows and source[0] in core.flows and core.flows[source[0]](data, source):
                continue
            # In a flood nearly all is dropped, so do nothing about a datagram before it is admitted.
            now = time.monotonic()
            verdict = core.admit(source[0], now)
            if verdict is not None:
                for answer in core.handle(data, self._arrival(source, control, now, verdict)):
                    self._answer(answer, source, control)

    def _arrival(self, source: Address, control: ancillary.Control, now: float, verdict: Verdict) -> Arrival:
        received_ns, ttl = ancillary.read_control(control)
        now_ns = time.time_ns()
        local = (ancillary.local_address(control) if self.wildcard else None) or self.address
        traffic_class = ancillary.read_traffic_class(control)
        stranger = verdict is Verdict.STRANGER
        return Arrival(source[:2], received_ns or now_ns, now_ns, ttl, now, stranger, traffic_class, (local, self.port))

    def _count_overflow(self) -> None:
        overflowed = udp.overflowed(self.socket)
        if overflowed != self._overflowed:
            # A policy of IPsec drops at the socket too, and its queue has room.
            full = udp.found_full()
            if lost := min((overflowed - self._overflowed) % 2**32, full - self._full):
                self._core.overflowed(lost, time.monotonic())
            self._overflowed, self._full = overflowed, full

    def send(self, data: bytes, destination: Address, local: str) -> None:
        """Send something later; from `local`, the address that the request came to, where this is a wildcard."""
        self._answer(data, destination, ancillary.source_control(local))

    def _answer(self, answer: bytes, source: Address, asked: ancillary.Control) -> None:
        """Send an answer from the address that was asked, with the DSCP it wants. asked: the request's control data."""
        control = ancillary.local_control(asked) if self.wildcard else []
        if isinstance(answer, Marked):
            control = [*control, *ancillary.class_control(self.socket.family, answer.traffic_class)]
        if code := udp.send(self.socket, answer, source, control):
            self._core.unsent(source[0], udp.error_name(code), time.monotonic())


def listener_towards(listeners: Sequence[ServedSocket], address: str, port: int) -> ServedSocket | None:
    """The listener on the address that the route to the asker takes, else one of its family."""
    family = udp.family_of(address)
    candidates = [listener for listener in listeners if listener.socket.family == family]
    try:
        local = udp.source_address(address, port)
    except OSError:
        local = ""
    return next((each for each in candidates if each.address == local), next(iter(candidates), None))


Companion = Callable[[Sequence[ServedSocket]], Coroutine[Any, Any, None]]
"""What runs next to the listeners and may send through them: the mailbox, hellos, traces."""


async def serve(
    sockets: Sequence[socket.socket],
    core: ResponderCore,
    companions: Iterable[Companion] = (),
    *,
    announce: Callable[[str], None],
    log: Callable[[str], None],
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; SIGUSR1 logs the counters. announce: gets each place that is served.

    A SIGHUP that is ignored stays so: that is how `nohup` keeps a program beyond its terminal.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    for number in (signal.SIGTERM, signal.SIGINT, *hangup):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: log(core.summary()))
    listeners = [ServedSocket(each, core) for each in sockets]
    for listener in listeners:
        loop.add_reader(listener.socket, listener.drain)
    tasks = {asyncio.create_task(companion(listeners)) for companion in companions}
    tasks.add(asyncio.create_task(_wait(stop)))
    try:
        await asyncio.sleep(
            0
        )  # the companions have begun, and listen too, before the lines that say that this is ready
        for listener in listeners:
            announce(join_host_port(listener.address, listener.port))
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listener in listeners:
            loop.remove_reader(listener.socket)
        log(core.summary())


async def keep_clock(reflector: SessionReflector) -> None:
    """Have the reflector say what the kernel thinks of the clock now, not when the responder started."""
    while True:
        await asyncio.sleep(CLOCK_S)
        reflector.set_clock(clock_estimate())


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
