"""Which fix of a report is made on this node, whether its cause is still there, and whether it was healed."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from preflight import codes
from preflight.api import Direction, Remedies, Result, by_hand, failed, heal, look, passed, skipped
from preflight.engine.diagnosis import diagnose
from preflight.model.change import NamedValue
from preflight.model.fix import Environment, Fix, LinkMtu, LinkUp, ResponderStart
from preflight.report.build import build_report
from preflight.report.healing import Chosen, RefusedError, choose, find_again, outcome
from preflight.report.model import Gate, NodeInfo, PlaceEntry, Report

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MTU = LinkMtu(interface="wg0", mtu_bytes=1320)
URL = "http://10.66.0.3:9847"
VARIABLE = Environment(variables=(NamedValue("PREFLIGHT_CONTROL_URL", URL),))


def report(results: Iterable[Result]) -> Report:
    """A report of these results."""
    found = tuple(results)
    node = NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11")
    return build_report(found, diagnose(found), node=node, overlay=None, started_at=NOW, duration_ms=1, gate=Gate())


def hole(remedies: Remedies = (), target: str = "b", message: str = "a hole") -> Result:
    """A black hole with these remedies."""
    found = failed(codes.MTU_BLACK_HOLE, target, Direction.FORWARD, message, remedies=remedies)
    return replace(found, check="mtu.path", category="mtu", started_at=NOW)


def whole(check: str = "mtu.path", target: str = "b") -> Result:
    """The same check, and all is well."""
    found = passed(target, Direction.FORWARD, "1420 bytes")
    return replace(found, check=check, category="mtu", started_at=NOW)


def made(fix: Fix = MTU, **more: str) -> Remedies:
    """A remedy with this fix."""
    return heal(lambda: fix, **more)  # type: ignore[arg-type]


def test_the_first_cause_with_a_fix_for_here_is_chosen() -> None:
    """Protects the plain call without `--cause`, where the worst cause may be one that only a person heals."""
    both = report([hole(look("mtr b")), hole(made(), "c")])
    assert [cause.target for cause in both.diagnosis] == ["b", "c"]
    found = choose(both, None)
    assert (found.number, found.cause.target, found.fixes) == (2, "c", (MTU,))
    assert choose(both, 2) == found


@pytest.mark.parametrize(
    ("remedies", "why", "line"),
    [
        (made(where="peer", host="b"), "belongs on b, and nothing is changed there", "mtu 1320   # on b"),
        (made(where="control host"), "belongs on the control host", "# on the control host"),
        (by_hand("Renew the certificate."), "only text, which is never run", "Renew the certificate."),
        (look("mtr b"), "has no fix, only what shows more", "mtr b"),
        (made(ResponderStart(address="10.66.0.1")), "keeps running", "preflight responder"),
        (made(VARIABLE), "no program can change those of another", "export PREFLIGHT_CONTROL_URL"),
        ((*made(), *made(where="peer", host="b")), "belongs on b", "mtu 1320"),
    ],
)
def test_what_is_not_made_here_is_refused_with_its_lines(remedies: Remedies, why: str, line: str) -> None:
    """Protects other machines, and the person who still needs the line to paste."""
    with pytest.raises(RefusedError, match=why) as refused:
        choose(report([hole(remedies)]), None)
    assert any(line in each for each in refused.value.lines)


def test_a_cause_that_is_not_there_is_said() -> None:
    """Protects a mistyped number."""
    with pytest.raises(RefusedError, match="no cause 3: it has one cause"):
        choose(report([hole(made())]), 3)
    with pytest.raises(RefusedError, match="nothing is to heal"):
        choose(report([whole()]), None)


def chosen(results: Iterable[Result]) -> Chosen:
    """The cause of a report."""
    return choose(report(results), None)


def test_only_what_is_measured_again_is_made() -> None:
    """Protects from an old report, and from one that a stranger wrote: the fix must be the one that we would give."""
    old = chosen([hole(made())])
    assert find_again(report([hole(made(), message="another size")]), old) is not None
    assert find_again(report([whole()]), old) is None
    other = LinkMtu(interface="wg0", mtu_bytes=1400)
    with pytest.raises(RefusedError, match="make a new report") as refused:
        find_again(report([hole(made(other))]), old)
    assert refused.value.lines == other.lines
    back = replace(hole(made()), direction=Direction.REVERSE)
    with pytest.raises(RefusedError, match="at another place"):
        find_again(report([back]), old)


def placed(station: str | None) -> Report:
    """A report whose cause has this place."""
    found = report([hole(made())])
    place = None if station is None else PlaceEntry(way="packet/b/forward", station=station)
    return found.model_copy(update={"diagnosis": (found.diagnosis[0].model_copy(update={"place": place}),)})


def test_a_place_that_one_run_could_not_tell_is_no_other_place() -> None:
    """Protects from a refusal only because a busy machine saw less; two places that differ are two causes."""
    old = choose(placed("network"), None)
    assert find_again(placed(None), old) is not None
    assert find_again(placed("network"), choose(placed(None), None)) is not None
    with pytest.raises(RefusedError, match="at another place"):
        find_again(placed("wire"), old)


def test_what_was_held_up_by_the_cause_counts_too() -> None:
    """Skipped, it had no direction; if it fails once its turn has come, the node is not healed."""
    skip = skipped(codes.RUN_BLOCKED, "b", Direction.LOCAL, "mtu.path did not pass")
    held_up = replace(skip, check="udp.quality", category="udp", blocked_by="mtu.path/b/forward", started_at=NOW)
    before = report([hole(made()), held_up])
    cause = before.diagnosis[0]
    assert "udp.quality/b/local" in cause.explains
    dead = replace(failed(codes.UDP_LOSS, "b", Direction.ROUND_TRIP, "lost"), check="udp.quality", started_at=NOW)
    found = outcome(before, report([whole(), dead]), cause)
    assert (found.verdict, "udp.loss" in found.why) == ("another cause", True)
    assert outcome(before, report([whole(), whole("udp.quality")]), cause).verdict == "healed"


def test_what_was_not_looked_for_is_not_called_gone() -> None:
    """Protects from a wrong all-clear: what an enrolment showed does not show in a run that enrols nobody."""
    old = chosen([hole(made())])
    idle = skipped(codes.RUN_NOT_ENROLLING, "b", Direction.LOCAL, "enrolment was not requested")
    idle = replace(idle, check="mtu.path", category="mtu", started_at=NOW)
    with pytest.raises(RefusedError, match="not looked for again, because enrolment was not requested"):
        find_again(report([idle, whole("reach.udp")]), old)
    assert find_again(report([whole()]), old) is None


def test_what_names_a_direction_only_in_trouble_is_found_again() -> None:
    """Protects the fix of a hole that one side finds alone: the check that passes now is about the round trip."""
    before = report([hole(made())])
    now = replace(whole(), direction=Direction.ROUND_TRIP)
    assert outcome(before, report([now]), before.diagnosis[0]).verdict == "healed"


def test_what_drops_what_comes_again_is_a_second_fault_and_no_harm() -> None:
    """Protects a fix that heals from being undone: packets come to the filter only now, and it was there before."""
    found = failed(codes.HOST_RP_FILTER, "node", Direction.LOCAL, "drops it")
    filter_now = replace(found, check="host.rp-filter", category="host", started_at=NOW)
    filter_before = replace(passed("node", Direction.LOCAL, "drops nothing"), check="host.rp-filter", category="host")
    before = report([hole(made()), replace(filter_before, started_at=NOW)])
    cause = chosen([hole(made())]).cause
    assert outcome(before, report([whole(), filter_now]), cause).verdict == "healed"


def test_healed_is_said_of_what_is_gone_and_passes() -> None:
    """Protects the word: the cause is gone, what it explained passes, and nothing else is worse."""
    before, cause = report([hole(made()), whole("reach.udp")]), chosen([hole(made())]).cause
    assert outcome(before, report([whole(), whole("reach.udp")]), cause).verdict == "healed"
    assert outcome(before, report([hole(made()), whole("reach.udp")]), cause).verdict == "still there"
    assert outcome(before, report([whole("reach.udp")]), cause).verdict == "still there"
    down = replace(hole(), check="reach.udp")
    assert outcome(before, report([whole(), down]), cause).verdict == "harmful"
    another = hole(made(LinkUp(interface="wg0")), message="what was behind it")
    found = outcome(before, report([another, whole("reach.udp")]), cause)
    assert (found.verdict, found.why) == ("another cause", "what is there now is not the same: what was behind it")
