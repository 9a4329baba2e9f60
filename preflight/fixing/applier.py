"""Make the change of a fix, and undo it.

The caller says how a command is run: here, in a network namespace, or on another machine. The command lines are
built from the fix alone, with the absolute path of their program; files are changed on this machine.
"""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import ndiff
from pathlib import Path
from typing import NamedTuple

from preflight import files, programs
from preflight.fixing.names_edit import edited, edited_file
from preflight.fixing.settings_edit import changed, readdressed
from preflight.fixing.step import FixError, Step
from preflight.fixing.steps import steps
from preflight.model.change import Command
from preflight.model.fix import BearerFromWorkerToken, Environment, Fix, PastProxy, PeerAddress, Setting

PATIENCE_S = 60.0
_ETC = Path("/etc")
"""Its files are changed in their places: a container has some of them mounted one by one."""
_PROXY_VARIABLE = "NO_PROXY"
_BEARER, _WORKER = "VOX_MESH_TOKEN", "VOX_MESH_WORKER_TOKEN"


class Ran(NamedTuple):
    """How a command ended."""

    exit_code: int
    output: str
    error: str = ""


Run = Callable[[Sequence[str]], Ran]
Located = Callable[[str], Path]
"""Where a file of /etc is. Raises FixError."""
Start = Callable[[Sequence[str]], Callable[[], None]]
"""Start a program that stays, and return what stops it."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was changed, and what undoes it.

    commands: that were run; none if all was already as it should be. undo: in their order. reversible: whether `undo`
    brings everything back. environment: variables that the next run must have, with the value that each had before in
    `environment_before`. file_before: the path and content of a file that was changed; file_after: its content now.
    running: a command that was started, and may have been run.
    """

    fix: Fix
    commands: tuple[Command, ...] = ()
    undo: tuple[Command, ...] = ()
    reversible: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    environment_before: Mapping[str, str | None] = field(default_factory=dict)
    file_before: tuple[Path, str] | None = None
    file_after: str | None = None
    stop: Callable[[], None] | None = None
    running: Command | None = None


Note = Callable[[Done], None]
"""Hears before each change what would undo everything: `running` is the command that comes next. Raises FixError."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What `apply` would do now. file: that would change, and in it the lines that go (`-`) and come (`+`).

    reversible: whether all of it can be undone. Nothing would change if there are neither commands nor lines.
    """

    commands: tuple[Command, ...] = ()
    file: Path | None = None
    lines: tuple[str, ...] = ()
    reversible: bool = True


