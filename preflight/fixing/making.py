"""Make the fixes of one cause together, and undo them: all that undoes a change is on disk before it is made."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from preflight.fixing import applier, state
from preflight.fixing.applier import Done, Run, run_here
from preflight.fixing.journal import Journal, this_boot
from preflight.fixing.record import Record, Undo
from preflight.fixing.step import FixError
from preflight.model.fix import Fix


@dataclass(frozen=True, slots=True)
class Undone:
    """How undoing went. failed: what could not be done; left: what is another than before.

    rebooted: the machine has started again since, so that only files had to be given back.
    """

    failed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    rebooted: bool = False

    @property
    def complete(self) -> bool:
        """Whether all is as it was before."""
        return not self.failed and not self.left


def make(
    journal: Journal,
    record: Record,
    fixes: Sequence[Fix],
    run: Run = run_here,
    *,
    apply: Callable[..., Done] = applier.apply,
) -> Record:
    """Make the fixes, and return what undoes them. Raises FixError; what was changed until then is undone.

    apply: makes one of them, as the applier's does.
    """
    record = replace(record, before=state.seen(fixes, run))
    try:
        for fix in fixes:
            made = record

            def note(done: Done, made: Record = made) -> None:
                journal.hold(replace(made, undos=(*made.undos, Undo.of(done))))

            done = apply(fix, run, note=note)
            record = replace(made, undos=(*made.undos, Undo.of(done)))
            journal.hold(record)
        record = replace(record, after=state.seen_again(record.before, run))
        journal.hold(record)
        journal.tell("applied", record)
    except FixError as error:
        if record.undos or journal.open_record() is not None:
            undone = undo(journal, record, f"it could not be made: {error}", run)
            if not undone.complete:
                left = "; ".join((*undone.failed, *undone.left))
                raise FixError(f"{error}; and not all could be undone: {left}") from None
        raise
    return record


def keep(journal: Journal, record: Record, why: str) -> None:
    """The change stays. Raises FixError."""
    journal.tell("kept", record, why=why)
    journal.keep(record)


def undo(journal: Journal, record: Record, why: str, run: Run = run_here, *, late: bool = False) -> Undone:
    """Undo a change, and compare the state with the one before. Raises FixError if that cannot be written down.

    late: the change was kept for a while, so that others may have changed something since. What is not complete can
    be undone again.
    """
    rebooted = record.boot != this_boot()
    failed = []
    for each in reversed(record.undos):
        try:
            applier.undo(replace(each.done, undo=()) if rebooted else each.done, run)
        except FixError as error:
            failed.append(str(error))
    left: tuple[str, ...] = ()
    if not rebooted:
        try:
            left = _mended(record, run, late=late)
        except FixError as error:
            failed.append(str(error))
        else:
            # A command that undoes what is undone already fails, and harms nothing.
            failed = failed if left or any(each.file for each in record.undos) else []
    left = (*left, *_for_good(record))
    undone = Undone(tuple(failed), left, rebooted)
    journal.tell("undone" if undone.complete else "not undone", record, why=why, failed=failed, left=left)
    if not failed:
        journal.forget(record)
    return undone


def _for_good(record: Record) -> tuple[str, ...]:
    """What was run that nothing undoes."""
    commands = (command for each in record.undos if not each.reversible for command in each.commands)
    return tuple(f"cannot be undone: {shlex.join(command)}" for command in commands)


def _mended(record: Record, run: Run, *, late: bool) -> tuple[str, ...]:
    """Give back what the kernel removed along with the change; then what is still another than before."""

    def now() -> state.State:
        seen = state.seen_again(record.before, run)
        return state.caused(record.before, record.after, seen) if late and record.after else seen

    found = now()
    repairs = state.repairs(record.before, found)
    for command in repairs:
        run(applier.located(command))
    return state.differences(record.before, now() if repairs else found)
