"""One node's part of a fleet run: whom it measures, when, and what it keeps."""

import asyncio
from pathlib import Path

import pytest

from preflight.cli.fleet_node import CHECKS, Orders, Turn, follow
from preflight.cli.request import Request
from preflight.cli.session import Session


def session(tmp_path: Path) -> Session:
    """A session with two peers on loopback, where nothing listens."""
    settings = tmp_path / "preflight.yaml"
    settings.write_text("peers: [{address: 127.0.0.2, name: b}, {address: 127.0.0.3, name: c}]\n")
    return Session.prepare(Request(config=settings, only=("reach.udp",), quiet=True))


def orders(*turns: Turn) -> Orders:
    return Orders(turns, limit_s=5.0, first=False)


def test_a_report_is_about_all_turns(tmp_path: Path) -> None:
    """Protects the join: one report a node, with every peer that had its round."""
    report = asyncio.run(follow(session(tmp_path), orders(Turn(0.0, "127.0.0.2"), Turn(0.1, "127.0.0.3")), lambda: 0.0))
    assert [peer.target for peer in report.run.peers] == ["b", "c"]
    assert {result.target for result in report.results if result.check == "reach.udp"} == {"b", "c"}


def test_a_missed_round_is_left_out(tmp_path: Path) -> None:
    """Protects the other pairs: who is too late must not measure in their round."""
    report = asyncio.run(
        follow(session(tmp_path), orders(Turn(7.0, "127.0.0.2"), Turn(8.0, "127.0.0.3")), lambda: 10.0)
    )
    assert [peer.target for peer in report.run.peers] == ["c"]


def test_orders_are_read_as_the_controller_writes_them() -> None:
    """Protects the contract between controller and node."""
    read = Orders.read({"turns": [{"at_s": 7, "peer": "10.66.0.2"}], "limit_s": 8, "first": True, "settings": {}})
    assert read == Orders((Turn(7.0, "10.66.0.2"),), 8.0, True)


def test_without_turns_every_peer_is_measured_at_once(tmp_path: Path) -> None:
    """Protects playbooks, which have no schedule: the peers of the settings, one after the other."""
    playbook = Orders.read({"limit_s": 5, "first": False, "settings": {}})
    report = asyncio.run(follow(session(tmp_path), playbook))
    assert [peer.target for peer in report.run.peers] == ["b", "c"]


@pytest.mark.parametrize("id", ["host.sockets", "reach.udp", "mtu.path", "way.packet", "overlay.session"])
def test_what_a_fleet_measures_exists(id: str, tmp_path: Path) -> None:
    """Protects from a glob that a renamed category leaves empty."""
    settings = tmp_path / "preflight.yaml"
    settings.write_text("peers: [{address: 127.0.0.2}]\n")
    planned = Session.prepare(Request(config=settings, only=CHECKS, quiet=True)).plan
    assert id in {check.id for check in planned.checks}


def test_what_outlasts_a_round_is_not_measured(tmp_path: Path) -> None:
    """Protects the length of a run: a check of minutes would fill every round and never end."""
    settings = tmp_path / "preflight.yaml"
    settings.write_text("peers: [{address: 127.0.0.2}]\n")
    planned = Session.prepare(Request(config=settings, only=CHECKS, quiet=True)).plan
    assert "udp.nat-timeout" not in {check.id for check in planned.checks}