def run_here(argv: Sequence[str]) -> Ran:
    """Run a command on this machine. Raises FixError if it does not end in time."""
    try:
        done = subprocess.run(
            argv,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FixError(f"{Path(argv[0]).name} could not be run: {type(error).__name__}") from None
    return Ran(done.returncode, done.stdout, done.stderr)


def apply(
    fix: Fix,
    run: Run = run_here,
    *,
    start: Start | None = None,
    environ: Mapping[str, str] = os.environ,
    located_file: Located = Path,
    note: Note = lambda done: None,
) -> Done:
    """Make the change. Raises FixError; what was changed until then is undone.

    start: for a fix whose program stays. environ: the variables that the worker has now. located_file: where a file
    of /etc is for the worker. note: hears of each change before it is made.
    """
    if (edit := _edit(fix, located_file)) is not None:
        path, before, after = edit
        done = Done(fix, file_before=(path, before), file_after=after)
        note(done)
        _write(path, after)
        return done
    if isinstance(fix, Environment | PastProxy | BearerFromWorkerToken):
        return _in_environment(fix, environ)
    if fix.stays:
        return _started(fix, start)
    return _run(fix, run, note)


def planned(fix: Fix, run: Run = run_here, *, located_file: Located = Path) -> Plan:
    """What `apply` would do now; nothing is changed. Raises FixError where it would not be right any more."""
    if (edit := _edit(fix, located_file)) is not None:
        path, before, after = edit
        lines = tuple(line for line in ndiff(before.splitlines(), after.splitlines()) if line.startswith(("- ", "+ ")))
        return Plan(file=path, lines=lines)
    made = steps(fix, lambda question: _must(run, question))
    return Plan(tuple(step.command for step in made), reversible=all(step.unmade is not None for step in made))


def undo(done: Done, run: Run = run_here) -> None:
    """Bring back what was before, as far as possible. Raises FixError that names everything that failed."""
    if done.stop is not None:
        done.stop()
    failed = []
    if done.file_before is not None:
        try:
            _give_back(*done.file_before, done.file_after)
        except FixError as error:
            failed.append(str(error))
    for command in done.undo:
        try:
            _must(run, command)
        except FixError as error:
            failed.append(str(error))
    if failed:
        raise FixError("; ".join(failed))


def located(command: Command) -> list[str]:
    """A command line with the absolute path of its program. Raises FixError if it is not installed."""
    name, *words = command
    if name == "preflight":
        return programs.python_module(name, *words)
    path = programs.find(name)
    if path is None:
        raise FixError(f"{name} is not installed")
    return [path, *words]


def _run(fix: Fix, run: Run, note: Note) -> Done:
    made: list[Step] = []
    undone: list[Command] = []

    def so_far(running: Command | None = None) -> Done:
        reversible = all(step.unmade is not None for step in made)
        return Done(fix, tuple(step.command for step in made), tuple(undone), reversible, running=running)

    for step in steps(fix, lambda question: _must(run, question)):
        note(so_far(step.command))
        try:
            output = _must(run, step.command)
        except FixError:
            for command in undone:
                run(located(command))
            raise
        made.append(step)
        undone = [*(step.unmade(output) if step.unmade else ()), *undone]
    return so_far()


def _must(run: Run, command: Command) -> str:
    """The output of a command that succeeds. Raises FixError."""
    ran = run(located(command))
    if ran.exit_code != 0:
        why = (ran.error.strip() or ran.output.strip() or f"exit code {ran.exit_code}").splitlines()[-1]
        raise FixError(f"{' '.join(command[:3])} failed: {why}")
    return ran.output


def _started(fix: Fix, start: Start | None) -> Done:
    if start is None:
        raise FixError("nothing here keeps a program running")
    (command,) = fix.commands
    return Done(fix, (command,), stop=start(located(command)))


def _edit(fix: Fix, located_file: Located) -> tuple[Path, str, str] | None:
    """The file that a fix changes, and its text before and after; None for any other fix. Raises FixError."""
    if isinstance(fix, Setting):
        path = Path(fix.file)
        return path, (text := _text(path)), changed(text, fix.key, fix.value)
    if isinstance(fix, PeerAddress):
        path = Path(fix.file)
        return path, (text := _text(path)), readdressed(text, fix.before, fix.address)
    if (file := edited_file(fix)) is not None:
        path = located_file(file)
        return path, (text := _text(path)), edited(fix, text)
    return None


def _give_back(path: Path, before: str, after: str | None) -> None:
    """Write what a file had. Raises FixError if anyone has changed it since."""
    text = _text(path)
    if after is not None and text not in (before, after):
        raise FixError(f"{path} was changed by another program or person since, and stays as it is")
    if text != before:
        _write(path, before)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        raise FixError(f"{path} cannot be read as text") from None


def _write(path: Path, text: str) -> None:
    try:
        if path.parent == _ETC:
            overwrite(path, text)
        else:
            files.write(path, text)
    except files.WriteError as error:
        raise FixError(str(error)) from None


def overwrite(path: Path, text: str) -> None:
    """Write into a file as it is: one that is mounted by itself cannot be replaced. Raises FixError."""
    data = text.encode()
    try:
        number = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            files.pour(number, data)
            os.ftruncate(number, len(data))
            os.fsync(number)
        finally:
            os.close(number)
    except OSError as error:
        raise FixError(f"{path} cannot be written: {error.strerror}") from None


def _in_environment(fix: Environment | PastProxy | BearerFromWorkerToken, environ: Mapping[str, str]) -> Done:
    if isinstance(fix, PastProxy):
        known = environ.get(_PROXY_VARIABLE) or environ.get(_PROXY_VARIABLE.lower())
        values = {_PROXY_VARIABLE: f"{known},{fix.host}" if known else fix.host}
    elif isinstance(fix, BearerFromWorkerToken):
        values = {_BEARER: environ.get(_WORKER, "")}
    else:
        values = {variable.name: variable.value for variable in fix.variables}
    return Done(fix, environment=values, environment_before={name: environ.get(name) for name in values})
