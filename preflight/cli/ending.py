"""The end of a run and of the process, which nothing that was left behind may hold up."""

import os
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

CLEANUP_S = 7.0
"""For tasks that are cancelled at the end: longer than the time after which a check of another package is killed."""
_IDLE_S = 0.2


def run_to_end(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new event loop, like `asyncio.run`, but do not wait for every task and thread.

    A task that ignores its cancellation, or a name that the C library looks up for a minute, is abandoned.
    """
    import asyncio  # imported here: `--version` imports this module and needs no event loop

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.set_exception_handler(lambda loop, context: None)  # it would log each task that is left
        loop.run_until_complete(_wind_up(asyncio.all_tasks(loop)))
        loop.close()


def interruption() -> "asyncio.Event":
    """Set by Ctrl-C or SIGTERM from now on, until the running event loop ends."""
    import asyncio

    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    return interrupted


async def interrupted_within(interrupted: "asyncio.Event", seconds: float) -> bool:
    """Whether the run is interrupted within this time; returns at once if it is."""
    import asyncio

    try:
        async with asyncio.timeout(seconds):
            return await interrupted.wait()
    except TimeoutError:
        return False


async def _wind_up(tasks: "set[asyncio.Task[Any]]") -> None:
    import asyncio

    for task in tasks:
        task.cancel()
    with suppress(TimeoutError):
        async with asyncio.timeout(CLEANUP_S):
            if tasks:
                await asyncio.wait(tasks)
            await asyncio.get_running_loop().shutdown_asyncgens()


@contextmanager
def leaving_threads_behind() -> Iterator[None]:
    """If the program exits within the body, exit although threads still run: Python would join them."""
    try:
        yield
    except SystemExit as end:
        if not isinstance(end.code, int) or not _busy_threads():
            raise
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(end.code)


def _busy_threads() -> bool:
    """Whether threads are left that Python would join; waits for those that are about to end."""
    others = [t for t in threading.enumerate() if t is not threading.current_thread() and not t.daemon]
    for thread in others:
        thread.join(_IDLE_S)
    return any(thread.is_alive() for thread in others)
