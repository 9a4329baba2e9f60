"""Progress on standard error: live on a terminal, one line per finished check otherwise."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

from preflight.api import Result, Status
from preflight.cli.terminal import colored
from preflight.engine.runner import Progress, ProgressListener
from preflight.model.printable import one_line
from preflight.report.grouping import FEW

if TYPE_CHECKING:
    from rich.text import Text

WORST_FIRST = (Status.FAIL, Status.ERROR, Status.WARN, Status.INCONCLUSIVE, Status.PASS, Status.SKIP)


@contextmanager
def progress(*, quiet: bool, no_color: bool, checks: int = 0) -> Iterator[ProgressListener]:
    """A listener for the runner; what it draws is erased when the run is over. checks: how many the run has."""
    if quiet:
        yield lambda event: None
    elif sys.stderr.isatty():
        with _live(Board(checks), no_color=not colored(sys.stderr, no_color=no_color)) as listener:
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


LONG_S = 5.0
"""After so long, a check shows how long it may take at most."""


@dataclass(frozen=True, slots=True)
class Running:
    """A check that is not over: its name with what it has so far, when it began, and how long it may take."""

    name: str
    since: float
    limit_s: float

    def shown(self, now: float) -> str:
        """The name, with the time where it matters."""
        took_s = now - self.since
        if took_s < 1:
            return self.name
        limit = f" of at most {self.limit_s:.0f}" if took_s >= LONG_S else ""
        return f"{self.name} {took_s:.0f}{limit} s"


@dataclass
class Board:
    """What is measured now. checks: how many the run has; now: the clock of `began`."""

    checks: int = 0
    began: float = field(default_factory=monotonic)
    now: Callable[[], float] = monotonic
    finished: int = 0
    running: dict[str, Running] = field(default_factory=dict)

    def hear(self, event: Progress) -> None:
        """A check has started, goes on or has finished."""
        if event.results is None:
            before = self.running.get(event.check.id)
            so_far = f" {event.reported} of {event.peers} peers" if event.peers > FEW else ""
            self.running[event.check.id] = Running(
                one_line(event.check.id) + so_far,
                self.now() if before is None else before.since,
                event.check.timeout + event.check.timeout_per_peer * event.peers,
            )
        else:
            self.running.pop(event.check.id, None)
            self.finished += 1

    @property
    def line(self) -> str:
        """The time since the start, how much is left, and each running check with its own time."""
        now = self.now()
        head = f"{now - self.began:.0f} s"
        if not self.running and not self.finished:
            return f"{head} · looking for the overlay and its peers"
        done = f"{self.finished} of {max(self.checks, self.finished)} checks done"
        return " · ".join((head, done, *(each.shown(now) for each in self.running.values())))

    def __rich__(self) -> "Text":
        """Drawn again by the terminal's own clock, so that the time goes on while nothing is heard."""
        from rich.text import Text

        return Text(self.line, no_wrap=True, overflow="ellipsis")


@contextmanager
def _live(board: Board, *, no_color: bool) -> Iterator[ProgressListener]:
    from rich.console import Console

    console = Console(stderr=True, no_color=no_color, highlight=False)
    with console.status(board):
        yield board.hear
