"""In a lab, a fix of what the lab shares with the machine around it is refused."""

from pathlib import Path

import pytest

from preflight.cli.fix_in_lab import refuse_outside
from preflight.lab.names import KIND_VARIABLE, state_root
from preflight.model.fix import ClockSync, Fix, HostsName, LinkMtu, PrivateFiles, ServiceRestart, Setting
from preflight.report.healing import RefusedError

MTU = LinkMtu(interface="wg0", mtu_bytes=1312)
HOSTS = HostsName(host="control", address="10.66.0.3")


def setting(file: Path) -> Setting:
    """A change of a settings file."""
    return Setting(file=str(file), key="control.scope_id", value="x")


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    """What a node of a lab sees that has its own hosts file."""
    file = tmp_path / "mountinfo"
    file.write_text("36 35 98:0 / / rw - ext4 /dev/sda rw\n37 36 0:25 /x /etc/hosts rw - tmpfs tmpfs rw\n")
    return file


@pytest.mark.parametrize("fix", [MTU, HOSTS, setting(state_root() / "x" / "preflight.yaml")], ids=lambda fix: fix.id)
def test_what_is_the_lab_s_own_is_changed(fix: Fix, mounts: Path) -> None:
    """Protects the rehearsal: what has its own namespace, mount or file is made as on a real node."""
    refuse_outside([fix], {KIND_VARIABLE: "wireguard"}, mounts)
    refuse_outside([ClockSync()], {}, mounts)


@pytest.mark.parametrize(
    ("fix", "kind"),
    [
        (ClockSync(), "wireguard"),
        (ServiceRestart(service="nebula"), "wireguard"),
        (setting(Path("/etc/preflight.yaml")), "wireguard"),
        (PrivateFiles(paths=("/root/token",)), "wireguard"),
        (MTU, "loopback"),
    ],
)
def test_what_it_shares_is_refused(fix: Fix, kind: str, mounts: Path) -> None:
    """Protects the machine around the lab: its clock, its daemons, its files; without root also its network."""
    with pytest.raises(RefusedError, match="machine around it"):
        refuse_outside([fix], {KIND_VARIABLE: kind}, mounts)


def test_a_hosts_file_of_the_machine_is_refused(tmp_path: Path) -> None:
    """Protects this machine's /etc/hosts where the lab's node has none."""
    file = tmp_path / "mountinfo"
    file.write_text("36 35 98:0 / / rw - ext4 /dev/sda rw\n")
    with pytest.raises(RefusedError, match="machine around it"):
        refuse_outside([HOSTS], {KIND_VARIABLE: "wireguard"}, file)
