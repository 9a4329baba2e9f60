"""The journal: on disk before a change, for this user alone, and readable after any end of the process."""

import json
import stat
from pathlib import Path

import pytest

from preflight.fixing.journal import JOURNAL, OPEN, Journal
from preflight.fixing.record import Record
from preflight.fixing.step import FixError

FIRST = Record("1", "2026-11-28T10:00:00+00:00", "boot", "mtu.black-hole", "b")
SECOND = Record("2", "2026-11-28T11:00:00+00:00", "boot", "overlay.down", "c")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """An empty journal."""
    return Journal(tmp_path / "state" / "fixes")


def test_a_change_is_open_until_it_is_kept_or_forgotten(journal: Journal) -> None:
    """Protects the way back: what is open is found by the next process, and what was kept later too."""
    assert journal.open_record() is None
    with journal.locked():
        journal.hold(FIRST)
        journal.hold(FIRST)
        assert journal.open_record() == FIRST
        journal.keep(FIRST)
        journal.hold(SECOND)
        journal.keep(SECOND)
        assert journal.open_record() is None
        assert journal.kept() == [FIRST, SECOND]
        journal.forget(SECOND)
        assert journal.kept() == [FIRST]
        journal.hold(SECOND)
        journal.forget(SECOND)
        assert journal.open_record() is None


def test_nobody_else_can_read_or_write_it(journal: Journal) -> None:
    """Protects a settings file's content, and from commands that another user would have run as root."""
    with journal.locked():
        journal.hold(FIRST)
        journal.tell("applied", FIRST, why="x")
    assert stat.S_IMODE(journal.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in journal.folder.iterdir()} == {0o600}
    (journal.folder / OPEN).chmod(0o644)
    with pytest.raises(FixError, match="lets others in"):
        journal.open_record()
    journal.folder.chmod(0o755)
    with pytest.raises(FixError, match="lets others in"), journal.locked():
        pass


def test_one_at_a_time(journal: Journal) -> None:
    """Protects from two changes at once, of which the second would note the first as the state before."""
    with journal.locked(), pytest.raises(FixError, match="another `preflight fix`"), Journal(journal.folder).locked():
        pass


def test_each_event_is_one_line(journal: Journal) -> None:
    """Protects who reads the journal: what, when, why; never the content of a file."""
    with journal.locked():
        journal.tell("applied", FIRST)
        journal.tell("undone", FIRST, why="nobody confirmed it")
    lines = [json.loads(line) for line in (journal.folder / JOURNAL).read_text().splitlines()]
    assert [(line["event"], line["code"], line["target"]) for line in lines] == [
        ("applied", "mtu.black-hole", "b"),
        ("undone", "mtu.black-hole", "b"),
    ]
    assert lines[1]["why"] == "nobody confirmed it"


def test_a_damaged_record_is_said(journal: Journal) -> None:
    """Protects from silence about a change that cannot be undone any more."""
    with journal.locked():
        journal.hold(FIRST)
    (journal.folder / OPEN).write_text("{")
    with pytest.raises(FixError, match="cannot be used"):
        journal.open_record()
