"""What the HTML page lays out, as plain values; how it looks is tested in tests/browser."""

from dataclasses import replace
from datetime import UTC, datetime

from preflight_checks.mtu_echo import Alone, judge

from preflight.api import Peer
from preflight.model.pmtu import PathMtu, SearchOutcome
from preflight.report import json
from preflight.report.build import build_report
from preflight.report.model import Gate, NodeInfo
from preflight.report.page import MtuSearch, Size, make_page

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


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
    node = NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11")
    report = build_report(results, (), node=node, overlay=None, started_at=NOW, duration_ms=1, gate=Gate())
    sizes = (Size(1280, "passed"), Size(1312, "passed"), Size(1313, "vanished"), Size(1420, "vanished"))
    drawn = (MtuSearch("b", "there and back", "fail", 1312, 1420, sizes),)
    assert make_page(report).searches == drawn
    assert make_page(json.parse(json.render(report).encode())).searches == drawn
