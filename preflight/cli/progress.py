"""Progress on standard error: live on a terminal, one line per finished check otherwise."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from preflight.api import Status
from preflight.runner import Listener, Progress

WORST_FIRST = (Status.FAIL, Status.ERROR, Status.WARN, Status.INCONCLUSIVE, Status.PASS, Status.SKIP)


@contextmanager
def progress(*, quiet: bool, no_color: bool) -> Iterator[Listener]:
    """A listener for the runner; what it draws is gone when the run is over."""
    if quiet:
        yield lambda event: None
    elif sys.stderr.isatty():
        with _live(no_color=no_color or "NO_COLOR" in os.environ) as listener:
            yield listener
    else:
        yield _line


def _line(event: Progress) -> None:
    if event.results is not None:
        sys.stderr.write(f"{worst(event):<12} {event.check.id} ({event.duration_ms / 1000:.2f} s)\n")


def worst(event: Progress) -> str:
    """The status that stands for a finished check."""
    statuses = {result.status for result in event.results or ()}
    return next((status.value for status in WORST_FIRST if status in statuses), Status.SKIP.value)


@contextmanager
def _live(*, no_color: bool) -> Iterator[Listener]:
    from rich.console import Console

    console = Console(stderr=True, no_color=no_color, highlight=False)
    running: dict[str, str] = {}
    finished = 0
    with console.status("starting") as status:

        def listener(event: Progress) -> None:
            nonlocal finished
            if event.results is None:
                running[event.check.id] = event.check.title
            else:
                running.pop(event.check.id, None)
                finished += 1
            status.update(f"{finished} done · " + (" · ".join(running) or "reporting"))

        yield listener
