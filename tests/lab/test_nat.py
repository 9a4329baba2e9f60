"""A NAT that forgets, made for real, and the same silence without one."""

import json
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

import pytest
import yaml

from preflight.lab.labs import fresh_lab
from preflight.lab.scenarios import SCENARIOS
from preflight.lab.topology import underlay_address

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]


def silence(scenario: str, seconds: float) -> dict[str, Any]:
    """What `udp.nat-timeout` finds after one silence of this many seconds."""
    with fresh_lab(SCENARIOS[scenario]) as lab:
        files = lab.names.files("a")
        settings = yaml.safe_load((files / "preflight.yaml").read_text()) | {"checks": {"nat_silence_s": [seconds]}}
        (files / "silence.yaml").write_text(yaml.safe_dump(settings))
        words = [sys.executable, "-m", "preflight", "run", "udp.nat-timeout", "--output", "json"]
        done = subprocess.run(
            lab.command([*words, "--config", str(files / "silence.yaml")]),
            env=lab.environment(),
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
    report = json.loads(done.stdout)
    (found,) = [result for result in report["results"] if result["check"] == "udp.nat-timeout"]
    assert report["run"]["exit_code"] == 0, found
    return dict(found)


def outside(scenario: str) -> dict[str, Any]:
    """What `udp.stun` finds, with responders on the underlay addresses of b and c as STUN servers."""
    servers = {node: f"{underlay_address(node, 4)}:3478" for node in ("b", "c")}
    with fresh_lab(SCENARIOS[scenario]) as lab, ExitStack() as stack:
        for node, place in servers.items():
            words = [sys.executable, "-m", "preflight", "responder", "--bind", place, "--allow", "10.201.0.0/16"]
            command = lab.command_in(node, words)
            server = subprocess.Popen(command, env=lab.environment(), stdout=subprocess.PIPE, text=True)
            stack.callback(server.communicate, timeout=30)
            stack.callback(server.kill)
            assert server.stdout
            assert server.stdout.readline() == f"listening on udp://{place}\n"
        files = lab.names.files("a")
        (files / "stun.yaml").write_text(yaml.safe_dump({"stun": {"servers": list(servers.values())}}))
        words = [sys.executable, "-m", "preflight", "run", "udp.stun", "--output", "json"]
        command = lab.command([*words, "--config", str(files / "stun.yaml")])
        done = subprocess.run(command, env=lab.environment(), capture_output=True, text=True, timeout=60, check=False)
    report = json.loads(done.stdout)
    (found,) = [result for result in report["results"] if result["check"] == "udp.stun"]
    return dict(found)


def test_stun_sees_the_nat() -> None:
    """The router gives each way out its own address: one socket is seen under two mappings."""
    found = outside("nat-timeout")
    assert found["status"] == "pass", found
    measured = found["measurements"]
    assert (measured["translated"], measured["depends_on_destination"]) == (True, True), found
    assert [mapped.rpartition(":")[0] for mapped in measured["mapped"]] == ["10.201.2.1", "10.201.3.1"]


def test_stun_sees_no_nat_where_there_is_none() -> None:
    """The address that the servers see is this node's own."""
    found = outside("healthy")
    assert found["status"] == "pass", found
    assert found["measurements"]["translated"] is False, found
    assert "nothing translates its address" in found["message"]


def test_a_nat_forgets_within_25_s() -> None:
    """The peer does not get in, and does again once this node has spoken: a warning with the keepalive that helps."""
    found = silence("nat-timeout", 25.0)
    assert (found["status"], found["code"], found["direction"]) == ("warn", "udp.nat-timeout", "reverse"), found
    assert "there is no keepalive" in found["message"]
    assert "persistent-keepalive 15" in found["remedy"]


def test_without_a_nat_nothing_is_forgotten() -> None:
    """The same over a way that remembers nothing: the peer gets in, and the tunnel's counters did not move."""
    found = silence("healthy-silent", 8.0)
    assert (found["status"], found["code"]) == ("pass", None), found
    assert found["measurements"]["survived_s"] >= 7.0, found
