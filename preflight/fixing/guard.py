"""The command's side of the watchdog: it makes the change there, and undoes it however this process ends."""

import json
import os
import selectors
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from preflight import programs
from preflight.fixing.fix_data import as_data
from preflight.fixing.step import FixError
from preflight.model.fix import Fix

_LOST = "the process that watches over the change has ended: `preflight fix --undo` undoes it"


@dataclass(frozen=True, slots=True)
class Undid:
    """The change is undone. why: in words; failed, left: what could not be undone, and what is another than before."""

    why: str
    failed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class Guard:
    """A change that a watchdog made. Each method raises FixError if the watchdog is gone."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self._child = child
        self.undone: Undid | None = None
        self.kept = False

    @property
    def answers(self) -> int:
        """The descriptor that becomes readable when the watchdog says something."""
        assert self._child.stdout is not None
        return self._child.stdout.fileno()

    def apply(self, fixes: Sequence[Fix], code: str, target: str, limit_s: float) -> None:
        """Make the fixes. Raises FixError if they cannot be made; then nothing has changed."""
        self._ask(do="apply", fixes=[as_data(fix) for fix in fixes], code=code, target=target, limit_s=limit_s)

    def wait(self, limit_s: float) -> None:
        """From now on, undo after this time (seconds) unless `keep` comes before."""
        self._ask(do="wait", limit_s=limit_s)

    def keep(self, why: str) -> None:
        """The change stays, unless it is undone already: `undone` says so."""
        if self.undone is None and self._ask(do="keep", why=why).get("did") == "keep":
            self.kept = True

    def undo(self) -> Undid:
        """Undo the change."""
        if self.undone is None:
            self._ask(do="undo")
        assert self.undone is not None
        return self.undone

    def listen(self) -> None:
        """Take what the watchdog says by itself: that time is over."""
        self._hear()

    def _ask(self, **message: Any) -> Mapping[str, Any]:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps(message) + "\n")
            self._child.stdin.flush()
        except OSError:
            pass  # it has ended, and said why
        return self._hear()

    def _hear(self) -> Mapping[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise FixError(_LOST)
        answer: Mapping[str, Any] = json.loads(line)
        if answer["did"] == "nothing":
            self.undone = Undid(answer["why"])
            raise FixError(answer["why"])
        if answer["did"] == "undo":
            self.undone = Undid(answer["why"], tuple(answer["failed"]), tuple(answer["left"]))
        return answer


@contextmanager
def guarded() -> Iterator[Guard]:
    """A watchdog for the length of the body, which undoes what was neither kept nor undone. Raises FixError."""
    child = subprocess.Popen(
        programs.python_module("preflight.fixing.watchdog"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    guard = Guard(child)
    try:
        guard.listen()  # it is there, and nobody else changes anything
        yield guard
    finally:
        assert child.stdin is not None
        assert child.stdout is not None
        with suppress(OSError):
            child.stdin.close()
        child.wait()
        child.stdout.close()


def readable(guard: Guard, other: int, limit_s: float | None = None) -> set[int]:
    """Which of the watchdog's answers and another descriptor can be read, waiting for one of them."""
    with selectors.DefaultSelector() as selector:
        for number in (guard.answers, other):
            selector.register(number, selectors.EVENT_READ)
        return {int(key.fd) for key, _ in selector.select(limit_s)}


def line_of(number: int) -> str:
    """What can be read now: a line, from a terminal."""
    return os.read(number, 1024).decode("utf-8", "replace")
