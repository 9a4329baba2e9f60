"""The one loop that runs a sans-IO core on a socket: in an event loop, or without one.

`turn` does all the work: hand in what came, send what is due, say how long to wait. `drive` and `Driving` wait in an
event loop, together with others; `drive_blocking` waits by `select`, for programs that start fast.
"""

import os
import select
import socket
from collections.abc import Callable, Mapping
from math import inf
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from preflight.model.event import Tell, silent
from preflight.net import udp
from preflight.net.ancillary import ttl_control
from preflight.proto.core import Core

if TYPE_CHECKING:
    from asyncio import Future, TimerHandle

Result = TypeVar("Result")


def turn(core: Core[object], link: socket.socket, tell: Tell = silent) -> float | None:
    """Do all that is due now. Returns the seconds to wait (`inf`: until there is something to read); None = over."""
    while True:
        # Read the clock before the socket: on a busy machine this process may be late, but the answers are not.
        now = monotonic()
        hand_in(core, link)
        core.handle_timer(now)
        _send(core, link, tell)
        timer = core.get_timer()
        if timer is None:
            return None
        if (wait_s := timer - monotonic()) > 0:
            return wait_s


def hand_in(core: Core[object], link: socket.socket) -> None:
    """Hand over the errors, then the datagrams: an error is older than the answer that ends a core."""
    for refusal in udp.receive_errors(link):
        core.refused(refusal, monotonic())
    for received in udp.waiting(link):
        core.receive(received, monotonic())


def _send(core: Core[object], link: socket.socket, tell: Tell) -> None:
    for datagram in core.datagrams_to_send(monotonic()):
        control = None if datagram.ttl is None else ttl_control(link.family, datagram.ttl)
        now = monotonic()
        code = udp.send(link, datagram.data, datagram.to, control)
        if code:
            error = OSError(code, os.strerror(code))
            tell(now, "not-sent", size_bytes=len(datagram.data), error=udp.error_name(code))
            core.unsent(datagram, error, now)
        else:
            core.sent(datagram, now)


def drive_blocking(cores: Mapping[socket.socket, Core[object]]) -> None:
    """Run each core on its socket until all are over, without an event loop."""
    running = dict(cores)
    due = dict.fromkeys(running, 0.0)
    while running:
        wait_s = max(0.0, min(due.values()) - monotonic())
        readable, _, _ = select.select(list(running), [], [], None if wait_s == inf else wait_s)
        for link in [link for link in running if link in readable or due[link] <= monotonic()]:
            next_s = turn(running[link], link)
            if next_s is None:
                del running[link], due[link]
            else:
                due[link] = monotonic() + next_s


async def drive(core: Core[Result], link: socket.socket, tell: Tell = silent) -> Result | None:
    """Run a core in the running event loop until it is over; returns what it found."""
    with Driving(core, link, tell=tell) as driving:
        await driving.over
    return core.result


class Driving:
    """A core that runs on a socket in the running event loop, from now until it is over or `stop` is called.

    after_turn: is called after each turn. `over`: done when the core is over; fails if the core raises.
    """

    def __init__(
        self,
        core: Core[object],
        link: socket.socket,
        *,
        tell: Tell = silent,
        after_turn: Callable[[], Any] = lambda: None,
    ) -> None:
        from asyncio import get_running_loop  # here: the two programs that drive without it start twice as fast

        self._core, self._link, self._tell, self._after_turn = core, link, tell, after_turn
        self._descriptor = link.fileno()  # the loop would write the whole socket into a text to look for it
        self._loop = get_running_loop()
        self._timer: TimerHandle | None = None
        self._stopped = False
        self.over: Future[None] = self._loop.create_future()
        self._loop.add_reader(self._descriptor, self.turn)
        self.turn()

    def turn(self) -> None:
        """Take a turn: the socket is readable, the timer has run out, or the core was given more to do."""
        if self._stopped:
            return
        try:
            wait_s = turn(self._core, self._link, self._tell)
            self._after_turn()
        except Exception as error:
            self.stop()
            if not self.over.done():  # a caller that was cancelled has cancelled it
                self.over.set_exception(error)
            return
        self._rearm(wait_s)

    def _rearm(self, wait_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wait_s is None:
            self.stop()
            if not self.over.done():
                self.over.set_result(None)
        elif wait_s != inf:
            self._timer = self._loop.call_later(wait_s, self.turn)

    def stop(self) -> None:
        """Send and receive no more; the socket is the caller's again."""
        self._stopped = True
        self._loop.remove_reader(self._descriptor)
        if self._timer is not None:
            self._timer.cancel()

    def __enter__(self) -> "Driving":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
