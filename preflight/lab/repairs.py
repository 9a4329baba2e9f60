"""The fixes of reports, made on the nodes of a lab, and undone by the code of `preflight fix` and its journal."""

import subprocess
from collections.abc import Callable, Sequence
from difflib import unified_diff
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from preflight.fixing import making
from preflight.fixing.applier import PATIENCE_S, Done, Located, Ran, Run, apply
from preflight.fixing.journal import Journal, now, this_boot
from preflight.fixing.record import Record
from preflight.fixing.step import FixError
from preflight.lab.labs import Lab
from preflight.lab.names import ROUTER
from preflight.lab.node_state import node_state
from preflight.model.fix import (
    ClockSync,
    Fix,
    PeerAddress,
    PrivateFiles,
    ServiceRestart,
    Setting,
    TokenAlone,
    WorkersLine,
)
from preflight.report.remedies import RemedyEntry


class Repairs:
    """What was made in a lab. lines: as the reports say it; environment: variables that the next run must have."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._before: dict[str, list[str]] = {}
        self._made: list[tuple[str, Record]] = []
        self._stops: list[Callable[[], None]] = []
        self.lines: list[str] = []
        self.environment: dict[str, str] = {}

    def make(self, entry: RemedyEntry) -> None:
        """Make one fix where it says. Raises FixError; then it has changed nothing."""
        if entry.fix is None:
            return
        if not _confined(self._lab, entry.fix):
            raise FixError(f"a lab does not do this, for it would change the machine around it: {entry.lines[0]}")
        node = _machine(self._lab, entry)
        if node not in self._before:
            self._before[node] = node_state(self._lab, node)
        journal, empty = self._journal(node), Record(uuid4().hex, now(), this_boot(), entry.fix.id, node)
        with journal.locked():
            made = making.make(journal, empty, [entry.fix], _run_on(self._lab, node), apply=self._apply(node))
            making.keep(journal, made, "the next fix may need it")
        self._made.append((node, made))
        self.lines += entry.lines

    def undo(self) -> tuple[str, ...]:
        """Undo everything, the last first; what is another than before although it can be undone."""
        while self._stops:
            self._stops.pop()()
        left: list[str] = []
        while self._made:
            left += self._undone(*self._made.pop())
        for node, before in self._before.items():
            left += [] if left else differences(before, node_state(self._lab, node), node)
        self._before.clear()
        return tuple(left)

    def _undone(self, node: str, record: Record) -> list[str]:
        """What is left of one change. Nothing of a change that nothing can undo: `fix` says so before it makes it."""
        journal = self._journal(node)
        try:
            with journal.locked():
                undone = making.undo(journal, record, "the lab asked for it", _run_on(self._lab, node))
        except FixError as error:
            return [f"{node}: {error}"]
        if not all(each.reversible for each in record.undos):
            self._before.pop(node, None)
            return []
        return [f"{node}: {each}" for each in (*undone.failed, *undone.left)]

    def _journal(self, node: str) -> Journal:
        return Journal(self._lab.names.directory / "healing" / node)

    def _apply(self, node: str) -> Callable[..., Done]:
        """The applier for a node. What a fix starts, and the variables that it sets, are for this process to know."""
        begin = partial(
            apply,
            start=_start_on(self._lab, node),
            environ=self._lab.environment() | self.environment,
            located_file=_own_etc(self._lab, node),
        )

        def applied(*words: Any, **options: Any) -> Done:
            done = begin(*words, **options)
            self.environment |= done.environment
            self._stops += [done.stop] if done.stop is not None else []
            return done

        return applied


def differences(before: Sequence[str], after: Sequence[str], node: str) -> list[str]:
    """The lines of a node's state that went (`-`) and came (`+`)."""
    lines = list(unified_diff(before, after, n=0, lineterm=""))[2:]
    return [f"{node}: {line}" for line in lines if not line.startswith("@@")]


def _confined(lab: Lab, fix: Fix) -> bool:
    """Whether a fix changes the lab's namespaces or its own files only."""
    if isinstance(fix, ClockSync | ServiceRestart):
        return False
    files: tuple[str, ...] = ()
    if isinstance(fix, PrivateFiles):
        files = fix.paths
    elif isinstance(fix, Setting | PeerAddress | TokenAlone | WorkersLine):
        files = (fix.path if isinstance(fix, TokenAlone) else fix.file,)
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
