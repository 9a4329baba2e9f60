"""A lab must not outlive an interrupted command, and taking it down must not be interrupted.

An exception out of a signal handler may surface anywhere, and is lost inside a destructor. So where labs are built and
taken down, signals are held back and `give_way` says where they may interrupt.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_held: list[int] = []


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the body as Ctrl-C does, so that clean-up runs."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handling(interrupt):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back what would end the body; what came is delivered at its end.

    Other threads than the main one get no signals, so for them this does nothing.
    """
    if not _in_main_thread():
        yield
        return
    try:
        with _handling(lambda number, frame: _held.append(number)):
            yield
    finally:
        came = dict.fromkeys(_held)
        _held.clear()
        for number in came:
            signal.raise_signal(number)


def give_way() -> None:
    """Raise KeyboardInterrupt if something was held back; for the steps between which a lab can be left."""
    if _in_main_thread() and _held:
        _held.clear()
        raise KeyboardInterrupt


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def _handling(handler: Any) -> Iterator[None]:
    if not _in_main_thread():
        yield
        return
    previous = {number: signal.signal(number, handler) for number in _ENDING}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
