"""Do what a report says that heals, where it says, and see whether the next run is green.

Only the fixes of a report are applied, which are data, by the program's own applier; its text is never run.
"""

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from preflight.fixing.applier import PATIENCE_S, Located, Ran, Run, apply
from preflight.fixing.steps import FixError
from preflight.lab.labs import Lab
from preflight.lab.names import ROUTER
from preflight.model.fix import ClockSync, Fix, PrivateFiles, ServiceRestart, Setting, TokenAlone
from preflight.report.remedies import RemedyEntry

Verdict = Literal["healed", "not healed", "harmful", "no fix"]
Rerun = Callable[[Mapping[str, str]], Mapping[str, Any]]
"""Runs preflight again with more variables, and gives its report. Raises LabError."""


@dataclass(frozen=True, slots=True)
class Healing:
    """What was done about a report, and what came of it. why: if it did not heal."""

    verdict: Verdict
    lines: tuple[str, ...] = ()
    why: str = ""


@dataclass(slots=True)
class _Applied:
    lines: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    stops: list[Callable[[], None]] = field(default_factory=list)


def heal(
    lab: Lab,
    report: Mapping[str, Any],
    rerun: Rerun,
    green: Callable[[Mapping[str, Any]], bool],
    *,
    most: int = 1,
    silent: frozenset[str] = frozenset(),
) -> Healing:
    """Make the fixes of each cause, which belong together, and run again.

    most: how often, because what is broken first may hide what is broken next. What was made before is not made again.
    silent: codes that the set-up gives although nothing is broken: nobody need do anything about them.
    Raises LabError if there is no second report.
    """
    done, reports, why_not = _Applied(), [report], ""
    try:
        for _ in range(most):
            chosen, why_not = _next(reports[-1], done, silent)
            if why_not:
                break
            for entry in chosen:
                _apply(lab, entry, done)
            reports.append(rerun(done.environment))
            if _harmed(reports) or green(reports[-1]):
                break
    except FixError as error:
        return Healing("not healed", tuple(done.lines), str(error))
    finally:
        for stop in done.stops:
            stop()
    if len(reports) == 1:
        return Healing("no fix", tuple(_by_hand(report, silent)), why_not)
    return _verdict(reports, done, green)


def _next(report: Mapping[str, Any], done: _Applied, silent: frozenset[str]) -> tuple[list[RemedyEntry], str]:
    """The fixes of a report that were not made yet; or why none is made."""
    entries = [entry for cause in _broken(report, silent) for entry in _fixes(cause)]
    if _by_hand(report, silent):
        return [], "a person must do it"
    fresh = [entry for entry in entries if not set(entry.lines) <= set(done.lines)]
    return fresh, "" if fresh else "no cause has a fix"


def _broken(report: Mapping[str, Any], silent: frozenset[str]) -> list[Mapping[str, Any]]:
    """The causes that the set-up does not give by itself."""
    return [cause for cause in report["diagnosis"] if cause["code"] not in silent]


def _by_hand(report: Mapping[str, Any], silent: frozenset[str]) -> list[str]:
    """What only a person can do of what a report says that heals."""
    entries = (entry for cause in _broken(report, silent) for entry in _fixes(cause))
    return [line for entry in entries if entry.fix is None for line in entry.lines]


def _verdict(
    reports: Sequence[Mapping[str, Any]], done: _Applied, green: Callable[[Mapping[str, Any]], bool]
) -> Healing:
    after = reports[-1]
    harmed = _harmed(reports)
    if harmed:
        return Healing("harmful", tuple(done.lines), f"passed before, and fails now: {', '.join(harmed)}")
    if green(after):
        return Healing("healed", tuple(done.lines))
    left = ", ".join(cause["code"] for cause in after["diagnosis"])
    return Healing("not healed", tuple(done.lines), f"left: {left or 'exit code ' + str(after['run']['exit_code'])}")


def _harmed(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    """What passed in an earlier report, and fails in the last one."""
    *earlier, after = reports
    return list(dict.fromkeys(id for before in earlier for id in worse(before, after)))


def worse(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Ids of results that passed and fail now: a way that was taken down."""
    passed = {result["id"] for result in before["results"] if result["status"] == "pass"}
    return (each["id"] for each in after["results"] if each["status"] == "fail" and each["id"] in passed)


def _fixes(cause: Mapping[str, Any]) -> list[RemedyEntry]:
    entries = (RemedyEntry.model_validate(entry) for entry in cause.get("remedies", ()))
    return [entry for entry in entries if entry.kind == "fix"]


def _apply(lab: Lab, entry: RemedyEntry, done: _Applied) -> None:
    if entry.fix is None:
        return
    if not _confined(lab, entry.fix):
        raise FixError(f"a lab does not do this, for it would change the machine around it: {entry.lines[0]}")
    made = apply(
        entry.fix,
        _run_on(lab, _machine(lab, entry)),
        start=_start_on(lab, _machine(lab, entry)),
        environ=lab.environment(),
        located_file=_own_etc(lab, _machine(lab, entry)),
    )
    done.lines += entry.lines
    done.environment |= made.environment
    done.stops += [made.stop] if made.stop is not None else []


def _confined(lab: Lab, fix: Fix) -> bool:
    """Whether a fix changes the lab's namespaces or its own files only."""
    if isinstance(fix, ClockSync | ServiceRestart):
        return False
    files: tuple[str, ...] = ()
    if isinstance(fix, PrivateFiles):
        files = fix.paths
    elif isinstance(fix, Setting | TokenAlone):
        files = (fix.file if isinstance(fix, Setting) else fix.path,)
    return all(Path(file).resolve().is_relative_to(lab.names.directory) for file in files)


def _machine(lab: Lab, entry: RemedyEntry) -> str:
    """The node of the lab that a remedy means. Raises FixError if the lab lacks it."""
    if entry.where == "router":
        return ROUTER
    if entry.where == "control host":
        return lab.control_node
    node = entry.host or "a"
    if node not in lab.nodes:
        raise FixError(f"the lab has no {node}")
    return node


def _own_etc(lab: Lab, node: str) -> Located:
    """Where a node's own file is that its programs see in /etc. Raises FixError where it sees this machine's."""

    def find(file: str) -> Path:
        own = lab.names.etc(node) / Path(file).name
        if not own.is_file():
            raise FixError(f"{node} sees this machine's {file}")
        return own

    return find


def _run_on(lab: Lab, node: str) -> Run:
    """Run a command in a node of the lab."""

    def run(argv: Sequence[str]) -> Ran:
        try:
            done = subprocess.run(
                lab.command(argv, node),
                env=lab.environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PATIENCE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise FixError(f"{argv[0]} could not be run: {type(error).__name__}") from None
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


def _start_on(lab: Lab, node: str) -> Callable[[Sequence[str]], Callable[[], None]]:
    """Start a program in a node of the lab; what it gives ends it."""

    def start(argv: Sequence[str]) -> Callable[[], None]:
        child = subprocess.Popen(
            lab.command(argv, node), env=lab.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

        def stop() -> None:
            child.kill()
            child.wait()

        return stop

    return start
