"""`preflight fix` on real faults: it heals, a dry run changes nothing, and what is not kept is undone completely."""

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from preflight.fixing.journal import JOURNAL
from preflight.lab.labs import Lab, fresh_lab, scenario_for
from preflight.lab.node_state import node_state
from preflight.lab.repairs import differences
from preflight.lab.scenario_file import parse_scenario
from preflight.lab.scenarios import Scenario
from preflight.programs import python_module

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("fix"), pytest.mark.timeout(300)]

RUN_S = 120.0
KINDS = {
    "sysctl": ("faults: [rp-outer-strict]", "reach.udp way.packet", "host.rp-filter"),
    "nft.pass": ("faults: [filter-out-drop]", "reach.udp way.packet", "host.firewall-drop"),
    "settings.value": ("url-lan", "control.health", "control.url-off-overlay"),
    "names.switch": ("setup: {control: dns}\nfaults: [name-nsswitch]", "control.health", "control.dns-nxdomain"),
}
"""Kinds of change: where each heals, by which checks it is seen, and the cause. A route: the leak below; the MTU of a
link: the page about fixes, which is typed in, and the rows that heal."""


def scenario(words: str) -> Scenario:
    """A scenario by its name, or as a file describes it."""
    return parse_scenario("fixing", words) if "faults" in words else scenario_for(words)


