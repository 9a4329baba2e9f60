"""Run scenarios, several in parallel, and report each when it ends."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import islice
from typing import TypeVar

from preflight.lab.scenarios import Scenario
from preflight.lab.score import Outcome
from preflight.lab.signals import give_way, uninterrupted
from preflight.lab.trial import Trials

T = TypeVar("T")
Work = tuple[Scenario, int]
"""A scenario and the number of its repetition, from 1."""
_LOOK_AGAIN_S = 0.1


def repeated(scenarios: Iterable[Scenario], times: int) -> Iterator[Work]:
    """Each scenario that often; all once before any twice."""
    chosen = tuple(scenarios)
    return ((scenario, number) for number in range(1, times + 1) for scenario in chosen)


def run_all(
    work: Iterable[Work], jobs: int, trials: Trials, finished: Callable[[Outcome], None]
) -> tuple[list[Outcome], bool]:
    """Run scenarios, `jobs` at a time, and report each when it ends.

    Returns the outcomes in the order of the work, and whether Ctrl-C or SIGTERM came first; all labs are down then too.
    """
    return in_parallel((partial(trials.one, *each) for each in work), jobs, trials, finished)


def in_parallel(
    tasks: Iterable[Callable[[], T | None]], jobs: int, trials: Trials, finished: Callable[[T], None]
) -> tuple[list[T], bool]:
    """Run tasks that use `trials`; the next is taken from `tasks` when there is room for it. Returns as `run_all`."""
    futures: list[Future[T | None]] = []
    interrupted = False
    with uninterrupted(), ThreadPoolExecutor(jobs) as pool:
        try:
            _follow((pool.submit(task) for task in tasks), jobs, futures, finished)
        except KeyboardInterrupt:
            interrupted = True
            trials.stop()
        finally:
            pool.shutdown(cancel_futures=True)
    done = [future.result() for future in futures if not future.cancelled()]
    return [outcome for outcome in done if outcome is not None], interrupted


def _follow(
    started: Iterator[Future[T | None]], jobs: int, futures: list[Future[T | None]], finished: Callable[[T], None]
) -> None:
    """Report each outcome when it comes. Raises KeyboardInterrupt soon after a signal."""
    pending: set[Future[T | None]] = set()
    while True:
        fresh = list(islice(started, jobs - len(pending)))
        futures += fresh
        pending |= set(fresh)
        if not pending:
            return
        done, pending = wait(pending, _LOOK_AGAIN_S, FIRST_COMPLETED)
        for outcome in filter(None, (future.result() for future in done)):
            finished(outcome)
        give_way()
