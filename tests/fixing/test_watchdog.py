"""The watchdog's decisions, without its pipes: what it answers, and when it undoes."""

from pathlib import Path

import pytest

from preflight.fixing.fix_data import as_data
from preflight.fixing.journal import Journal
from preflight.fixing.watchdog import TIME_OVER, Watchdog
from preflight.model.fix import LinkMtu
from tests.fixing.machine import Machine

APPLY = {
    "do": "apply",
    "fixes": [as_data(LinkMtu(interface="wg0", mtu_bytes=1312))],
    "code": "mtu.black-hole",
    "target": "b",
    "limit_s": 900,
}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A journal in a folder that is there."""
    (tmp_path / "fixes").mkdir(mode=0o700)
    return Journal(tmp_path / "fixes")


def test_a_change_is_kept_only_on_request(journal: Journal) -> None:
    """Protects the answer that the command waits for, and the time that it gives itself."""
    machine = Machine()
    dog = Watchdog(journal, machine, lambda: 100.0)
    assert dog.hear(APPLY) == {"did": "apply"}
    assert (machine.mtu, dog.deadline_s) == (1312, 1000.0)
    assert dog.hear({"do": "wait", "limit_s": 60}) == {"did": "wait"}
    assert dog.deadline_s == 160.0
    assert dog.hear({"do": "keep", "why": "healed"}) == {"did": "keep"}
    assert dog.over
    assert machine.mtu == 1312
    assert [record.code for record in journal.kept()] == ["mtu.black-hole"]


@pytest.mark.parametrize("asked", [True, False])
def test_it_undoes_on_request_and_when_time_is_over(journal: Journal, asked: bool) -> None:
    """Protects the node: after either, the state is as it was, and a second time harms nothing."""
    machine = Machine()
    dog = Watchdog(journal, machine)
    dog.hear(APPLY)
    answer = dog.hear({"do": "undo"}) if asked else dog.undo(TIME_OVER)
    assert (answer["failed"], answer["left"]) == ((), ())
    assert (machine.mtu, dog.over) == (1420, True)
    assert dog.undo(TIME_OVER)["failed"] == []


def test_what_is_not_a_fix_changes_nothing(journal: Journal) -> None:
    """Protects from words on the pipe that no fix of ours has."""
    machine = Machine()
    dog = Watchdog(journal, machine)
    answer = dog.hear(APPLY | {"fixes": [{"id": "shell", "command": "reboot"}]})
    assert answer["did"] == "nothing"
    assert (dog.over, machine.ran) == (True, [])
    assert Watchdog(journal, machine).hear({"do": "keep"}) == {"did": "nothing", "why": "there is no change"}
