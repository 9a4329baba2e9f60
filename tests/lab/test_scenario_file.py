"""Scenarios that users write: what is read, and what each mistake is answered."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from preflight.lab.names import LabError
from preflight.lab.scenario_file import offered, parse_scenario, usage
from preflight.lab.scenarios import Expected

BOTH = """
topology: pair
overlay: {tunnel_mtu: 1400, families: [4]}
faults:
  - black-hole: {source: a, target: b}
  - no-echo: {node: b}
  - both-ways: {one: a, other: c, impairment: {delay_ms: 20, rate_kbit: 2000}}
  - resolvers: {plans: [{address: 10.201.1.53, answers: {control.overlay.test: [10.66.0.3]}}]}
expect: [mtu.black-hole forward, reach.icmp-filtered]
exit_code: 1
"""


def test_a_file_becomes_a_scenario() -> None:
    """Faults, plan and expectations arrive as the built-in ones are written."""
    scenario = parse_scenario("My incident", BOTH.replace(", rate_kbit: 2000", ""))
    assert scenario.name == "my-incident"
    assert (scenario.expected, scenario.also) == (
        (Expected("mtu.black-hole", "forward"),),
        (Expected("reach.icmp-filtered", None),),
    )
    plan = scenario.plan()
    assert (plan.tunnel_mtu, plan.families, plan.keepalive_s) == (1400, (4,), 25)
    assert plan.resolvers[0].answers == {"control.overlay.test": ("10.66.0.3",)}
    with_rows = parse_scenario("told", "faults: [{registered: {summary: one is stale, rows: [{id: n2, age_s: 600}]}}]")
    assert (with_rows.faults[0].summary, [row.id for row in with_rows.plan().registered]) == ("one is stale", ["n2"])
    assert parse_scenario(scenario.name, scenario.definition).faults[0].summary == scenario.faults[0].summary


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("faults: [black-hol]", "no fault is called 'black-hol'; nearest: black-hole: {source, target, [mtu]}"),
        ("faults: [{no-echo: {node: d}}]", "no-echo: pair has no node 'd': a, b, c"),
        ("topology: solo\nfaults: [{no-echo: {node: c}}]", "solo has no node 'c'"),
        ("faults: [no-echo]", "no-echo: {node}"),
        ("faults: [{no-echo: {node: b, hard: 1}}]", "hard"),
        ("faults: [{nat: {node: a, timeout_s: soon}}]", "timeout_s"),
        ("faults: [{no-echo: {node: b}, no-icmp-too-big: {}}]", "one name with its values"),
        ("faults: [{no-echo: b}]", "write its values as {key: value}"),
        ("expect: [mtu.blackhole]", "no finding code is called 'mtu.blackhole'; nearest: mtu.black-hole"),
        ("expect: [mtu.black-hole upwards]", "'upwards' is not a direction"),
        ("topology: ring", "topology"),
        ("overlay: {mtu: 1400}", "overlay.mtu"),
        ("faultz: []", "faultz"),
        ("faults: [", "not valid YAML"),
        ("- a\n- b", "valid dictionary"),
    ],
)
def test_a_mistake_is_named(text: str, said: str) -> None:
    """A wrong file is refused before anything is built, in one sentence that helps."""
    with pytest.raises(LabError) as refused:
        parse_scenario("mine", text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_every_fault_can_be_named() -> None:
    """A fault with values must be there for users, with a separate sentence."""
    everything = offered()
    assert {"black-hole", "drop-in", "drop-out", "nat", "impaired", "resolvers", "second-path"} <= set(everything)
    for name, factory in everything.items():
        assert usage(name, factory).startswith(name)
        assert factory.__doc__, name


@pytest.mark.lab
def test_a_file_runs_stays_up_and_is_used(tmp_path: Path) -> None:
    """`lab run`, `lab up` and `--lab` take a file; a lab that stays up remembers what it was built from."""
    path = tmp_path / "incident.yaml"
    path.write_text("faults: [{no-echo: {node: b}}]\nexpect: [reach.icmp-filtered]\nexit_code: 0\n")

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "preflight", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)

    done = run("lab", "run", str(path), "--output", "json")
    assert (done.returncode, json.loads(done.stdout)["right"]) == (0, 1), done.stderr
    name = f"file-{tmp_path.name[-20:].strip('-_')}"
    try:
        assert run("lab", "up", name, "--scenario", str(path)).returncode == 0
        path.unlink()
        report = json.loads(run("all", "--lab", name, "-q", "--output", "json").stdout)
    finally:
        down = run("lab", "down", name)
    assert [cause["code"] for cause in report["diagnosis"]] == ["reach.icmp-filtered"]
    assert down.returncode == 0
