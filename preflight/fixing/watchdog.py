"""Makes a change and undoes it unless it is kept in time: `python -m preflight.fixing.watchdog`, with the command.

It is a separate process in a separate session, so that the way back survives every end of the command: it reads
from a pipe that only the command holds open. Messages are JSON, one a line; see `Watchdog.hear`.
"""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

from preflight.fixing import making
from preflight.fixing.applier import Run, run_here
from preflight.fixing.fix_data import read_fix
from preflight.fixing.journal import Journal, now, this_boot
from preflight.fixing.record import Record
from preflight.fixing.step import FixError

COMMAND_GONE, TIME_OVER, ASKED = "the command ended", "nobody confirmed it in time", "the command asked for it"
_MOST_BYTES = 1 << 20


class Watchdog:
    """What it does on each message; pure, except for the change itself. clock: seconds, never set back."""

    def __init__(self, journal: Journal, run: Run = run_here, clock: Callable[[], float] = time.monotonic) -> None:
        self._journal = journal
        self._run = run
        self._clock = clock
        self._record: Record | None = None
        self.deadline_s: float | None = None
        self.over = False

    def hear(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do what a message says, and answer.

        `apply` makes `fixes` of the cause `code` at `target`; `wait` says that `limit_s` seconds are left from now;
        `keep` and `undo` end it. `apply` has a limit too.
        """
        limit_s = message.get("limit_s")
        self.deadline_s = self.deadline_s if limit_s is None else self._clock() + float(limit_s)
        match message.get("do"):
            case "apply":
                return self._apply(message)
            case "keep":
                return self._keep(str(message.get("why", "")))
            case "undo":
                return self.undo(ASKED)
        return {"did": "wait"}

    def undo(self, why: str) -> Mapping[str, Any]:
        """Undo the change, if there is one; nothing more is to do then."""
        self.over = True
        if self._record is None:
            return {"did": "undo", "why": why, "failed": [], "left": []}
        record, self._record = self._record, None
        try:
            undone = making.undo(self._journal, record, why, self._run)
        except FixError as error:
            return {"did": "undo", "why": why, "failed": [str(error)], "left": []}
        return {"did": "undo", "why": why, "failed": undone.failed, "left": undone.left}

    def _apply(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            fixes = [read_fix(data) for data in message["fixes"]]
            code, target = str(message["code"]), str(message["target"])
            empty = Record(uuid4().hex, now(), this_boot(), code, target)
            self._record = making.make(self._journal, empty, fixes, self._run)
        except (FixError, ValueError) as error:
            self.over = True
            return {"did": "nothing", "why": str(error)}
        return {"did": "apply"}

    def _keep(self, why: str) -> Mapping[str, Any]:
        if self._record is None:
            return {"did": "nothing", "why": "there is no change"}
        try:
            making.keep(self._journal, self._record, why)
        except FixError as error:
            return self.undo(str(error))
        self.over = True
        return {"did": "keep"}


def main() -> None:
    """Serve the command at the other end of the pipes until the change is kept or undone."""
    signals, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: os.write(woken, b"x") and None)
    try:
        journal = Journal.of_this_user()
        with journal.locked():
            _refuse_second(journal)
            _serve(Watchdog(journal), signals)
    except FixError as error:
        _say({"did": "nothing", "why": str(error)})


def _refuse_second(journal: Journal) -> None:
    """Raises FixError if the watchdog of an earlier change was killed."""
    if (left := journal.open_record()) is not None:
        raise FixError(
            f"the fix of {left.code} at {left.target} was neither kept nor undone: `preflight fix --undo` undoes it"
        )


def _serve(watchdog: Watchdog, signals: int) -> None:
    """Until it is over."""
    _say({"did": "start"})
    heard = b""
    while not watchdog.over:
        left_s = None if watchdog.deadline_s is None else max(0.0, watchdog.deadline_s - time.monotonic())
        ready, _, _ = select.select([0, signals], [], [], left_s)
        if not ready or signals in ready:
            _say(watchdog.undo(TIME_OVER if not ready else "the system ends"))
            return
        more = os.read(0, _MOST_BYTES)
        if not more:
            watchdog.undo(COMMAND_GONE)
            return
        *lines, heard = (heard + more).split(b"\n")
        for line in lines:
            _say(watchdog.hear(json.loads(line)))


def _say(answer: Mapping[str, Any]) -> None:
    """Answer the command, which may be gone."""
    with suppress(OSError):
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
