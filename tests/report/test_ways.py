"""The broken way on one line, in a table and in the page: what was passed, where it died, and what nobody saw."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

import pytest

from preflight import codes
from preflight.api import Direction, Observation, Result, Station, failed
from preflight.engine.diagnosis import diagnose
from preflight.proto.way.observation import Death
from preflight.report import html, json, markdown, text
from preflight.report.build import build_report
from preflight.report.model import Gate, NodeInfo, PlaceEntry, Report
from preflight.report.ways import both_ways, line, line_for

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
MESSAGE = "203.0.113.1 refuses what this node sends to b"


def report(direction: Direction = Direction.FORWARD) -> Report:
    """A run in which the network refuses packets that left the uplink."""
    way: Literal["forward", "reverse"] = "forward" if direction is Direction.FORWARD else "reverse"
    death = Death(code=codes.REACH_NO_FORWARD, message=MESSAGE)
    place = Station("network", "network")
    said = (
        Observation(station=Station("wire"), finding="seen", by="node", reason="5 packets left by eth0", direction=way),
        Observation(station=place, finding="killed", by="node", death=death, direction=way),
    )
    result = failed(death.code, "b", direction, MESSAGE, station=place, observations=said)
    return reported(result)


def reported(result: Result) -> Report:
    """The report of a run with one result."""
    results = (result,)
    node = NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11")
    return build_report(
        results,
        diagnose(results),
        node=node,
        overlay=None,
        started_at=NOW,
        duration_ms=1,
        gate=Gate(),
    )


def test_one_line_shows_the_place() -> None:
    """The last station that was seen comes before the one that killed, and the rest is called unseen."""
    (way,) = report().ways
    assert line(way) == "here: route ✓ filter ✓ tunnel ✓ wire ✓ │ network ✗ │ b: unseen"


def test_the_way_back_begins_at_the_peer() -> None:
    """The hosts change places; nothing else does."""
    (way,) = report(Direction.REVERSE).ways
    assert line(way) == "b: route ✓ filter ✓ tunnel ✓ wire ✓ │ network ✗ │ here: unseen"


def test_a_line_shows_where_packets_vanish() -> None:
    """Where no place is proven, the last station that was seen is still what a person starts from."""
    left = Observation(station=Station("wire"), finding="seen", by="node", reason="the packets left by eth0")
    result = replace(
        failed(codes.REACH_NO_FORWARD, "b", Direction.FORWARD, "they vanish", observations=(left,)), check="way.packet"
    )
    made = reported(result)
    assert made.diagnosis[0].place is None
    assert line_for(made, made.diagnosis[0]) == "here: route ✓ filter ✓ tunnel ✓ wire ✓ │ network ? │ b: unseen"


def test_without_a_direction_this_nodes_own_way_is_shown() -> None:
    """A handshake that fails dies on one of two ways: what is seen here is shown, no picture of success."""
    said = Observation(station=Station("tunnel"), finding="seen", by="node", reason="5 packets went in")
    dead = replace(failed(codes.OVERLAY_NO_HANDSHAKE, "b", Direction.ROUND_TRIP, "no handshake"), check="way.packet")
    made = reported(replace(dead, observations=(said,)))
    assert line_for(made, made.diagnosis[0]) == "here: route ✓ filter ✓ tunnel ✓ … │ network ? │ b: unseen"
    arrived = Observation(station=Station("socket", "receiver"), finding="seen", by="peer", reason="5 packets arrived")
    passed = reported(replace(dead, observations=(arrived,)))
    assert line_for(passed, passed.diagnosis[0]) == ""


def test_what_is_about_this_node_goes_to_nobody() -> None:
    """No network and no peer is behind a device of this node that is missing."""
    place = Station("tunnel")
    made = reported(failed(codes.OVERLAY_ABSENT, "node", Direction.LOCAL, "no overlay", station=place))
    assert line_for(made, made.diagnosis[0]) == "here: tunnel ✗"


def test_every_format_tells_the_way() -> None:
    """A ticket, a terminal and a browser show the same place, and JSON brings it back unchanged."""
    made = report()
    assert "way: here: route ✓" in text.render(made, width=120)
    assert f"| network | network | ✗ | node | {MESSAGE} |" in markdown.render(made)
    page = html.render(made)
    assert 'class="station fail"' in page
    assert "5 packets left by eth0" in page
    again = json.parse(json.render(made).encode())
    assert both_ways(again, again.diagnosis[0]) == made.ways


@pytest.mark.parametrize("kind", ["packet", "request"])
def test_the_place_of_a_cause_is_marked_also_where_other_probes_pass(kind: str) -> None:
    """Large packets die where small ones pass; what dies, a packet or a request, reaches no later station."""
    made = report(Direction.REVERSE)
    (way,) = made.ways
    passing = tuple(each.model_copy(update={"state": "passed", "reason": "6 of 6"}) for each in way.stations)
    made = made.model_copy(update={"ways": (way.model_copy(update={"kind": kind, "stations": passing}),)})
    assert line_for(made, made.diagnosis[0]).endswith("network ✗ │ here: unseen")
    assert "| network | ✗ | node | others pass: 6 of 6 |" in markdown.render(made)
    assert 'class="station fail"' in html.render(made)
    nowhere = made.diagnosis[0].model_copy(update={"place": PlaceEntry(way=way.id, station="nowhere")})
    assert "✗" not in line_for(made, nowhere)
