"""Fixes of one cause are made together, and undone together, with the state before as the judge."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from preflight.fixing import making
from preflight.fixing.journal import JOURNAL, Journal, this_boot
from preflight.fixing.record import Record
from preflight.fixing.step import FixError
from preflight.model.fix import LinkMtu, QueueDelete, Setting
from tests.fixing.machine import Machine

EMPTY = Record("1", "2026-11-28T10:00:00+00:00", this_boot(), "mtu.black-hole", "b")
MTU = LinkMtu(interface="wg0", mtu_bytes=1312)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A journal that this test holds."""
    return Journal(tmp_path / "fixes")


def events(journal: Journal) -> list[str]:
    """What the journal says."""
    return [json.loads(line)["event"] for line in (journal.folder / JOURNAL).read_text().splitlines()]


def test_what_is_made_is_on_disk_and_undone(journal: Journal) -> None:
    """Protects the way back: the record of the open change undoes it, and the state is as it was."""
    machine = Machine()
    with journal.locked():
        record = making.make(journal, EMPTY, [MTU], machine)
        assert machine.mtu == 1312
        assert journal.open_record() == record
        assert making.undo(journal, record, "asked", machine).complete
        assert machine.mtu == 1420
        assert journal.open_record() is None
    assert events(journal) == ["applied", "undone"]


def test_the_way_back_is_on_disk_before_the_change(journal: Journal) -> None:
    """Protects from a kill in the middle: what comes next is noted before it is run."""
    machine, noted = Machine(), []

    def run(argv: list[str]) -> object:
        if "set" in argv:
            noted.append(journal.open_record())
        return machine(argv)

    with journal.locked():
        making.make(journal, EMPTY, [MTU], run)  # type: ignore[arg-type]
    (record,) = noted
    assert record is not None
    assert record.undos[0].running == MTU.commands[0]
    assert record.before["ip -o link show"] == ("wg0 mtu 1420 up",)


def test_a_second_fix_that_fails_undoes_the_first(journal: Journal, tmp_path: Path) -> None:
    """Protects from half a cure: the fixes of one cause belong together."""
    machine = Machine()
    missing = Setting(file=str(tmp_path / "none.yaml"), key="control.scope_id", value="x")
    with journal.locked():
        with pytest.raises(FixError, match="cannot be read as text"):
            making.make(journal, EMPTY, [MTU, missing], machine)
        assert machine.mtu == 1420
        assert journal.open_record() is None


def test_what_cannot_be_undone_is_said_and_stays_open(journal: Journal) -> None:
    """Protects from a change that is forgotten although it is still there; the next try completes it."""
    machine = Machine()
    with journal.locked():
        record = making.make(journal, EMPTY, [MTU], machine)
        machine.failing = "1420"
        undone = making.undo(journal, record, "asked", machine)
        assert undone.failed == ("ip link set failed: no",)
        assert undone.left == ("gone: wg0 mtu 1420 up", "new: wg0 mtu 1312 up")
        assert journal.open_record() == record
        machine.mtu = 1420  # a person put it right
        assert making.undo(journal, record, "asked", machine).complete
        assert journal.open_record() is None


def test_a_file_that_others_changed_since_stays(journal: Journal, tmp_path: Path) -> None:
    """Protects what a person wrote into the file after the fix."""
    file = tmp_path / "preflight.yaml"
    file.write_text("control: {scope_id: old}\n")
    fix = Setting(file=str(file), key="control.scope_id", value="x")
    with journal.locked():
        record = making.make(journal, EMPTY, [fix])
        file.write_text("control: {scope_id: mine}\n")
        undone = making.undo(journal, record, "asked")
    assert "was changed by another program or person since" in undone.failed[0]
    assert file.read_text() == "control: {scope_id: mine}\n"


def test_after_a_restart_only_files_are_given_back(journal: Journal, tmp_path: Path) -> None:
    """Protects from commands for a state of the kernel that went with the machine's last start."""
    machine, file = Machine(), tmp_path / "preflight.yaml"
    file.write_text("control: {scope_id: old}\n")
    fix = Setting(file=str(file), key="control.scope_id", value="x")
    with journal.locked():
        record = making.make(journal, EMPTY, [MTU, fix], machine)
        machine.ran.clear()
        undone = making.undo(journal, replace(record, boot="another"), "asked", machine)
    assert undone.complete
    assert undone.rebooted
    assert file.read_text() == "control: {scope_id: old}\n"
    assert machine.ran == []


def test_what_nothing_can_undo_is_never_called_undone(journal: Journal) -> None:
    """Protects from the claim that all is as before, after a change that only goes forward; it does not stay open."""
    machine, queue = Machine(), QueueDelete(interface="wg0")
    with journal.locked():
        record = making.make(journal, EMPTY, [queue], machine)
        assert making.undo(journal, record, "asked", machine).left == ("cannot be undone: tc qdisc del dev wg0 root",)
        assert journal.open_record() is None


@pytest.mark.parametrize("failing", ["1420", ""])
def test_a_fix_that_cannot_be_made_says_what_is_left(journal: Journal, tmp_path: Path, failing: str) -> None:
    """Protects from `not applied` where half of it was, and could not be undone."""
    machine = Machine(failing)
    missing = Setting(file=str(tmp_path / "none.yaml"), key="control.scope_id", value="x")
    with journal.locked(), pytest.raises(FixError) as refused:
        making.make(journal, EMPTY, [MTU, missing], machine)
    assert ("not all could be undone: ip link set failed: no" in str(refused.value)) == bool(failing)


def test_what_was_kept_is_undone_later(journal: Journal) -> None:
    """Protects `--undo`: a later change of another person does not count."""
    machine = Machine()
    with journal.locked():
        record = making.make(journal, EMPTY, [MTU], machine)
        making.keep(journal, record, "healed")
        (kept,) = journal.kept()
        assert making.undo(journal, kept, "asked", machine, late=True).complete
        assert journal.kept() == []
    assert machine.mtu == 1420
    assert events(journal) == ["applied", "kept", "undone"]
