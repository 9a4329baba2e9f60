"""OpenVPN's processes and configurations as states of an overlay."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_interface
from pathlib import Path

import pytest
from preflight_checks.overlay_interface import judge

from preflight.model.kernel import Link
from preflight.overlay import openvpn
from preflight.overlay.openvpn import FOLDER, far_end, is_client, read, state_from, stopped, unit_named, unit_of
from preflight.overlay.openvpn_process import read_file, read_options
from preflight.proto.tunnel.openvpn_stage import Stage, Verdict, stage
from preflight.proto.way.openvpn import options_of
from tests.overlay.test_daemons import process

UNIT = "openvpn-client@vpn"
CONFIG = "client\ndev tun0\nremote 192.0.2.1 1194\n"
OPTIONS = options_of((), CONFIG)
TUN = Link(7, "tun0", 1500, up=True, carrier=True, kind="tun", addresses=(ip_interface("10.8.0.2/24"),))
LOGS = Path(__file__).parent / "samples" / "openvpn"


def running(tmp_path: Path, config: str = CONFIG, log: Sequence[str] = (), device: str = "") -> Path:
    """A process with a configuration, a log and a device, below another /proc."""
    process(tmp_path, "self", "python")
    folder = process(tmp_path, "12")
    (folder / "cmdline").write_bytes(b"openvpn\0--config\0vpn.conf\0")
    (folder / "cwd").mkdir()
    (folder / "cwd" / "vpn.conf").write_text(config)
    (tmp_path / "log").write_text("\n".join(log))
    (folder / "fd" / "1").symlink_to(tmp_path / "log")
    (folder / "fdinfo").mkdir()
    (folder / "fdinfo" / "3").write_text(f"iff:\t{device}\n" if device else "pos:\t0\n")
    return tmp_path


def test_a_client_that_is_connected(tmp_path: Path) -> None:
    """Its device is the overlay."""
    log = (LOGS / "mtu_mismatch.log").read_text().splitlines()
    (state,) = asyncio.run(read([TUN], proc=running(tmp_path, log=log, device="tun0")))
    assert (state.product, state.interface, state.condition) == ("openvpn", "tun0", None)
    assert not state.complaints
    assert state.up
    assert state.met == ("10.8.0.1",)


def test_a_client_that_is_not(tmp_path: Path) -> None:
    """It has no device, and its log has the reason."""
    log = (LOGS / "server_expired.log").read_text().splitlines()
    (state,) = asyncio.run(read([], proc=running(tmp_path, log=log)))
    assert (state.interface, state.up, state.condition) == ("tun0", False, "overlay.not-joined")
    result = judge(state, [], None)
    assert "certificate has expired" in result.message
    assert result.remedies


def test_without_a_log(tmp_path: Path) -> None:
    """What is certain: it runs, and has no device."""
    (state,) = asyncio.run(read([], proc=running(tmp_path)))
    assert state.condition == "overlay.not-joined"
    assert "has not connected to 192.0.2.1 port 1194 yet" in state.health[0]


def test_a_device_that_stays() -> None:
    """A server that is not heard is a complaint there, for traffic shows more; anything else is the finding."""
    quiet = Stage(connected=False, why=Verdict("overlay.offline", "it is silent"))
    state = state_from(OPTIONS, TUN, quiet, UNIT)
    assert state.one_end
    assert (state.condition, [each.code for each in state.complaints]) == (None, ["overlay.offline"])
    refused = Stage(connected=False, why=Verdict("overlay.not-authorized", "AUTH_FAILED"))
    assert state_from(OPTIONS, TUN, refused, UNIT).condition == "overlay.not-authorized"
    unread = stage((LOGS / "complzo_client.log").read_text().splitlines())
    (complaint,) = state_from(OPTIONS, TUN, unread, UNIT).complaints
    assert (complaint.code, complaint.cuts) == ("overlay.policy-drop", True)


def test_a_server(tmp_path: Path) -> None:
    """Its log is about its clients, and is not read as that of one."""
    assert is_client(OPTIONS)
    assert not is_client(options_of((), "server 10.8.0.0 255.255.255.0\n"))
    log = (LOGS / "server_expired.log").read_text().splitlines()
    config = "mode server\ntls-server\nremote 192.0.2.1\n"
    (state,) = asyncio.run(read([TUN], proc=running(tmp_path, config, log, "tun0")))
    assert (state.condition, state.met) == (None, ())


def test_the_other_one_of_two_ends() -> None:
    """With a static key nobody pushes anything, and both addresses are in the options."""
    assert far_end(options_of((), "remote b\nifconfig 10.98.0.1 10.98.0.2\n")) == ("10.98.0.2",)
    assert far_end(options_of((), "ifconfig 10.98.0.1 255.255.255.0\n")) == ()
    assert far_end(options_of((), "ifconfig a b\n")) == ()
    assert far_end(OPTIONS) == ()
    assert state_from(options_of((), "ifconfig 10.98.0.1 10.98.0.2\n"), TUN, Stage(), UNIT).met == ("10.98.0.2",)


def test_the_clients_of_a_server(tmp_path: Path) -> None:
    """Those that its option `status` lists: its peers, where none is given."""
    listed = running(tmp_path, "mode server\ntls-server\nstatus status.log\n", device="tun0")
    (listed / "12" / "cwd" / "status.log").write_text("ROUTING_TABLE,10.8.0.6,b,192.0.2.6:40022,2026-12-01\n")
    (state,) = asyncio.run(read([TUN], proc=listed))
    assert (state.met, state.lists_sessions) == (("10.8.0.6",), True)


def test_a_configuration_that_nobody_runs(tmp_path: Path) -> None:
    """The only client's one, with its unit; of several nobody knows which is meant."""
    assert asyncio.run(stopped(None, folder=tmp_path)) is None
    (tmp_path / "client").mkdir()
    (tmp_path / "client" / "vpn.conf").write_text(f"{CONFIG}log-append vpn.log\n")
    (tmp_path / "server.conf").write_text("server 10.8.0.0 255.255.255.0\n")
    state = asyncio.run(stopped(None, folder=tmp_path))
    assert state is not None
    assert (state.condition, state.network) == ("overlay.daemon-down", UNIT)
    (tmp_path / "client" / "vpn.log").write_text((LOGS / "auth_user.log").read_text())
    state = asyncio.run(stopped("tun0", folder=tmp_path))
    assert state is not None
    assert (state.condition, "AUTH_FAILED" in state.health[0]) == ("overlay.not-authorized", True)
    (tmp_path / "client" / "vpn.log").write_text("event_wait\nSIGTERM[hard,] received, process exiting\n")
    state = asyncio.run(stopped(None, folder=tmp_path))
    assert state is not None
    assert "stopped by a signal" in state.health[0]
    assert asyncio.run(stopped("tun7", folder=tmp_path)) is None
    (tmp_path / "client" / "other.conf").write_text(CONFIG)
    assert asyncio.run(stopped(None, folder=tmp_path)) is None


