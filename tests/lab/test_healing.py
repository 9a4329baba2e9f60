"""Remedies on real faults: the fix is read from the report, made where it says, and the next run is green."""

import os
import subprocess
from collections.abc import Iterable, Sequence

import pytest

from preflight.fixing.applier import Done, Ran, Run, apply, undo
from preflight.lab.labs import Lab, fresh_lab, scenario_for
from preflight.lab.node_state import node_state
from preflight.model.fix import Fix
from preflight.programs import python_module
from preflight.report import json as report_json
from preflight.report.model import Report

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

RUN_S = 120.0
COMMAND_S = 20.0

HEALS: dict[str, tuple[str, tuple[str, ...], dict[str, str]]] = {
    "black-hole-forward": ("mtu.path", ("mtu.black-hole",), {"link.mtu": "a"}),
    "black-hole-reverse": ("mtu.path", ("mtu.black-hole",), {"link.mtu-by-address": "b", "link.mtu": "a"}),
    "mtu-reduced": ("mtu.path", ("mtu.reduced",), {"link.mtu": "a", "link.mtu-by-address": "b"}),
    "interface-down": ("reach.icmp", ("overlay.down",), {"link.up": "a"}),
    "allowed-ips": ("reach.icmp", ("overlay.allowed-ips",), {"wireguard.peer": "a"}),
    "route-leak": ("reach.icmp", ("overlay.route-leak",), {"route": "a"}),
    "subnet-conflict": ("reach.icmp", ("overlay.subnet-conflict",), {"route": "a"}),
    "rp-filter": ("reach.udp", ("host.rp-filter",), {"route": "b"}),
    "second-path-strict-here": ("reach.udp", ("overlay.route-leak",), {"route": "b"}),
    "asymmetric-route": ("reach.traceroute", ("reach.asymmetric",), {"route": "b"}),
    "black-hole-tcp-forward": ("mtu.tcp", ("mtu.black-hole",), {"route": "a"}),
    "nat-timeout": ("overlay.session", ("overlay.no-keepalive",), {"wireguard.peer": "a"}),
}
"""Scenario to the checks that are affected, the codes of its causes, and each fix with the node where it is made."""
LIKE_OTHERS = {
    "black-hole-forward": "mtu-reduced",
    "asymmetric-route": "rp-filter",
    "subnet-conflict": "rp-filter",
    "black-hole-reverse": "mtu-reduced",
    "route-leak": "rp-filter",
    "second-path-strict-here": "rp-filter",
    "black-hole-tcp-forward": "rp-filter",
}
"""Rows whose fix is of the kind of another row's: they run with PREFLIGHT_EVERY_FAULT=1."""


def preflight(lab: Lab, checks: str) -> Report:
    """What node a reports of these checks and what they need."""
    file = lab.names.directory / "healing.json"
    file.unlink(missing_ok=True)
    settings = ("--config", str(lab.names.files("a") / "preflight.yaml"))
    words = python_module("preflight", "run", *checks.split(), *settings, "--output", f"json={file}")
    done = subprocess.run(lab.command(words), env=lab.environment(), capture_output=True, text=True, timeout=RUN_S)
    assert file.exists(), done.stderr
    return report_json.parse(file.read_bytes())


def at(lab: Lab, node: str) -> Run:
    """Runs commands in a node's network namespace."""

    def run(argv: Sequence[str]) -> Ran:
        words = lab.command(argv, node)
        done = subprocess.run(words, env=lab.environment(), capture_output=True, text=True, timeout=COMMAND_S)
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


def fixes_of(report: Report) -> list[tuple[str, Fix]]:
    """The fixes of the first cause, and the node on which each must be made."""
    return [(each.host or "a", each.fix) for each in report.diagnosis[0].remedies if each.fix is not None]


def chosen(rows: Iterable[str]) -> list[str]:
    """One row of each kind of fix, or all of them."""
    return [name for name in rows if name not in LIKE_OTHERS or os.environ.get("PREFLIGHT_EVERY_FAULT")]


@pytest.mark.parametrize("name", chosen(HEALS))
def test_the_fix_heals(name: str) -> None:
    """Protects the word `fix`: done where it says, and nothing else, the affected checks find nothing any more.

    And the way back: after it each node is as it was before.
    """
    checks, codes, places = HEALS[name]
    with fresh_lab(scenario_for(name)) as lab:
        report = preflight(lab, checks)
        assert tuple(cause.code for cause in report.diagnosis) == codes
        fixes = fixes_of(report)
        assert {fix.id: node for node, fix in fixes} == places
        before = {node: node_state(lab, node) for node, _ in fixes}
        made: list[tuple[str, Done]] = [(node, apply(fix, at(lab, node))) for node, fix in fixes]
        healed = preflight(lab, checks)
        assert [(cause.code, cause.message) for cause in healed.diagnosis] == []
        assert healed.run.exit_code == 0
        assert all(done.reversible for _, done in made)
        for node, done in reversed(made):
            undo(done, at(lab, node))
        assert {node: node_state(lab, node) for node in before} == before


def test_what_both_ends_have_wrong_takes_a_fix_at_each() -> None:
    """Protects the second end: once this node is right, the report says what is left at the peer, with its fix."""
    checks = "overlay.mtu mtu.path"
    with fresh_lab(scenario_for("mtu-too-big")) as lab:
        for code, node in (("overlay.mtu-too-big", "a"), ("mtu.reduced", "b")):
            report = preflight(lab, checks)
            assert [cause.code for cause in report.diagnosis] == [code]
            ((where, fix),) = fixes_of(report)
            assert where == node
            apply(fix, at(lab, where))
        assert preflight(lab, checks).diagnosis == ()
