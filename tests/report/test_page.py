"""What the HTML page lays out, as plain values; how it looks is tested in tests/browser."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from preflight_checks.mtu_echo import Alone, judge

from preflight import codes
from preflight.api import Direction, Evidence, Peer, Result, failed, passed, skipped
from preflight.engine.diagnosis import Cause, diagnose
from preflight.model.facts import AnswerFacts, LossFacts, MtuSearchFacts
from preflight.model.pmtu import PathMtu, ProbeSizes, SearchOutcome, as_data
from preflight.model.spread import as_data as spread_data
from preflight.model.spread import spread
from preflight.report import html, json
from preflight.report.build import build_report
from preflight.report.model import Gate, NodeInfo, Report
from preflight.report.page import MtuSearch, Size, make_page
from tests.sample_facts import sample

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def report_of(results: Sequence[Result], causes: Sequence[Cause] = ()) -> Report:
    """A report of these results, as if their check had run."""
    node = NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11")
    return build_report(
        tuple(results), tuple(causes), node=node, overlay=None, started_at=NOW, duration_ms=1, gate=Gate()
    )


def test_a_small_packet_that_was_lost_where_a_larger_one_arrived_did_not_vanish() -> None:
    """Protects from a mark that says that 1280 bytes do not pass where 1420 do."""
    sizes = ProbeSizes(passed=(1420,), fragmented=(), vanished=(1280,), lost_once_but_arrived=(), icmp_too_big_from=())
    result = passed(
        "b",
        Direction.FORWARD,
        "1420-byte packets arrive whole",
        facts=sample(MtuSearchFacts, mtu_bytes=1420, interface_mtu_bytes=1420),
        evidence=(Evidence("path-mtu", "sizes", as_data(sizes)),),
    )
    (search,) = make_page(report_of((replace(result, check="mtu.path", category="mtu", started_at=NOW),))).searches
    assert search.sizes == (Size(1280, "recovered"), Size(1420, "passed"))


def of_quality(peer: str, data: object) -> Result:
    """What udp.quality finds, with a distribution."""
    evidence = (Evidence("round-trips", "200 round trips", data),)
    result = passed(peer, Direction.FORWARD, "no loss", facts=sample(LossFacts), evidence=evidence)
    return replace(result, check="udp.quality", category="udp", started_at=NOW)


def test_round_trips_are_drawn_as_they_are_distributed() -> None:
    """A report that was written and read again has the same picture; what a stranger wrote there is left out."""
    known = spread([1 + n / 100 for n in range(200)])
    assert known is not None
    report = report_of([of_quality("b", spread_data(known)), of_quality("c", {"counts": [-1]}), of_quality("d", "x")])
    for each in (report, json.parse(json.render(report).encode())):
        assert {peer.name: peer.spread for peer in make_page(each).peers} == {"b": known, "c": None, "d": None}
    assert "half within 2 ms" in html.render(report)


def test_fifty_peers_make_a_small_file() -> None:
    """It is sent by e-mail and attached to tickets. Seventeen results a peer are what a run has."""
    known = spread([1 + n / 100 for n in range(200)])
    assert known is not None
    nothing = skipped(codes.RUN_NOT_APPLICABLE, "b", Direction.ROUND_TRIP, "the endpoint of b does not go to and fro")
    answer = passed("b", Direction.FORWARD, "the responder of b answered 10 of 10", facts=sample(AnswerFacts))
    results = []
    for number in range(50):
        name = f"p{number}"
        quality = of_quality(name, spread_data(known))
        results += [quality, replace(quality, direction=Direction.REVERSE, evidence=())]
        results += [
            replace(each, check=f"reach.{index}", category="reach", target=name, started_at=NOW)
            for index, each in enumerate((*[answer] * 8, *[nothing] * 7))
        ]
    assert len(html.render(report_of(results)).encode()) <= 400 * 1024


def test_the_search_by_echoes_is_drawn() -> None:
    """Without a responder it is the only search that there is, and its picture was left out."""
    found = PathMtu(
        direction="forward",
        outcome=SearchOutcome.MEASURED,
        ceiling_bytes=1420,
        mtu_bytes=1312,
        passed=(1280, 1312),
        vanished=(1313, 1420),
    )
    results = tuple(
        replace(result, check="mtu.echo", category="mtu", started_at=NOW)
        for result in judge(Peer("10.66.0.2", "b"), Alone(found, interface="wg0"), 1280)
    )
    report = report_of(results)
    sizes = (Size(1280, "passed"), Size(1312, "passed"), Size(1313, "vanished"), Size(1420, "vanished"))
    drawn = (MtuSearch("b", "there and back", "fail", 1312, 1420, sizes),)
    assert make_page(report).searches == drawn
    assert make_page(json.parse(json.render(report).encode())).searches == drawn


@pytest.mark.parametrize(("there", "status"), [(True, "pass"), (False, "skip")])
def test_a_direction_that_works_is_not_drawn_as_broken(there: bool, status: str) -> None:
    """No echo comes back as answers die: the arrow to the peer is not red for it, green only where that was seen."""
    message = "this node's own firewall drops packets from b"
    echo = failed(codes.REACH_UNREACHABLE, "b", Direction.ROUND_TRIP, "no echo came back")
    dropped = failed(codes.HOST_FIREWALL_DROP, "b", Direction.REVERSE, message)
    route = passed("b", Direction.LOCAL, "the route leads into the tunnel")
    arrived = passed("b", Direction.FORWARD, "b received 10 of 10 packets")
    named = {"reach.icmp": echo, "reach.udp": dropped, "overlay.route": route}
    results = [replace(each, check=name, category=name[:5], started_at=NOW) for name, each in named.items()]
    if there:
        results.append(replace(arrived, check="reach.udp", category="reach", started_at=NOW))
    causes = diagnose(tuple(results))
    assert [(cause.code, cause.direction) for cause in causes] == [(codes.HOST_FIREWALL_DROP, Direction.REVERSE)]
    (place,) = make_page(report_of(results, causes)).places
    assert [(edge.direction, edge.status) for edge in place.edges] == [("forward", status), ("reverse", "fail")]
