"""What b's observers see gets to a: with `--observe`, a names the rule, the route or the filter of b's that kills."""

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from preflight.lab.axes.setup import Setup
from preflight.lab.draws import Draw
from preflight.lab.labs import Lab, fresh_lab
from preflight.lab.scenario_file import scenario_of
from preflight.lab.stations.catalogue import FAULTS
from preflight.model.path import AskResult, PeerReport
from preflight.model.return_path import ReturnPath
from preflight.proto.responder.observed import decode
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.peer_word import peer_word
from preflight.proto.way.verdict import Verdict, conclude

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]
OBSERVING = Setup(responder="observing")


def counted(lab: Lab) -> dict[str, Any]:
    """What left and what arrived at both ends, as a's `reach.udp` has it as evidence."""
    words = [sys.executable, "-m", "preflight", "run", "reach.udp", "--output", "json"]
    words += ["--config", str(lab.names.files("a") / "preflight.yaml")]
    done = subprocess.run(
        lab.command(words), env=lab.environment(), capture_output=True, text=True, timeout=90, check=False
    )
    evidence = [each for result in json.loads(done.stdout)["results"] for each in result.get("evidence", ())]
    data: dict[str, Any] = next(each["data"] for each in evidence if each["kind"] == "counts")
    return data


def asked(lab: Lab) -> AskResult:
    """The same as a itself had it."""
    assert lab.network is not None
    data = counted(lab)
    told = dict(data["told_by_peer"])
    way, observed = told.pop("way"), decode(told.pop("observed"))
    report = PeerReport(**told, way=ReturnPath(**way), observed=observed)
    address = lab.network.plan.address("a", lab.network.plan.families[0])
    return AskResult(
        sent=data["sent"],
        answered=0,
        report=report,
        probes_received=data["probes_received"],
        on_interface=data["received_on_interface"],
        local=(address, 40000),
    )


def verdicts(words: tuple[Observation, ...]) -> dict[str, Verdict]:
    """What follows for each direction that is dead."""
    return {verdict.direction: verdict for verdict in conclude("b", words) if verdict.code is not None}


@pytest.mark.parametrize(
    "fault",
    [
        "input-drop",
        "input-legacy",
        "prerouting-policy",
        "filter-out-drop-answers",
        "egress-drop-answers",
        "post-out-rewrite-answers",
        "route-prohibit-answers",
        "address-own-loopback-answers",
        "session-taken-there",
        "filter-outer-rule-b",
        "input-outer-rule-b",
    ],
)
def test_what_kills_at_b_is_named_at_a(fault: str) -> None:
    """Protects the purpose: a report of b's own observers gives a the place, and what decided, of a death at b."""
    with fresh_lab(scenario_of(Draw(OBSERVING, (fault,)))) as lab:
        truth = FAULTS[fault].expected(OBSERVING).resolved(lab.network)
        words = peer_word(asked(lab), "b")
    found = next(iter(verdicts(words).values()))
    assert (found.code and found.code.slug) == truth.code, found
    assert truth.place is not None
    assert found.station is not None
    assert (found.station.id, found.station.host) == (truth.place.station, truth.place.host), found
    assert found.facts is not None
    if truth.deciding is not None:
        assert str(getattr(found.facts, truth.deciding.field)) == str(truth.deciding.value), found
        assert str(truth.deciding.value) in found.message, found
    assert all(remedy.where == "peer" for remedy in found.remedies)


def test_without_observe_nothing_of_it_is_told() -> None:
    """Protects the default: a responder reports what it counts, and nothing of its host's firewall."""
    with fresh_lab(scenario_of(Draw(replace(OBSERVING, responder="key"), ("input-drop",)))) as lab:
        found = asked(lab)
    assert found.report is not None
    assert found.report.observed == ()
    assert not any(isinstance(each.death, Death) for each in peer_word(found, "b"))
