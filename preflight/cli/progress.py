"""Progress on standard error: live on a terminal, one line per finished check otherwise."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from preflight.api import Result, Status
from preflight.engine.runner import Progress, ProgressListener
from preflight.model.printable import one_line
from preflight.report.grouping import FEW

WORST_FIRST = (Status.FAIL, Status.ERROR, Status.WARN, Status.INCONCLUSIVE, Status.PASS, Status.SKIP)


@contextmanager
def progress(*, quiet: bool, no_color: bool) -> Iterator[ProgressListener]:
    """A listener for the runner; what it draws is erased when the run is over."""
    if quiet:
        yield lambda event: None
    elif sys.stderr.isatty():
        with _live(no_color=no_color or "NO_COLOR" in os.environ) as listener:
            yield listener
    else:
        yield _line


def _line(event: Progress) -> None:
    if event.results is not None:
        seconds = event.duration_ms / 1000
        sys.stderr.write(
            f"{worst(event):<12} {one_line(event.check.id)} ({seconds:.2f} s{_among(event.results, worst(event))})\n"
        )


def _among(results: Iterable[Result], word: str) -> str:
    """How many of the peers have this status, where there are many."""
    targets, those = set(), set()
    for result in results:
        targets.add(result.target)
        if result.status.value == word:
            those.add(result.target)
    if len(targets) <= FEW:
        return ""
    return f", {len(those)} of {len(targets)} peers" if those < targets else f", {len(targets)} peers"


def worst(event: Progress) -> str:
    """The status shown for a finished check."""
    statuses = {result.status for result in event.results or ()}
    return next((status.value for status in WORST_FIRST if status in statuses), Status.SKIP.value)


@contextmanager
def _live(*, no_color: bool) -> Iterator[ProgressListener]:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, no_color=no_color, highlight=False)
    running: dict[str, str] = {}
    finished = 0
    with console.status("starting") as status:

        def listener(event: Progress) -> None:
            nonlocal finished
            if event.results is None:
                so_far = f" {event.reported}/{event.peers}" if event.peers > FEW else ""
                running[event.check.id] = one_line(event.check.id) + so_far
            else:
                running.pop(event.check.id, None)
                finished += 1
            line = f"{finished} done · " + (" · ".join(running.values()) or "reporting")
            status.update(Text(line, no_wrap=True, overflow="ellipsis"))

        yield listener
