"""Less privilege makes an answer wider, and never another one: each is taken away by itself, over faults of one lab."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import yaml

from preflight.lab.axes.setup import Setup
from preflight.lab.draws import Draw
from preflight.lab.labs import Lab, fresh_lab
from preflight.lab.scenario_file import scenario_of
from preflight.lab.stations.catalogue import FAULTS
from preflight.lab.truth import Truth

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

# The ordinary user owns a's files, and root may read them too.
SETUP = Setup(user="ordinary")
CASES = ("input-outer-rule",)
MORE = (
    "filter-out-drop",
    *("address-own-uplink", "route-blackhole", "egress-drop", "session-preshared", "session-not-allowed"),
    *("neighbour-default", "filter-outer-rule", "prerouting-drop-answers", "rp-outer-strict", "network-portal"),
    *("network-silent-forward", "input-drop", "socket-closed", "network-policer-reverse"),
)
"""With PREFLIGHT_PRIVILEGES=all, and then every privilege is taken away."""


def _without(capability: str) -> list[str]:
    drop = f"-{capability}"
    return ["setpriv", "--bounding-set", drop, "--inh-caps=-all", "--ambient-caps=-all"]


NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
TAKEN: Mapping[str, Callable[[], Sequence[str]]] = {
    "nothing": list,
    "root": lambda: NOBODY,
    "CAP_NET_RAW": lambda: _without("net_raw"),
    "CAP_NET_ADMIN": lambda: _without("net_admin"),
    "the tunnel's socket": lambda: [*NOBODY, "--inh-caps=+net_raw,+net_admin", "--ambient-caps=+net_raw,+net_admin"],
    "the responder's key": list,
}
FEW = ("nothing", "root", "CAP_NET_ADMIN", "the responder's key")
WIDER = frozenset(
    f"{area}.{what}"
    for area, found in {
        "reach": ("unreachable", "no-forward", "no-reverse", "loss"),
        "overlay": ("no-handshake", "handshake-stale"),
        "udp": ("loss",),
        "run": ("needs-privilege", "needs-responder", "no-answer", "timeout"),
    }.items()
    for what in found
)
"""What says less than a cause: that something is silent, and in which direction."""


def report_of(lab: Lab, prefix: Sequence[str], *, key: bool) -> dict[str, Any]:
    """What `preflight all` on a says, started like this."""
    settings = lab.names.files("a") / "preflight.yaml"
    if not key:
        own = yaml.safe_load(settings.read_text())
        own["responder"].pop("key_file")
        settings = settings.with_name("keyless.yaml")
        settings.write_text(yaml.safe_dump(own))
    words = [*prefix, sys.executable, "-m", "preflight", "all", "--output", "json", "--config", str(settings)]
    done = subprocess.run(
        lab.command(words), env=lab.environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode in (0, 1, 3), done.stderr[-500:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def contradicted(truth: Truth, report: Mapping[str, Any]) -> list[str]:
    """What the first cause, and each place of death, say that is not true."""
    wrong = []
    first = next(iter(report["diagnosis"]), None)
    if first is not None and first["code"] not in {truth.code, *truth.vague, *WIDER}:
        wrong.append(f"{first['code']}: {first['message']}")
    if first is not None and truth.direction and first["direction"] not in (truth.direction, "round-trip", "local"):
        wrong.append(f"{first['direction']}: {first['message']}")
    for way in report["ways"]:
        if way["kind"] == "packet":
            place = (truth.place.station, truth.place.host) if truth.place else None
            dead = [each for each in way["stations"] if each["state"] == "died"]
            wrong += [f"{way['id']} at {each['id']}" for each in dead if (each["id"], each["host"]) != place]
    return wrong


@pytest.mark.parametrize("fault", [*CASES, *(MORE if os.environ.get("PREFLIGHT_PRIVILEGES") else ())])
def test_less_privilege_is_never_another_answer(fault: str) -> None:
    """Protects from a false accusation: who cannot see a station says so, and accuses no other one."""
    taken = TAKEN if os.environ.get("PREFLIGHT_PRIVILEGES") else {what: TAKEN[what] for what in FEW}
    with fresh_lab(scenario_of(Draw(SETUP, (fault,)))) as lab:
        truth = FAULTS[fault].expected(Setup()).resolved(lab.network)
        reports = {what: report_of(lab, prefix(), key=what != "the responder's key") for what, prefix in taken.items()}
    first = {what: [cause["code"] for cause in report["diagnosis"]][:1] for what, report in reports.items()}
    print(fault, first)
    assert first["nothing"] == [truth.code]
    assert {what: wrong for what, report in reports.items() if (wrong := contradicted(truth, report))} == {}
