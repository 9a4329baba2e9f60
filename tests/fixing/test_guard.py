"""The real watchdog process: what it changed comes back however the command ends, unless the command keeps it."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from preflight.fixing import making
from preflight.fixing.guard import guarded
from preflight.fixing.journal import Journal
from preflight.fixing.step import FixError
from preflight.model.fix import Setting

OLD, NEW = "control: {scope_id: old}\n", 'control: {scope_id: "new"}\n'
WAITS = """
import sys
from preflight.fixing.guard import guarded
from preflight.model.fix import Setting
with guarded() as guard:
    guard.apply([Setting(file=sys.argv[1], key="control.scope_id", value="new")], "x.y", "b", 900.0)
    print("applied", guard._child.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file."""
    path = tmp_path / "preflight.yaml"
    path.write_text(OLD)
    return path


def fix(file: Path) -> Setting:
    """What changes it."""
    return Setting(file=str(file), key="control.scope_id", value="new")


def test_it_stays_only_if_it_is_kept(file: Path) -> None:
    """Protects both ends: nothing is left by default, and what healed stays."""
    with guarded() as guard:
        guard.apply([fix(file)], "x.y", "b", 900.0)
        assert file.read_text() == NEW
    assert file.read_text() == OLD
    with guarded() as guard:
        guard.apply([fix(file)], "x.y", "b", 900.0)
        guard.keep("healed")
        assert guard.kept
    assert file.read_text() == NEW


def test_time_that_is_over_undoes_it(file: Path) -> None:
    """Protects the node from a person who lost the connection: the command hears of it too."""
    with guarded() as guard:
        guard.apply([fix(file)], "x.y", "b", 900.0)
        guard.wait(0.05)
        guard.listen()
        assert guard.undone is not None
        assert guard.undone.why == "nobody confirmed it in time"
        assert file.read_text() == OLD
        guard.keep("too late")
        assert not guard.kept


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_the_way_back_survives_the_end_of_the_command(file: Path, number: signal.Signals) -> None:
    """Protects the node when the command is killed, as by a session that the change itself has cut."""
    command = [sys.executable, "-c", WAITS, str(file)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdin is not None
    _, dog = child.stdout.readline().split()
    assert file.read_text() == NEW
    watchdog = os.pidfd_open(int(dog))
    child.send_signal(number)
    child.wait()
    child.stdin.close()
    child.stdout.close()
    assert select.select([watchdog], [], [], 60)[0]
    os.close(watchdog)
    assert file.read_text() == OLD


def test_a_watchdog_that_dies_leaves_the_way_back_on_disk(file: Path) -> None:
    """Protects the last resort: nothing else is changed until `--undo`, which gives back what was there."""
    with guarded() as guard:
        guard.apply([fix(file)], "x.y", "b", 900.0)
        os.kill(guard._child.pid, signal.SIGKILL)
        with pytest.raises(FixError, match="--undo"):
            guard.keep("healed")
    assert file.read_text() == NEW
    with pytest.raises(FixError, match="neither kept nor undone"), guarded():
        pass
    journal = Journal.of_this_user()
    with journal.locked():
        record = journal.open_record()
        assert record is not None
        assert making.undo(journal, record, "asked").complete
    assert file.read_text() == OLD


def test_a_fix_that_cannot_be_made_changes_nothing(tmp_path: Path) -> None:
    """Protects the reason: the command hears why in one clause."""
    with pytest.raises(FixError, match="cannot be read as text"), guarded() as guard:
        guard.apply([fix(tmp_path / "none.yaml")], "x.y", "b", 900.0)
