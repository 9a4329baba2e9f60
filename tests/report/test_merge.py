"""Reports of many nodes as a matrix by direction, with what the two ends of a way say of it."""

import json as stdlib
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from preflight import codes
from preflight.api import Direction, Peer, Result, failed, passed, skipped, warned
from preflight.report import json
from preflight.report.build import build_report
from preflight.report.matrix import Matrix
from preflight.report.matrix_text import render_html, render_text
from preflight.report.merge import merge
from preflight.report.model import CauseEntry, Gate, NodeInfo, OverlayInfo, PeerInfo, Report
from tests.counting import calls

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ADDRESSES = {"a": "10.66.0.1", "b": "10.66.0.2", "c": "10.66.0.3", "<b>": "10.66.0.9"}


def seen_by(node: str, *results: Result, peers: str | tuple[str, ...] = "abc", later_s: int = 0) -> Report:
    """A node's report about the others; all hosts have the same name, as freshly installed ones do."""
    return build_report(
        tuple(replace(result, check="reach.udp", category="reach", started_at=NOW) for result in results),
        (),
        node=NodeInfo(hostname="debian", os="Debian", kernel="6.1", python="3.11"),
        overlay=OverlayInfo(product="wireguard", interface="wg0", mtu=1420, addresses=(f"{ADDRESSES[node]}/24",)),
        started_at=NOW + timedelta(seconds=later_s),
        duration_ms=1,
        gate=Gate(),
        peers=tuple(Peer(ADDRESSES[peer], peer) for peer in peers if peer != node),
    )


def good(peer: str, *directions: Direction) -> list[Result]:
    """Good results in these directions, in both if none is named."""
    return [passed(peer, direction, "fine") for direction in directions or (Direction.FORWARD, Direction.REVERSE)]


def statuses(matrix: Matrix) -> dict[str, str]:
    """`a>b` to the way's status."""
    return {f"{way.source}>{way.target}": way.status for way in matrix.ways}


def names(matrix: Matrix) -> list[str]:
    """The nodes with a report."""
    return [node.name for node in matrix.nodes]


def test_nodes_are_known_by_their_overlay_addresses() -> None:
    """Host names repeat; what the others call a node is its name."""
    matrix = merge([seen_by("a", *good("b")), seen_by("b", *good("a"))])
    assert (names(matrix), matrix.silent) == (["a", "b"], ("c",))
    assert statuses(matrix) == {"a>b": "pass", "b>a": "pass"}
    assert [view.by for view in matrix.ways[0].views] == ["a", "b"]


def test_what_one_end_calls_dead_and_the_other_heard_is_a_contradiction() -> None:
    """A says that it cannot reach B, and B got A's packets: only the answers are lost, so look at the other way."""
    dead = failed(codes.REACH_UNREACHABLE, "b", Direction.ROUND_TRIP, "nothing comes back")
    lost = failed(codes.REACH_NO_FORWARD, "a", Direction.FORWARD, "a got none")
    matrix = merge([seen_by("a", dead), seen_by("b", lost, *good("a", Direction.REVERSE))])
    assert statuses(matrix) == {"a>b": "fail", "b>a": "fail"}
    assert [(way.source, way.contradiction) for way in matrix.ways] == [("a", True), ("b", False)]
    text = render_text(matrix)
    assert "✗ a → b  reach.unreachable; the two ends contradict each other" in text
    assert "    b says: ✓ fine" in text.splitlines()


def caused(
    report: Report, code: codes.Code, direction: str, *explains: str, target: str = "b", **more: object
) -> Report:
    """The report with a root cause of these results."""
    cause = {"code": code.slug, "title": code.title, "message": "told", "target": target, "direction": direction}
    entry = CauseEntry.model_validate({**cause, "explains": explains})
    return report.model_copy(update={"diagnosis": (*report.diagnosis, entry)})


def test_a_dead_round_trip_makes_both_cells_bad() -> None:
    """What passes in one direction does not hide that nothing comes back: the worst counts."""
    echo = failed(codes.REACH_UNREACHABLE, "b", Direction.ROUND_TRIP, "no echo")
    matrix = merge([seen_by("a", echo, *good("b", Direction.REVERSE), peers="b")])
    assert statuses(matrix) == {"debian>b": "fail", "b>debian": "fail"}


def test_a_round_trip_with_a_cause_in_one_direction_counts_there_only() -> None:
    """An unanswered echo says nothing about the way back if the way there is known to be the cause."""
    echo = failed(codes.REACH_UNREACHABLE, "b", Direction.ROUND_TRIP, "no echo")
    lost = failed(codes.REACH_NO_FORWARD, "b", Direction.FORWARD, "b got none")
    report = seen_by("a", echo, lost, *good("b", Direction.REVERSE), peers="b")
    ids = [result.id for result in report.results if result.status == "fail"]
    matrix = merge([caused(report, codes.REACH_NO_FORWARD, "forward", *ids)])
    assert statuses(matrix) == {"debian>b": "fail", "b>debian": "pass"}
    assert [way.decisive.code for way in matrix.ways] == [None, "reach.no-forward"]


def test_what_sends_nothing_makes_no_cell_good() -> None:
    """A route and a fresh session say nothing about packets: only what was sent does."""
    route = replace(passed("b", Direction.FORWARD, "b is on wg0"), check="overlay.route", category="overlay")
    report = seen_by("a", route, peers="b")
    local = [result.model_copy(update={"check": "overlay.route", "category": "overlay"}) for result in report.results]
    assert statuses(merge([report.model_copy(update={"results": tuple(local)})])) == {}


