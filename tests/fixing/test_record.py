"""A record of what was changed survives the process that made it, and is read back strictly."""

from pathlib import Path

import pytest

from preflight.fixing.applier import Done
from preflight.fixing.record import Record, Undo, as_text, read
from preflight.model.fix import LinkMtu, Setting

MTU = LinkMtu(interface="wg0", mtu_bytes=1312)
BACK = ("ip", "link", "set", "dev", "wg0", "mtu", "1420")


def test_a_record_is_read_back_as_it_was_written() -> None:
    """Protects the way back by another process: commands, the file's text, and what was just being run."""
    file = Done(
        Setting(file="/p.yaml", key="control.scope_id", value="x"),
        file_before=(Path("/p.yaml"), "old\n"),
        file_after="new\n",
    )
    link = Done(MTU, MTU.commands, (BACK,), running=("ip", "link"))
    record = Record("1", "then", "boot", "mtu.black-hole", "b", (Undo.of(link), Undo.of(file)), {"ip rule": ("0:",)})
    again = read(as_text(record))
    assert again == record
    assert [undo.done for undo in again.undos] == [link, file]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"id": 1}'])
def test_anything_else_is_refused(text: str) -> None:
    """Protects from commands that no fix of ours would have left."""
    with pytest.raises(ValueError, match="not a record of a fix"):
        read(text)
