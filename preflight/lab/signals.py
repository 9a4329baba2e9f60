"""A lab must not outlive an interrupted command, and its removal must not be interrupted.

An exception from a signal handler may surface anywhere, and is lost inside a destructor. So signals are blocked while
labs are built and removed, and `give_way` marks where they may interrupt.
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
    """Let SIGTERM and SIGHUP end the body like Ctrl-C, so that clean-up runs."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handling(interrupt):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Block signals that would end the body; deliver them after it.

    Threads other than the main one get no signals, so for them this does nothing.
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
    """Raise KeyboardInterrupt if a signal was blocked; call it between steps, where a lab can be abandoned."""
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