def test_what_was_not_run_because_of_a_cause_is_as_dead_as_the_cause() -> None:
    """On a node without its tunnel nothing is sent, and yet nothing reaches its peers."""
    down = failed(codes.OVERLAY_DOWN, "node", Direction.LOCAL, "wg0 is down")
    skip = skipped(codes.RUN_BLOCKED, "b", Direction.ROUND_TRIP, "blocked")
    report = seen_by("a", down, skip, peers="b")
    matrix = merge([caused(report, codes.OVERLAY_DOWN, "local", *(each.id for each in report.results), target="node")])
    assert statuses(matrix) == {"debian>b": "fail", "b>debian": "fail"}
    assert [(node.name, [cause.code for cause in node.causes]) for node in matrix.nodes] == [
        ("debian", ["overlay.down"])
    ]
    assert "✗ debian itself (node)  overlay.down" in render_text(matrix)


def test_a_peer_without_a_report_is_shown_as_silent() -> None:
    """A missing report must be visible, or the matrix looks whole."""
    matrix = merge([seen_by("a", *good("b"), warned(codes.UDP_LOSS, "c", Direction.REVERSE, "2 %"))])
    assert (names(matrix), matrix.silent) == (["debian"], ("b", "c"))
    assert statuses(matrix) == {"b>debian": "pass", "c>debian": "warn", "debian>b": "pass"}
    assert "(and 2 without a report)" in render_text(matrix)


def test_of_two_reports_of_one_node_the_later_one_counts() -> None:
    """A user ran it again after the repair."""
    before = seen_by("a", failed(codes.REACH_NO_FORWARD, "b", Direction.FORWARD, "dead"), peers="b")
    after = seen_by("a", *good("b", Direction.FORWARD), peers="b", later_s=60)
    matrix = merge([after, before])
    assert statuses(matrix) == {"debian>b": "pass"}
    assert matrix.left_out == ("debian: 2 reports; 1 result replaced by later ones",)


def test_reports_of_one_node_about_several_peers_are_joined() -> None:
    """A node may measure its peers one after the other; a later run about b says nothing about c."""
    first = seen_by("a", failed(codes.REACH_NO_FORWARD, "c", Direction.FORWARD, "dead"), peers="c")
    matrix = merge([first, seen_by("a", *good("b", Direction.FORWARD), peers="b", later_s=60)])
    assert statuses(matrix) == {"debian>b": "pass", "debian>c": "fail"}
    assert (matrix.nodes[0].reports, matrix.left_out) == (2, ())


def test_skips_tell_nothing() -> None:
    """What was not measured leaves its place empty."""
    skip = skipped(codes.RUN_BLOCKED, "b", Direction.FORWARD, "blocked")
    assert statuses(merge([seen_by("a", skip, peers="b")])) == {}


def test_nodes_that_cannot_be_distinguished_are_refused() -> None:
    """Two nodes in one row would hide the worse one."""
    one = seen_by("a", peers=())
    other = seen_by("b", peers=())
    with pytest.raises(ValueError, match="two nodes are called 'debian'"):
        merge([one, other])


def test_the_command_joins_files_and_gates(tmp_path: Path) -> None:
    """Text on standard output, files as asked, exit code 1 when a way failed, 2 for a file that is not a report."""
    dead = failed(codes.REACH_NO_FORWARD, "b", Direction.FORWARD, "b got none")
    for name, report in (("a", seen_by("a", dead)), ("b", seen_by("b", *good("a", Direction.FORWARD)))):
        (tmp_path / f"{name}.json").write_text(json.render(report), encoding="utf-8")

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "preflight", "report", "merge", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = run("a.json", "b.json", "--output", "text", "--output", "json=m.json", "--output", "html=m.html")
    assert done.returncode == 1
    assert "✗ a → b  reach.no-forward" in done.stdout
    assert {way["status"] for way in stdlib.loads((tmp_path / "m.json").read_text())["ways"]} == {"fail", "pass"}
    assert "✗" in (tmp_path / "m.html").read_text(encoding="utf-8")
    assert run("b.json").returncode == 0
    assert (run("m.json").returncode, run("a.json", "-o", "junit").returncode) == (2, 2)


def test_a_page_of_many_nodes_grows_with_their_ways() -> None:
    """Twice the nodes have four times the ways; looking through all of them for each cell is sixteen times the work."""

    def work(count: int) -> int:
        names = [f"n{number}" for number in range(count)]
        addresses = {name: f"10.66.1.{number + 1}" for number, name in enumerate(names)}
        reports = []
        for node in names:
            others = [name for name in names if name != node]
            report = seen_by("a", *(result for peer in others for result in good(peer)), peers="")
            overlay = OverlayInfo(product="wireguard", interface="wg0", mtu=1420, addresses=(addresses[node],))
            peers = tuple(PeerInfo(target=peer, address=addresses[peer]) for peer in others)
            run = report.run.model_copy(update={"overlay": overlay, "peers": peers})
            reports.append(report.model_copy(update={"run": run}))
        render_html(merge(reports[:2]))  # the template is read once
        return calls(lambda: render_html(merge(reports)))

    assert work(24) < 5 * work(12)
