"""One scenario in its own lab: built, run, and judged."""

import json
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from preflight.files import Attempts, WriteError, write
from preflight.lab import reaper, score, truth
from preflight.lab.heal import Healing, heal
from preflight.lab.labs import Lab, fresh_lab
from preflight.lab.names import LabError
from preflight.lab.rehearsal import fixed
from preflight.lab.scenarios import Scenario
from preflight.lab.score import Outcome
from preflight.lab.truth import Truth
from preflight.programs import python_module
from preflight.report.timeline import FILE as TIMELINE

RUN_LIMIT_S = 180.0


class Trials:
    """Runs scenarios, in any number of threads, until it is stopped.

    reports: the directory for their reports; attempts: remembers those that could not be written. healing: do what a
    report of something broken says that heals, run again, and undo it. fixing: then let `preflight fix` do it too.
    """

    def __init__(self, reports: Path, attempts: Attempts, *, healing: bool = False, fixing: bool = False) -> None:
        self._healing = healing
        self._fixing = fixing
        self._reports = reports
        self._attempts = attempts
        self._guard = threading.Lock()
        self._stopped = threading.Event()
        self._running: set[subprocess.Popen[bytes]] = set()
        reaper.stand_by()

    def one(self, scenario: Scenario, number: int) -> Outcome | None:
        """One run of one scenario; None if all were stopped meanwhile."""
        if self._stopped.is_set():
            return None
        began, timeline = time.monotonic(), b""
        started, healing = began, None
        try:
            with fresh_lab(scenario) as lab:
                started, true = time.monotonic(), _truths(scenario, lab)
                try:
                    report = self._preflight(lab)
                finally:
                    ran_s = time.monotonic() - started
                    timeline = _timeline(lab)
                if self._healing and scenario.is_broken:
                    healing = self._heal(scenario, lab, report, number)
        except LabError as error:
            outcome = score.broken(scenario, str(error))
        else:
            kept = self._keep_report(f"{scenario.name}-{number}", report)
            outcome = replace(_judged(scenario, true, report), report=kept, ran_ms=ran_s * 1000, healing=healing)
        if timeline and not outcome.good:
            outcome = replace(outcome, timeline=self._keep(f"{scenario.name}-{number}.{TIMELINE}", timeline))
        if self._stopped.is_set():
            return None
        ended = time.monotonic()
        outcome = replace(outcome, repeat=number, healable=scenario.draw is None or scenario.draw.healable)
        return replace(outcome, duration_ms=(ended - started) * 1000, whole_ms=(ended - began) * 1000)

    def stop(self) -> None:
        """End what runs, and run nothing more."""
        with self._guard:
            self._stopped.set()
            for child in self._running:
                child.kill()

    def _heal(self, scenario: Scenario, lab: Lab, report: Mapping[str, Any], number: int) -> Healing:
        """What the report's fixes do. A second report that is not green is kept."""

        reports = [report]

        def rerun(variables: Mapping[str, str]) -> Mapping[str, Any]:
            if _enrolled(reports[-1]):
                lab.renew_token()
            reports.append(self._preflight(lab, variables))
            if not _green(scenario, reports[-1]):
                self._keep_report(f"{scenario.name}-{number}-after", reports[-1])
            return reports[-1]

        silent = scenario.silent
        done = heal(lab, report, rerun, lambda after: _green(scenario, after), most=_ends(scenario), silent=silent)
        if not self._fixing:
            return done
        by_command = fixed(lab, report)  # one of several causes may have a fix of this node, also if a person must act
        words = "" if done.verdict == "no fix" and by_command.refused else by_command.words
        return replace(done, command=words, left=(*done.left, *by_command.left))

    def _preflight(self, lab: Lab, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
        """`preflight all` on node a. Raises LabError if it writes no report."""
        file, log = lab.names.directory / "report.json", lab.names.directory / "preflight.log"
        documents = ["--output", f"json={file}", "--debug", str(lab.names.directory / TIMELINE)]
        words = python_module("preflight", "all", *lab.preflight_arguments(), *documents)
        file.unlink(missing_ok=True)
        with log.open("wb") as sink:
            child = self._start(lab.users_command(words), lab.environment() | dict(variables or {}), sink.fileno())
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
        """In a new session: only we get Ctrl-C from the terminal, and `stop` passes it on."""
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

    def _keep_report(self, name: str, report: Mapping[str, Any]) -> str | None:
        return self._keep(f"{name}.json", json.dumps(report, indent=2, ensure_ascii=False))

    def _keep(self, name: str, content: str | bytes) -> str | None:
        path = self._reports / name
        try:
            write(path, content)
        except WriteError as error:
            self._attempts.failures.append(error)
            return None
        return str(path)


def _truths(scenario: Scenario, lab: Lab) -> tuple[Truth, ...]:
    """What is true of a draw in this lab."""
    if scenario.draw is None or not scenario.by_truth:
        return ()
    return tuple(truth.resolved(lab.network) for truth in scenario.draw.truths())


def _judged(scenario: Scenario, true: Sequence[Truth], report: Mapping[str, Any]) -> Outcome:
    if scenario.draw is None or not scenario.by_truth:
        return score.judge(scenario, report)
    return score.judge_draw(scenario.name, true, report, scenario.silent, any_order=scenario.draw.any_order)


def _green(scenario: Scenario, report: Mapping[str, Any]) -> bool:
    """Whether nothing is wrong any more, as far as this set-up lets us see."""
    return truth.judge((), report, silent=scenario.silent).right


def _ends(scenario: Scenario) -> int:
    """How often something may be left to heal: each fault may be at both ends of a way, such as an MTU."""
    drawn = len(scenario.draw.faults) if scenario.draw is not None else 0
    return 2 * max(drawn, 1 + len(scenario.also))


def _enrolled(report: Mapping[str, Any]) -> bool:
    """Whether the run has spent its one-time token."""
    return any(each["check"] == "enroll.cycle" and each["status"] == "pass" for each in report["results"])


def _timeline(lab: Lab) -> bytes:
    """The timeline of the node's run so far, also if the run was killed."""
    try:
        return (lab.names.directory / TIMELINE).read_bytes()
    except OSError:
        return b""
