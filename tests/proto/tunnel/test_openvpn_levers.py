"""What is done about an OpenVPN client that is not connected."""

import pytest

from preflight.proto.tunnel.openvpn_levers import STOPPED, of_reason, of_stopped
from preflight.proto.tunnel.openvpn_stage import stage, verdict
from tests.proto.tunnel.test_openvpn_stage import LOGS, log

UNIT = "openvpn-client@vpn"
WITHOUT = ("persist_down", "mtu_mismatch", "complzo_client", "fragment_mismatch")


@pytest.mark.parametrize("name", sorted(each.stem for each in LOGS.iterdir() if each.stem not in WITHOUT))
def test_each_reason_has_a_lever(name: str) -> None:
    """More than a look at the log, which has been read."""
    found = verdict(stage(log(name)))
    assert found is not None
    assert not any("journalctl" in line for each in of_reason(found.said, UNIT) for line in each.lines)


def test_another_reason() -> None:
    """The log shows more."""
    (remedy,) = of_reason("something else", UNIT)
    assert (remedy.kind, f"-u {UNIT} " in remedy.lines[0]) == ("next", True)


def test_one_that_does_not_run() -> None:
    """Starting it is certain to heal only where somebody stopped it."""
    assert [each.kind for each in of_stopped(STOPPED, UNIT)] == ["fix"]
    assert [each.kind for each in of_stopped("", UNIT)] == ["next"]
    (remedy,) = of_stopped("it refuses its options: x", UNIT)
    assert remedy.lines[0].startswith("Correct its configuration")