def test_a_process_that_may_not_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user does not see whose namespace it is in, and so not that none runs here."""
    (tmp_path / "client").mkdir()
    (tmp_path / "client" / "vpn.conf").write_text(CONFIG)
    monkeypatch.setattr(openvpn, "hidden", lambda *_: True)
    state = asyncio.run(stopped(None, folder=tmp_path))
    assert state is not None
    assert (state.condition, "only root sees" in state.health[0]) == ("overlay.down", True)


def test_the_unit(tmp_path: Path) -> None:
    """Debian's names: by the folder and the file."""
    assert unit_named("openvpn", "hub") == "openvpn@hub"
    assert Path("/etc/openvpn") == FOLDER
    folder = running(tmp_path) / "12"
    assert unit_of(folder) == "openvpn"  # its folder is not known
    (folder / "cmdline").write_bytes(b"openvpn\0--config\0/etc/openvpn/client/vpn.conf\0")
    assert unit_of(folder) == UNIT


def test_options_that_may_not_be_read(tmp_path: Path) -> None:
    """Nothing is said of such a process or file."""
    assert read_options(tmp_path / "gone") is None
    assert read_file(tmp_path / "gone") is None
    assert read_file(tmp_path) is None


@pytest.mark.parametrize("device", [None, TUN])
def test_what_its_states_are_called(device: Link | None) -> None:
    """A report has its name and its device."""
    state = state_from(OPTIONS, device, Stage(), UNIT)
    assert "tun0" in judge(state, [TUN], None).message
