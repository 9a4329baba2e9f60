"""`--heal`: the fixes of a report are made where it says, in the lab alone, and judged by the next run."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from preflight.lab.heal import heal, worse
from preflight.lab.labs import Lab, fresh_lab
from preflight.lab.node_state import node_state
from preflight.lab.repairs import differences
from preflight.lab.scenario_file import parse_scenario
from preflight.model.fix import ClockSync, LinkMtu, PrivateFiles, Setting
from preflight.model.remedy import Remedies, by_hand, look
from preflight.model.remedy import heal as fix
from preflight.report.remedies import remedy_entry
from tests.lab.lifetime import preflight

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
GREEN = {"results": [], "diagnosis": [], "run": {"exit_code": 0}}


def report(remedies: Remedies, *results: tuple[str, str]) -> dict[str, Any]:
    """A report with one cause. results: id and status."""
    entries = [remedy_entry(each).model_dump(mode="json") for each in remedies]
    rows = [{"id": name, "status": status, "category": name.split(".")[0]} for name, status in results]
    return {"results": rows, "diagnosis": [{"code": "overlay.down", "remedies": entries}], "run": {"exit_code": 1}}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A plain lab."""
    with fresh_lab(parse_scenario("healing", "{}")) as made:
        yield made


def green(after: Mapping[str, Any]) -> bool:
    """Nothing is left."""
    return not after["diagnosis"]


def test_a_way_that_was_taken_down() -> None:
    """Protects the measure of harm: what passed and fails now, not what failed before or was never looked at.

    What drops packets on a host shows first when packets come there again: a second fault, and no harm.
    """
    before = report((), ("reach.x", "pass"), ("reach.y", "fail"), ("host.rp-filter", "pass"))
    after = report((), ("reach.x", "fail"), ("reach.y", "fail"), ("reach.z", "fail"), ("host.rp-filter", "fail"))
    assert list(worse(before, after)) == ["reach.x"]


def test_the_fix_is_made_where_it_says(lab: Lab) -> None:
    """Protects against a fix in the wrong place: here on b, and not on a; and it is undone in the end."""
    tunnel, states = lab.names.tunnel("b"), [node_state(lab, "b")]

    def rerun(variables: Mapping[str, str]) -> dict[str, Any]:
        states.append(node_state(lab, "b"))
        return GREEN

    done = heal(
        lab, report(fix(lambda: LinkMtu(interface=tunnel, mtu_bytes=1300), where="peer", host="b")), rerun, green
    )
    assert (done.verdict, done.lines, done.left) == ("healed", (f"ip link set dev {tunnel} mtu 1300",), ())
    before, during = states
    assert (any("mtu 1300" in line for line in before), any("mtu 1300" in line for line in during)) == (False, True)
    assert differences(before, node_state(lab, "b"), "b") == []


def test_what_is_left_is_said(lab: Lab) -> None:
    """Protects the word `undone`: what came meanwhile and stays is named, with the node."""

    def rerun(variables: Mapping[str, str]) -> dict[str, Any]:
        add = ["/sbin/ip", "route", "add", "10.99.0.0/24", "dev", lab.names.tunnel("a")]
        subprocess.run(lab.command(add), check=True, env=lab.environment())
        return GREEN

    done = heal(lab, report(fix(lambda: LinkMtu(interface=lab.names.tunnel("a"), mtu_bytes=1300))), rerun, green)
    assert any(line.startswith("a: new: 10.99.0.0/24 dev ") for line in done.left), done.left


@pytest.mark.parametrize(
    ("remedies", "verdict"),
    [
        (look("nft list ruleset"), "no fix"),
        (by_hand("Renew the certificate."), "no fix"),
        (fix(ClockSync), "not healed"),
        (fix(lambda: PrivateFiles(paths=("/etc/passwd",))), "not healed"),
        (fix(lambda: Setting(file="/etc/x.yaml", key="control.scope_id", value="x")), "not healed"),
        (fix(lambda: LinkMtu(interface="nothing0", mtu_bytes=1300)), "not healed"),
        (fix(lambda: LinkMtu(interface="eth0", mtu_bytes=1400), where="peer", host="elsewhere"), "not healed"),
    ],
)
def test_what_is_not_healed(lab: Lab, remedies: Remedies, verdict: str) -> None:
    """Protects the machine around a lab: neither its clock nor its files, and no text of a report, is ever touched."""
    assert heal(lab, report(remedies), lambda variables: GREEN, green).verdict == verdict


