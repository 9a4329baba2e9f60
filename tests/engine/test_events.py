"""What the engine reports to a timeline: the course of each check, and the causes at the end."""

import pytest

from preflight import codes
from preflight.api import Direction, failed
from preflight.engine.diagnosis import diagnose, tell_causes
from preflight.model.event import Event
from tests.engine.made_up_checks import declare, fine, run
from tests.engine.test_diagnosis import at
from tests.engine.test_runner import b_is_dead
from tests.engine.test_runner_limits import hangs

F, RT = Direction.FORWARD, Direction.ROUND_TRIP


def test_a_timeline_shows_what_each_check_was_about_and_how_it_ended() -> None:
    """Which targets a check was run for, which were blocked, each result as it comes, and the end."""
    events: list[Event] = []
    run(declare("reach.udp", b_is_dead), declare("mtu.path", fine, "reach.udp"), timeline=events.append)
    assert (events[0].name, events[-1].name) == ("run-started", "run-ended")
    reach = [event.name for event in events if event.subject == "reach.udp"]
    assert reach == ["check-started", "result", "result", "check-ended"]
    started, *results, _ = (event for event in events if event.subject == "mtu.path")
    assert (started.fields["targets"], started.fields["blocked"]) == (["c"], ["b"])
    reported = [(event.fields["target"], event.fields["status"], event.fields["blocked_by"]) for event in results]
    assert reported == [("c", "pass", None), ("b", "skip", "reach.udp/b/round-trip")]


@pytest.mark.parametrize(("limit_s", "why"), [(None, "deadline"), (0.1, "run-stopped")])
def test_a_timeline_shows_why_a_check_was_ended(limit_s: float | None, why: str) -> None:
    """Its own time, or that of the whole run."""
    events: list[Event] = []
    run(declare("reach.udp", hangs, timeout=0.2), timeout_s=limit_s, timeline=events.append)
    (ended,) = (event for event in events if event.name == "check-cancelled")
    assert ended.fields == {"why": why}
    assert ("time-limit-reached" in {event.name for event in events}) == (why == "run-stopped")


def test_each_cause_is_reported_with_what_it_explains() -> None:
    """The end of a timeline: what the run concluded from all that comes before it."""
    forward = at("reach.udp", failed(codes.REACH_NO_FORWARD, "b", F, "nothing arrives at b"))
    ping = at("reach.icmp", failed(codes.REACH_UNREACHABLE, "b", RT, "no echo"))
    events: list[Event] = []
    tell_causes(events.append, diagnose([ping, forward]))
    (cause,) = events
    assert (cause.source, cause.subject, cause.name) == ("engine.diagnosis", "reach.no-forward", "cause")
    assert set(cause.fields["explains"] or ()) == {forward.id, ping.id}  # type: ignore[arg-type]
