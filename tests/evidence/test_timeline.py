"""Who keeps the events of a run."""

from pathlib import Path

import pytest

from preflight.evidence import timeline
from preflight.evidence.timeline import Growing, Held
from preflight.files import Stream
from preflight.model.event import Event
from preflight.report.redact import Redactor
from preflight.report.timeline import parse


def event(number: int) -> Event:
    return Event(float(number), "pmtu.fast", "b forward", "probe-sent", {"size_bytes": number})


def test_a_file_grows_with_each_event(tmp_path: Path) -> None:
    """What has happened is in the file at once, not when the run is over."""
    path = tmp_path / "t.jsonl"
    stream = Stream(path)
    listener = Growing(stream, Redactor([]))
    for number in range(3):
        listener(event(number))
        assert len(parse(path.read_bytes()).events) == number + 1
    stream.close()


def test_a_file_that_cannot_be_written_does_not_end_the_run(tmp_path: Path) -> None:
    """The disk may fill while a check measures: the failure is kept and reported at the end."""
    path = tmp_path / "t.jsonl"
    stream = Stream(path)
    listener = Growing(stream, Redactor([]))
    stream.close()
    listener(event(1))
    listener(event(2))
    assert f"{path} cannot be written" in str(listener.failure)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first events are kept, and one that says that more is missing."""
    monkeypatch.setattr(timeline, "MOST_EVENTS", 3)
    held = Held()
    for number in range(10):
        held(event(number))
    assert [each.name for each in held.recorded().events] == ["probe-sent"] * 3 + ["cut"]
