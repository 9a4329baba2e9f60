"""What a run of `preflight fix` has changed, as a file: all that undoes it, for any later process. Pure."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from preflight.fixing.applier import Done
from preflight.fixing.fix_data import FixEntry, as_data
from preflight.fixing.state import State
from preflight.model.change import Command


@dataclass(frozen=True, slots=True)
class Undo:
    """What undoes one fix. file, text_before, text_after: of the file that it changed; running: as in `Done`."""

    fix: FixEntry
    commands: tuple[Command, ...] = ()
    undo: tuple[Command, ...] = ()
    reversible: bool = True
    running: Command | None = None
    file: str | None = None
    text_before: str | None = None
    text_after: str | None = None

    @classmethod
    def of(cls, done: Done) -> "Undo":
        """What undoes a change that was made."""
        path, before = done.file_before or (None, None)
        file = None if path is None else str(path)
        return cls(done.fix, done.commands, done.undo, done.reversible, done.running, file, before, done.file_after)

    @property
    def done(self) -> Done:
        """The same for the applier."""
        before = None if self.file is None or self.text_before is None else (Path(self.file), self.text_before)
        return Done(
            self.fix,
            self.commands,
            self.undo,
            self.reversible,
            file_before=before,
            file_after=self.text_after,
            running=self.running,
        )


@dataclass(frozen=True, slots=True)
class Record:
    """One run that changed something, or is about to.

    boot: the machine's start (its random id), for a change of the kernel's state is gone after the next one.
    code, target: of the cause. before, after: the state that the fixes may touch.
    """

    id: str
    at: str
    boot: str
    code: str
    target: str
    undos: tuple[Undo, ...] = ()
    before: State = field(default_factory=dict)
    after: State = field(default_factory=dict)


_RECORD = TypeAdapter(Record)


def as_text(record: Record) -> str:
    """The record as JSON."""
    data = asdict(record) | {
        "undos": [asdict(undo) | {"fix": as_data(undo.fix)} for undo in record.undos],
    }
    return json.dumps(data, ensure_ascii=False)


def read(text: str) -> Record:
    """A record from JSON. Raises ValueError."""
    try:
        return _RECORD.validate_json(text, strict=True)
    except ValidationError as error:
        raise ValueError(f"it is not a record of a fix: {error.errors()[0]['msg']}") from None
