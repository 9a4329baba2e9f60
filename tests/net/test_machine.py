"""What a machine has is read from files only, so all kinds of machines can be put together here."""

import gzip
import os
import sys
from pathlib import Path

import pytest

from preflight.net.machine import capabilities, features, look

RELEASE = "6.1.0-test"


def put(root: Path, name: str, text: str) -> None:
    """A file of the made machine."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        ("000001ffffffffff", {"net_admin", "net_raw"}),
        ("0000000000002000", {"net_raw"}),
        ("0000000000001000", {"net_admin"}),
        ("0000000000000000", set()),
    ],
)
def test_capabilities_are_the_effective_ones(mask: str, found: set[str]) -> None:
    """A capability that is only permitted opens no socket."""
    status = f"Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t{mask}\nCapBnd:\t000001ffffffffff\n"
    assert capabilities(status) == found


def test_without_a_status_there_are_none() -> None:
    """Where /proc is hidden, nothing is claimed."""
    assert capabilities("") == frozenset()


def test_a_kernel_s_configuration_decides(tmp_path: Path) -> None:
    """Built in is there; a module of the configuration alone may still be missing; the rest is not there."""
    put(tmp_path, f"boot/config-{RELEASE}", "CONFIG_PACKET=y\nCONFIG_VXLAN=m\n# CONFIG_NET_VRF is not set\n")
    found = features(RELEASE, tmp_path)
    assert (found["packet"], found["vxlan"], found["vrf"]) == (True, None, False)


def test_the_running_kernel_s_own_configuration_goes_first(tmp_path: Path) -> None:
    """/proc/config.gz is of this kernel, a file in /boot perhaps of another build."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/config.gz").write_bytes(gzip.compress(b"CONFIG_TUN=y\n"))
    put(tmp_path, f"boot/config-{RELEASE}", "# CONFIG_TUN is not set\n")
    assert features(RELEASE, tmp_path)["tun"] is True


def test_modules_on_disk_and_loaded_ones_count(tmp_path: Path) -> None:
    """A module that can be loaded is there, also without a configuration; with the list of all, others are not."""
    put(tmp_path, f"lib/modules/{RELEASE}/modules.dep", "kernel/net/netfilter/nf_tables.ko.xz: kernel/lib/x.ko.xz\n")
    (tmp_path / "sys/module/wireguard").mkdir(parents=True)
    found = features(RELEASE, tmp_path)
    assert (found["nf_tables"], found["wireguard"], found["vrf"]) == (True, True, False)


def test_a_container_that_shows_nothing_claims_nothing(tmp_path: Path) -> None:
    """Its host may load what it does not show."""
    assert set(features(RELEASE, tmp_path).values()) == {None}


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("ID=debian\n", "debian"),
        ("ID=linuxmint\nID_LIKE='ubuntu debian'\n", "debian"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "fedora"),
        ("ID=arch\n", "arch"),
        ("ID=alpine\n", None),
    ],
)
def test_the_family_of_a_distribution(tmp_path: Path, text: str, family: str | None) -> None:
    """Derived distributions have the packages of their parents; of others no package is named."""
    put(tmp_path, "etc/os-release", text)
    assert look(862, root=tmp_path).family == family


def test_a_group_that_may_ping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's default range is empty."""
    monkeypatch.setattr(os, "getgroups", lambda: [1000])
    monkeypatch.setattr(os, "getegid", lambda: 1000)
    put(tmp_path, "proc/sys/net/ipv4/ping_group_range", "1\t0\n")
    assert not look(862, root=tmp_path).ping_sockets
    put(tmp_path, "proc/sys/net/ipv4/ping_group_range", "0\t2147483647\n")
    assert look(862, root=tmp_path).ping_sockets


def test_another_system_is_only_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS nothing of Linux is read."""
    monkeypatch.setattr(sys, "platform", "darwin")
    found = look(862)
    assert (found.system, found.capabilities, found.features) == ("darwin", frozenset(), {})


def test_what_has_the_responder_s_port_is_seen(tmp_path: Path) -> None:
    """Port 862 is 0x35E in the kernel's table."""
    row = "0: 00000000:035E 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 17 2 0 0\n"
    put(tmp_path, "proc/net/udp", f"head\n{row}")
    assert look(862, root=tmp_path).listener == "a program of another user"
    assert look(863, root=tmp_path).listener is None
