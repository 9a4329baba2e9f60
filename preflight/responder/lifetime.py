"""What ends a responder by itself: its time, or the end of the program that started it."""

import asyncio
import os
from collections.abc import Sequence

from preflight.responder.serve import Companion, ServedSocket

LIFE_S = 3600.0
"""A responder in one file is for one look at the network: nothing of it stays on a host for longer."""
_READ_BYTES = 4096


def limit(seconds: float) -> Companion:
    """Ends after this time."""

    async def run(listeners: Sequence[ServedSocket]) -> None:
        await asyncio.sleep(seconds)

    return run


def while_open(descriptor: int) -> Companion:
    """Ends when the other end of a pipe is closed: what holds it has ended, by whatever signal."""

    async def run(listeners: Sequence[ServedSocket]) -> None:
        loop = asyncio.get_running_loop()
        closed = asyncio.Event()

        def read() -> None:
            if not os.read(descriptor, _READ_BYTES):
                loop.remove_reader(descriptor)
                closed.set()

        loop.add_reader(descriptor, read)
        await closed.wait()

    return run