def test_harm_outranks_a_cure(lab: Lab) -> None:
    """Protects against a remedy that moves the fault: the cause is gone, and another way is down."""
    before = report(fix(lambda: LinkMtu(interface="eth0", mtu_bytes=1500)), ("reach.udp/b/forward", "pass"))
    after = GREEN | {"results": [{"id": "reach.udp/b/forward", "status": "fail", "category": "reach"}]}
    done = heal(lab, before, lambda variables: after, green)
    assert (done.verdict, done.why) == ("harmful", "passed before, and fails now: reach.udp/b/forward")


def overlay_down(mtu_bytes: int) -> dict[str, Any]:
    """A report whose one cause has a fix that can be made."""
    return report(fix(lambda: LinkMtu(interface="eth0", mtu_bytes=mtu_bytes)))


@pytest.mark.parametrize(
    ("most", "after", "verdict", "made"),
    [
        (2, [overlay_down(1490), GREEN], "healed", 2),
        (1, [overlay_down(1490), GREEN], "not healed", 1),
        (3, [overlay_down(1500)], "not healed", 1),
        (2, [report(by_hand("Renew the certificate."))], "not healed", 1),
    ],
    ids=["one behind the other", "no more often than asked", "the same fix again", "the second by hand"],
)
def test_what_shows_later_needs_its_fix_too(lab: Lab, most: int, after: list[Any], verdict: str, made: int) -> None:
    """Protects draws of two faults, or of one at both ends: the second shows when the first is gone; and the bound."""
    runs = iter(after)
    done = heal(lab, overlay_down(1500), lambda variables: next(runs), green, most=most)
    assert (done.verdict, len(done.lines)) == (verdict, made), done


def test_the_second_fix_may_harm_too(lab: Lab) -> None:
    """Protects against harm that comes late: what the first fix made pass, the second one takes down."""
    rows = ({"id": "reach.x", "status": status, "category": "reach"} for status in ("pass", "fail"))
    runs = iter([overlay_down(1490) | {"results": [row]} for row in rows])
    assert heal(lab, overlay_down(1500), lambda variables: next(runs), green, most=2).verdict == "harmful"


def test_a_row_heals(tmp_path: Path) -> None:
    """Protects the whole way: a real fault, the report's own fix, a second run that is green, the way back, the score.

    Then `preflight fix` itself keeps and undoes it.
    """
    file = tmp_path / "score.json"
    words = ["lab", "run", "interface-down", "--heal", "--output", f"json={file}"]
    done = subprocess.run(preflight(*words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(file.read_text(encoding="utf-8"))
    assert (said["healed"], said["healable"], said["harmful"], said["left"]) == (1, 1, 0, 0)
    assert said["scenarios"][0]["healing"]["command"] == "kept, then undone"
    assert said["scenarios"][0]["healing"]["lines"][0].startswith("ip link set dev pl-")


def test_what_the_set_up_lacks_keeps_nothing_from_being_made(lab: Lab) -> None:
    """A responder that nobody runs is for a person to start, and no reason to leave the fault as it is."""
    tunnel = lab.names.tunnel("a")
    broken = report(fix(lambda: LinkMtu(interface=tunnel, mtu_bytes=1300)))
    broken["diagnosis"].append(
        {"code": "run.needs-responder", "remedies": report(by_hand("Start it."))["diagnosis"][0]["remedies"]}
    )
    assert heal(lab, broken, lambda variables: GREEN, green).verdict == "no fix"
    done = heal(lab, broken, lambda variables: GREEN, green, silent=frozenset({"run.needs-responder"}))
    assert done.verdict == "healed"
