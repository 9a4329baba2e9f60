"""What is done about an OpenVPN client that is not connected."""

import pytest

from preflight.overlay.openvpn import of_losses, of_twins
from preflight.proto.tunnel.openvpn_levers import STOPPED, of_reason, of_stopped
from preflight.proto.tunnel.openvpn_stage import garbled, stage, verdict
from tests.proto.tunnel.test_openvpn_flaps import lines, unix_s
from tests.proto.tunnel.test_openvpn_stage import LOGS, log

UNIT = "openvpn-client@vpn"
WITHOUT = ("persist_down", "mtu_mismatch", "complzo_client", "fragment_mismatch", "twin_client", "twin_server")


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


def test_compression_that_only_this_end_has() -> None:
    """Its own options must change; where the other end may have other ones, a person compares both."""
    (remedy,) = of_reason(garbled(stage(log("complzo_client"))) or "", UNIT)
    assert (remedy.kind, f"systemctl restart {UNIT}" in remedy.lines[0]) == ("fix", True)
    (remedy,) = of_reason(garbled(stage(log("fragment_mismatch"))) or "", UNIT)
    assert remedy.kind == "next"


def test_one_that_does_not_run() -> None:
    """Starting it is certain to heal only where somebody stopped it."""
    assert [each.kind for each in of_stopped(STOPPED, UNIT)] == ["fix"]
    assert [each.kind for each in of_stopped("", UNIT)] == ["next"]
    (remedy,) = of_stopped("it refuses its options: x", UNIT)
    assert remedy.lines[0].startswith("Correct its configuration")


def test_sessions_that_others_end() -> None:
    """The server's log says it of a name; on the server it is certain."""
    now_s = unix_s("2026-12-01 02:18:40")
    client = of_losses([*lines("twin_client"), "2026-12-01 02:18:38 SIGUSR1[soft,ping-restart] received"], now_s)
    server = of_twins(lines("twin_server"), now_s)
    assert client is not None
    assert server is not None
    assert (client.code, server.code) == ("overlay.unhealthy", "overlay.duplicate-key")
    assert "its last 3 sessions ended within 15 s each" in client.said
    assert "two clients (10.203.0.1 and 10.203.0.3) use the certificate of a" in server.said
    assert [each.where for each in of_reason(client.said, UNIT)] == ["peer"]
    assert "duplicate-cn" in of_reason(server.said, UNIT)[0].lines[0]
    assert of_losses(lines("persist_down"), now_s) is None
    assert of_twins(lines("persist_down"), now_s) is None