def preflight(lab: Lab, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run it on node a, without a terminal."""
    command = lab.command(python_module("preflight", *words))
    options = {"env": lab.environment(), "stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    return subprocess.run(command, timeout=RUN_S, **options)  # type: ignore[call-overload, no-any-return]


def settings(lab: Lab) -> tuple[str, str]:
    """The option with node a's settings."""
    return "--config", str(lab.names.files("a") / "preflight.yaml")


def reported(lab: Lab, checks: str) -> str:
    """A report of these checks and what they need, as a file."""
    file = lab.names.directory / "fixing.json"
    done = preflight(lab, "run", *checks.split(), *settings(lab), "--output", f"json={file}", "-q")
    assert file.exists(), done.stderr
    return str(file)


def journal(lab: Lab) -> list[dict[str, Any]]:
    """What the node's journal says."""
    file = lab.names.directory / "state" / "preflight" / "fixes" / JOURNAL
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize("kind", KINDS)
def test_it_heals_and_undo_gives_back(kind: str) -> None:
    """Protects the command's promise for each kind of change: seen, healed, kept, and undone without a trace."""
    words, checks, code = KINDS[kind]
    with fresh_lab(scenario(words)) as lab:
        report, before = reported(lab, checks), node_state(lab)
        done = preflight(lab, "fix", report, *settings(lab), "--yes", "-q")
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"Cause 1: {code} at " in done.stdout
        assert "Healed" in done.stdout
        assert node_state(lab) != before
        back = preflight(lab, "fix", "--undo", "--yes")
        assert back.returncode == 0, back.stdout + back.stderr
        assert differences(before, node_state(lab), "a") == []
        assert [(entry["event"], entry["fixes"]) for entry in journal(lab)] == [
            ("applied", [kind]),
            ("kept", [kind]),
            ("undone", [kind]),
        ]


@pytest.fixture(scope="module")
def leak() -> Iterator[Lab]:
    """A node whose route for b leads past the tunnel; every test leaves it as it was."""
    with fresh_lab(scenario_for("route-leak")) as lab:
        reported(lab, "reach.icmp")
        yield lab


def test_a_dry_run_changes_nothing(leak: Lab) -> None:
    """Protects who only wants to look: the cause and what would be run, and neither a change nor an entry."""
    before = node_state(leak), journal(leak)
    dry = preflight(leak, *window(leak, "--dry-run"))
    assert (dry.returncode, dry.stderr) == (0, "")
    assert "Cause 1: overlay.route-leak at b" in dry.stdout
    assert "nothing was changed" in dry.stdout
    assert (node_state(leak), journal(leak)) == before


@contextmanager
def at_a_terminal(lab: Lab, *words: str) -> "Iterator[tuple[subprocess.Popen[bytes], int]]":
    """The command at a new terminal, and the other end of it."""
    ours, its = pty.openpty()
    command = lab.command(python_module("preflight", *words))
    child = subprocess.Popen(command, env=lab.environment(), stdin=its, stdout=its, stderr=its, start_new_session=True)
    os.close(its)
    try:
        yield child, ours
    finally:
        child.kill()
        child.wait()
        os.close(ours)


def read_until(ours: int, wanted: str) -> str:
    """What the command prints, up to this text, or all if it ends before."""
    said = ""
    deadline = time.monotonic() + RUN_S
    while wanted not in said and select.select([ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            said += os.read(ours, 4096).decode("utf-8", "replace")
        except OSError:  # the terminal's other end is closed
            break
    return said


def nft(lab: Lab, script: str) -> None:
    """Change node a's firewall."""
    words = lab.command(["/bin/sh", "-c", f"PATH=$PATH:/usr/sbin:/sbin; nft '{script}'"])
    subprocess.run(words, check=True, env=lab.environment(), timeout=RUN_S)


def undone(lab: Lab, before: list[str]) -> None:
    """Wait until the watchdog has undone it, and compare."""
    deadline = time.monotonic() + RUN_S
    while not journal(lab) or journal(lab)[-1]["event"] != "undone":
        assert time.monotonic() < deadline, journal(lab)
        time.sleep(0.05)
    assert differences(before, node_state(lab), "a") == []


def window(lab: Lab, *more: str) -> "tuple[str, ...]":
    """The words of `fix` for the leak."""
    return ("fix", str(lab.names.directory / "fixing.json"), *settings(lab), "-q", *more)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_a_killed_command_is_undone(leak: Lab, number: signal.Signals) -> None:
    """Protects the node whose administrator is cut off by the change: nobody confirms, and all is as it was."""
    before = node_state(leak)
    with at_a_terminal(leak, *window(leak)) as (child, ours):
        assert "[y/N]" in read_until(ours, "[y/N]")
        os.write(ours, b"y\n")
        said = read_until(ours, "Keep it?")
        assert "Healed" in said
        assert node_state(leak) != before
        child.send_signal(number)
        child.wait()
    undone(leak, before)
    assert journal(leak)[-1]["why"] == "the command ended"


def test_nobody_confirms_in_time(leak: Lab) -> None:
    """Protects from a change that stays because its author went away."""
    before = node_state(leak)
    with at_a_terminal(leak, *window(leak, "--confirm-within", "1")) as (child, ours):
        read_until(ours, "[y/N]")
        os.write(ours, b"y\n")
        said = read_until(ours, "as it was before")
        assert "nobody confirmed it in time: all is as it was before" in said
        assert child.wait(RUN_S) == 1
    undone(leak, before)


def test_a_person_keeps_it(leak: Lab) -> None:
    """Protects the confirmation itself; afterwards `--undo` at the terminal gives back."""
    before, words = node_state(leak), window(leak)
    with at_a_terminal(leak, *words) as (child, ours):
        read_until(ours, "[y/N]")
        os.write(ours, b"y\n")
        read_until(ours, "Keep it?")
        os.write(ours, b"y\n")
        assert "Kept." in read_until(ours, "Kept.")
        assert child.wait(RUN_S) == 0
    assert node_state(leak) != before
    again = preflight(leak, *words, "--yes")
    assert (again.returncode, again.stderr) == (0, "")
    assert "is not there any more: nothing was changed" in again.stdout
    with at_a_terminal(leak, "fix", "--undo") as (child, ours):
        read_until(ours, "[y/N]")
        os.write(ours, b"y\n")
        assert child.wait(RUN_S) == 0
    assert differences(before, node_state(leak), "a") == []


def test_a_fix_that_does_not_heal_is_undone(leak: Lab) -> None:
    """Protects from half a cure: something behind the fault is broken too, so the fix is not kept."""
    chain = "add chain inet more out { type filter hook output priority 5; }"
    nft(leak, f"add table inet more; {chain}; add rule inet more out ip daddr 10.66.0.2 drop")
    try:
        before = node_state(leak)
        done = preflight(leak, *window(leak, "--yes"))
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Not healed" in done.stdout
        undone(leak, before)
    finally:
        nft(leak, "delete table inet more")


def test_without_a_terminal_nothing_is_done(leak: Lab) -> None:
    """Protects a script that forgot `--yes`: it hears why, and nothing is changed."""
    before = node_state(leak)
    done = preflight(leak, *window(leak))
    assert done.returncode == 2
    assert "There is no terminal to ask at" in done.stderr
    assert differences(before, node_state(leak), "a") == []
