"""A real OpenVPN between two namespaces: what its own log shows while it does not connect, and when it does."""

import asyncio
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from preflight.model.overlay import OverlayState
from preflight.overlay.read import read_overlay
from preflight.settings.schema import OverlaySettings
from tests.overlay.conftest import Node, Pair, sh

pytestmark = pytest.mark.lab


def start(stack: ExitStack, folder: Path, node: Node, key: str, *words: str) -> None:
    """A daemon of one end, which ends with the test; its log is what it prints."""
    argv = ["ip", "netns", "exec", node.namespace, "openvpn", "--dev", "ovpn0", "--dev-type", "tun", *words]
    argv += ["--secret", str(folder / key), "--cipher", "AES-256-CBC", "--ping", "1", "--verb", "3"]
    with (folder / f"{node.namespace}.log").open("wb") as said:
        daemon = subprocess.Popen(argv, stdout=said, stderr=said)
    stack.callback(daemon.wait)
    stack.callback(daemon.terminate)


def ends(wire: Pair) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words of a and b: each other's addresses, outside and inside."""
    a = ("--remote", wire.b.underlay, "1194", "--ifconfig", "10.98.0.1", "10.98.0.2")
    return a, ("--remote", wire.a.underlay, "1194", "--ifconfig", "10.98.0.2", "10.98.0.1")


def read_until(node: Node, fits: Callable[[OverlayState], bool]) -> OverlayState:
    """The state of the node once it fits."""
    until = time.monotonic() + 30
    while True:
        with node.inside():
            state = asyncio.run(read_overlay(OverlaySettings(interface="ovpn0")))
        if state is not None and fits(state):
            return state
        assert time.monotonic() < until, state
        time.sleep(0.1)


@pytest.mark.parametrize("same", [True, False])
def test_two_ends(wire: Pair, tmp_path: Path, same: bool) -> None:
    """With one key they connect; with two, what comes does not fit, and the log says so."""
    for key in ("one", "two"):
        sh("openvpn", "--genkey", "secret", str(tmp_path / key))
    a, b = ends(wire)
    with ExitStack() as stack:
        start(stack, tmp_path, wire.b, "one", *b)
        start(stack, tmp_path, wire.a, "one" if same else "two", *a)
        if same:
            state = read_until(wire.a, lambda state: state.product == "openvpn" and state.up)
            read_until(wire.a, lambda state: not state.complaints)
            assert (state.interface, state.met) == ("ovpn0", ("10.98.0.2",))
        else:
            state = read_until(wire.a, lambda state: "does not fit this node's key" in "".join(state.health))
            assert state.condition == "overlay.not-joined"


def test_an_end_that_refuses(wire: Pair, tmp_path: Path) -> None:
    """Nobody listens there: its device is there, so it is a complaint."""
    sh("openvpn", "--genkey", "secret", str(tmp_path / "one"))
    with ExitStack() as stack:
        start(stack, tmp_path, wire.a, "one", *ends(wire)[0])
        state = read_until(wire.a, lambda state: any("refuses" in each.said for each in state.complaints))
        assert f"{wire.b.underlay}:1194 refuses what it sends" in state.complaints[0].said
