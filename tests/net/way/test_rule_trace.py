"""Traces in a namespace: the rule is named without any counter, and nothing of the trace stays behind."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from preflight.net.way.firewall import Firewall
from preflight.net.way.rule_trace import RuleTrace
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.observe import observe_filters

from .conftest import OWN, PEER, Namespace

pytestmark = [pytest.mark.lab]
TO, FROM = f"ip daddr {PEER[4]}", f"ip saddr {PEER[4]}"
COUNT = 3


def guard(hook: str, *rules: str, policy: str = "accept") -> str:
    body = "\n".join(rules)
    start = f"type filter hook {hook} priority 0; policy {policy};"
    other = f"chain other {{ numgen random mod 1 < 1 {TO} drop\n}}"
    return f"table inet guard {{ {other}\n chain {hook} {{ {start}\n{body}\n}}\n}}"


@pytest.mark.parametrize(
    ("rules", "station", "said"),
    [
        (guard("output", *[f'{TO} numgen random mod 1 < 1 drop comment "here"'] * 2), "filter-out", "drops packets"),
        (guard("output", "numgen random mod 1 < 1 reject"), "filter-out", "rejects packets"),
        (
            guard("output", "numgen random mod 1 > 1 accept", policy="drop"),
            "filter-out",
            "policy of chain guard output",
        ),
        (guard("postrouting", "jump other"), "post-out", "chain other"),
    ],
)
def test_what_leaves(namespace: Namespace, rules: str, station: str, said: str) -> None:
    """What the rules alone leave open is certain with a trace, at the station where the kernel was."""
    namespace.nft(rules)
    flow = namespace.flow()
    before = Firewall().snapshot()
    with RuleTrace([flow]) as tracing:
        assert namespace.send(flow, COUNT) == []
        dropped = tracing.dropped()
    assert len(dropped) == COUNT
    after = Firewall().snapshot([flow], OWN.values())
    assert not any(
        each.death.certain
        for each in observe_filters(before, after, [Burst(flow=flow)])
        if each.death and "policy" not in said
    )
    last = observe_filters(before, after, [Burst(flow=flow, sent=COUNT)], traced=dropped)[-1]
    assert (last.station.id, last.finding) == (station, "killed")
    assert last.death is not None
    assert last.death.certain
    assert said in last.death.message


@pytest.mark.parametrize("version", [4, 6])
def test_what_arrives(namespace: Namespace, version: int) -> None:
    """The same for what comes in, in both families."""
    namespace.nft(guard("input", "numgen random mod 1 < 1 drop"))
    flow = replace(namespace.flow(version).answer(), mark=0)
    before = Firewall().snapshot()
    with RuleTrace([flow]) as tracing:
        assert namespace.receive(flow, COUNT) == 0
        dropped = tracing.dropped()
    after = Firewall().snapshot([flow], OWN.values())
    last = observe_filters(before, after, [Burst(flow=flow, direction="reverse", sent=COUNT)], traced=dropped)[-1]
    assert last.station.id == "input"
    assert last.death is not None
    assert last.death.certain


def test_other_flows_are_left_alone(namespace: Namespace) -> None:
    """Protects the node's own traffic: only the flows that were named are traced, and nothing is decided."""
    flow = namespace.flow()
    with RuleTrace([flow]) as tracing:
        assert len(namespace.send(namespace.flow(port=40001), COUNT)) == COUNT
        assert len(namespace.send(flow, COUNT)) == COUNT
        assert tracing.dropped() == ()
        assert any(chain.table.startswith("preflight-trace-") for chain in Firewall().snapshot().ruleset.chains)
    assert Firewall().snapshot().ruleset.chains == ()


def test_a_killed_trace_leaves_nothing(namespace: Namespace) -> None:
    """Protects the node: the table goes with the process, also after `kill -9`."""
    code = """
import sys
from preflight.model.flow import Flow
from preflight.net.way.rule_trace import RuleTrace
with RuleTrace([Flow(source="10.66.0.1", destination="10.66.0.2")]):
    print("ready", flush=True)
    sys.stdin.read()
"""
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        assert len(Firewall().snapshot().ruleset.chains) == 2
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert Firewall().snapshot().ruleset.chains == ()
