"""Run scenarios, each in its own lab, several in parallel."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

from preflight.files import Attempts, WriteError, write
from preflight.lab import score
from preflight.lab.labs import Lab, fresh_lab
from preflight.lab.names import LabError
from preflight.lab.scenarios import Scenario
from preflight.lab.score import Outcome
from preflight.lab.signals import give_way, uninterrupted
from preflight.lab.truth import Truth
from preflight.programs import python_module
from preflight.report.timeline import FILE as TIMELINE

RUN_LIMIT_S = 180.0
_LOOK_AGAIN_S = 0.1


class Matrix:
    """One `lab run`. reports: the directory for the reports. attempts: remember those that could not be written."""

    def __init__(
        self, scenarios: Sequence[Scenario], *, repeat: int, jobs: int, reports: Path, attempts: Attempts
    ) -> None:
        self._work = [(scenario, number) for number in range(1, repeat + 1) for scenario in scenarios]
        self._jobs = jobs
        self._reports = reports
        self._attempts = attempts
        self._guard = threading.Lock()
        self._stopped = threading.Event()
        self._running: set[subprocess.Popen[bytes]] = set()

    def run(self, finished: Callable[[Outcome], None]) -> tuple[list[Outcome], bool]:
        """Run all and report each when it ends.

        Returns the outcomes in the order of the work, and whether Ctrl-C or SIGTERM came first; all labs are down
        then too.
        """
        interrupted = False
        with uninterrupted(), ThreadPoolExecutor(self._jobs) as pool:
            futures = [pool.submit(self._one, scenario, number) for scenario, number in self._work]
            try:
                _follow(futures, finished)
            except KeyboardInterrupt:
                interrupted = True
            finally:
                self._stop()
                pool.shutdown(cancel_futures=True)
        done = [future.result() for future in futures if not future.cancelled()]
        return [outcome for outcome in done if outcome is not None], interrupted

    def _one(self, scenario: Scenario, number: int) -> Outcome | None:
        """One scenario in its own lab; None if the run was stopped meanwhile."""
        if self._stopped.is_set():
            return None
        started, timeline = time.monotonic(), b""
        try:
            with fresh_lab(scenario) as lab:
                started, true = time.monotonic(), _truths(scenario, lab)
                try:
                    report = self._preflight(lab)
                finally:
                    timeline = _timeline(lab)
        except LabError as error:
            outcome = score.broken(scenario, str(error))
        else:
            kept = self._keep(f"{scenario.name}-{number}.json", json.dumps(report, indent=2, ensure_ascii=False))
            outcome = replace(_judged(scenario, true, report), report=kept)
        if timeline and not outcome.good:
            outcome = replace(outcome, timeline=self._keep(f"{scenario.name}-{number}.{TIMELINE}", timeline))
        if self._stopped.is_set():
            return None
        return replace(outcome, repeat=number, duration_ms=(time.monotonic() - started) * 1000)

    def _preflight(self, lab: Lab) -> dict[str, Any]:
        """`preflight all` on node a. Raises LabError if it writes no report."""
        file, log = lab.names.directory / "report.json", lab.names.directory / "preflight.log"
        documents = ["--output", f"json={file}", "--debug", str(lab.names.directory / TIMELINE)]
        words = python_module("preflight", "all", *lab.preflight_arguments(), *documents)
        with log.open("wb") as sink:
            child = self._start(lab.command(words), lab.environment(), sink.fileno())
        try:
            child.wait(RUN_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise LabError(f"preflight all did not end within {RUN_LIMIT_S:.0f} s") from None
        finally:
            self._end(child)
        try:
            report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            last = said[-1] if said else "it printed nothing"
            raise LabError(f"preflight all ended with {child.returncode} and wrote no report: {last}") from None
        return report

    def _start(self, words: list[str], environment: dict[str, str], sink: int) -> subprocess.Popen[bytes]:
        """In a new session: only we get Ctrl-C from the terminal, and `_stop` passes it on."""
        with self._guard:
            if self._stopped.is_set():
                raise LabError("stopped")
            child = subprocess.Popen(words, env=environment, stdout=sink, stderr=sink, start_new_session=True)
            self._running.add(child)
        return child

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        with self._guard:
            self._running.discard(child)
        child.kill()
        child.wait()

    def _stop(self) -> None:
        with self._guard:
            self._stopped.set()
            for child in self._running:
                child.kill()

    def _keep(self, name: str, content: str | bytes) -> str | None:
        path = self._reports / name
        try:
            write(path, content)
        except WriteError as error:
            self._attempts.failures.append(error)
            return None
        return str(path)


def _truths(scenario: Scenario, lab: Lab) -> tuple[Truth, ...]:
    """What is true of a draw in this lab, before anything is healed."""
    return tuple(truth.resolved(lab.network) for truth in scenario.draw.truths()) if scenario.draw else ()


def _judged(scenario: Scenario, true: Sequence[Truth], report: Mapping[str, Any]) -> Outcome:
    if scenario.draw is None:
        return score.judge(scenario, report)
    return score.judge_draw(scenario.name, true, report, scenario.draw.setup.silent())


def _timeline(lab: Lab) -> bytes:
    """The timeline of the node's run so far, also if the run was killed."""
    try:
        return (lab.names.directory / TIMELINE).read_bytes()
    except OSError:
        return b""


def _follow(futures: list[Future[Outcome | None]], finished: Callable[[Outcome], None]) -> None:
    """Report each outcome when it comes. Raises KeyboardInterrupt soon after a signal."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, _LOOK_AGAIN_S, FIRST_COMPLETED)
        for outcome in filter(None, (future.result() for future in done)):
            finished(outcome)
        give_way()
