"""SSH sessions that a fix may cut are found, also behind sudo, and named before the change."""

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from preflight.fixing.applier import Ran
from preflight.fixing.sessions import Carried, Session, carried, session_of, sessions, warnings
from preflight.model.change import NamedValue
from preflight.model.fix import (
    AddressDelete,
    FilterDelete,
    Fix,
    HostsName,
    KernelSettings,
    LinkMtu,
    LinkMtuByAddress,
    PolicyRule,
    RefusalDelete,
    Route,
    RouteAround,
    ServiceRestart,
    WgQuick,
)

SESSION = Session("10.66.0.9", "10.66.0.1")
OVER_WG0 = Carried(SESSION, "wg0")

CUTS: tuple[Fix, ...] = (
    LinkMtu(interface="wg0", mtu_bytes=1312),
    WgQuick(interface="wg0", again=True),
    LinkMtuByAddress(address="10.66.0.1", mtu_bytes=1312),
    AddressDelete(interface="wg0", address="10.66.0.1/24"),
    Route(action="replace", destination="10.66.0.0/24", interface="wg0"),
    RefusalDelete(kind="blackhole", destination="10.66.0.9/32"),
    RouteAround(interface="wg0", endpoint="10.66.0.9"),
    PolicyRule(action="add", family="-4", priority=100, does="lookup", table=254),
    KernelSettings(settings=(NamedValue("net.ipv4.conf.wg0.rp_filter", "2"),)),
)
SPARES: tuple[Fix, ...] = (
    LinkMtu(interface="wg1", mtu_bytes=1312),
    AddressDelete(interface="wg0", address="10.66.0.7/24"),
    Route(action="replace", destination="10.66.0.2/32", interface="wg0"),
    PolicyRule(action="add", family="-4", priority=100, does="lookup", table=254, destination="10.9.0.0/16"),
    FilterDelete(family="inet", table="t", chain="c", handle=4),
    HostsName(host="control", address="10.66.0.3"),
    ServiceRestart(service="tailscaled"),
    KernelSettings(settings=(NamedValue("net.ipv4.conf.eth0.rp_filter", "2"),)),
)


@pytest.mark.parametrize("fix", CUTS, ids=lambda fix: str(fix.id))
def test_a_session_that_may_be_cut_is_told(fix: Fix) -> None:
    """Protects the person who sits at the other end of the very tunnel that is changed."""
    (warning,) = warnings([fix], [OVER_WG0])
    assert warning.startswith("Your SSH session from 10.66.0.9 runs over wg0, ")
    assert warning.endswith(": it may be cut.")


@pytest.mark.parametrize("fix", SPARES, ids=lambda fix: str(fix.id))
def test_a_session_by_another_way_is_not(fix: Fix) -> None:
    """Protects from a warning that is always there, which nobody reads."""
    assert warnings([fix], [OVER_WG0]) == ()


def test_a_daemon_takes_its_interface_along() -> None:
    """Protects a session over Tailscale from the restart of its daemon."""
    assert warnings([ServiceRestart(service="tailscaled")], [Carried(SESSION, "tailscale0")])


def test_the_session_is_found_here_and_behind_sudo(tmp_path: Path) -> None:
    """Protects root by sudo, which removes SSH's variables: the shell above still has them."""
    variable = "10.66.0.9 50000 10.66.0.1 22"
    assert sessions({"SSH_CONNECTION": variable}, tmp_path) == (SESSION,)
    shell = tmp_path / str(os.getppid())
    shell.mkdir()
    (shell / "environ").write_bytes(f"A=1\0SSH_CONNECTION={variable}\0".encode())
    (shell / "stat").write_text("7 (a (b) c) S 1 7 7")
    assert sessions({}, tmp_path) == (SESSION,)


def answered(ran: Ran, argv: Sequence[str]) -> Ran:
    """What the kernel says, whatever the question."""
    return ran


@pytest.mark.parametrize("text", ["", "x", "a b c d", "10.0.0.1 1"])
def test_anything_else_is_no_session(text: str) -> None:
    """Protects from a command line with a stranger's words."""
    assert session_of(text) is None


def test_the_kernel_says_by_which_interface() -> None:
    """Protects from a guess: without a route, or without `ip`, nothing is claimed."""
    assert session_of("fe80::1%wg0 1 fe80::2%wg0 22") == Session("fe80::1", "fe80::2")
    assert carried([SESSION], lambda argv: Ran(0, json.dumps([{"dev": "wg0"}]))) == (OVER_WG0,)
    for ran in (Ran(2, ""), Ran(0, "[{}]"), Ran(0, "x")):
        assert carried([SESSION], partial(answered, ran)) == ()
