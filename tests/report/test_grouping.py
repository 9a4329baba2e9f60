"""Reports about hundreds of peers: a screen or two, in which whatever is bad has a name."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from preflight import codes
from preflight.api import Direction, Result, Status, failed, passed, skipped, warned
from preflight.engine.diagnosis import diagnose
from preflight.model.facts import AnswerFacts, EchoFacts, LossFacts
from preflight.model.printable import one_line
from preflight.report import text
from preflight.report.build import build_report
from preflight.report.grouping import FEW, names, peers_of, spread
from preflight.report.model import Gate, NodeInfo, Report, ResultEntry
from tests.sample_facts import sample

F, R, RT, L = Direction.FORWARD, Direction.REVERSE, Direction.ROUND_TRIP, Direction.LOCAL


def at(check: str, result: Result) -> Result:
    """A result as the runner stamps it."""
    return replace(result, check=check, category=check.partition(".")[0])


def of_peer(number: int, dead: set[int], lossy: set[int]) -> Iterator[Result]:
    """What three checks say of one peer."""
    name = f"p{number}"
    if number in dead:
        silent = at(
            "reach.udp",
            failed(codes.REACH_UNREACHABLE, name, RT, f"{name} is silent for {number} s", remedy=f"ping {name}"),
        )
        yield silent
        yield at("reach.icmp", failed(codes.REACH_UNREACHABLE, name, RT, f"no echo of {name}"))
        skip = skipped(codes.RUN_BLOCKED, name, L, "")
        yield at("udp.quality", replace(skip, blocked_by=silent.id))
        return
    yield at("reach.udp", passed(name, F, f"{name} answers", facts=AnswerFacts(sent=10, answered=10, rtt_min_ms=0.5)))
    yield at("reach.udp", passed(name, R, f"{name} arrives", facts=AnswerFacts(sent=10, answered=10, rtt_min_ms=0.5)))
    echoes = EchoFacts(sent=4, received=4, rtt_min_ms=number / 100)
    yield at("reach.icmp", passed(name, RT, f"{name} answers", facts=echoes))
    if number in lossy:
        yield at("udp.quality", warned(codes.UDP_LOSS, name, F, f"2 % on the way to {name}"))
    else:
        yield at("udp.quality", passed(name, F, "clean", facts=sample(LossFacts, sent=200, jitter_p95_ms=0.25)))


def mesh(peers: int = 500, dead: set[int] | None = None, lossy: set[int] | None = None) -> Report:
    """A report about this many peers; results come as they were ready, the later peers first."""
    results = [at("overlay.interface", passed("node", L, "wg0 is up"))]
    for number in range(peers, 0, -1):
        results += of_peer(number, dead or set(), lossy or set())
    return build_report(
        tuple(results),
        diagnose(results),
        node=NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11"),
        overlay=None,
        started_at=datetime(2026, 11, 25, tzinfo=UTC),
        duration_ms=20000,
        gate=Gate(),
    )


def test_a_healthy_mesh_is_a_line_per_category() -> None:
    """What passed comes together, with the spread of its numbers; -v shows each."""
    lines = text.render(mesh(), width=100).splitlines()
    assert "what was measured, and is good" in lines
    assert "overlay ✓ 1 passed: interface" in lines
    assert "reach   ✓ 1500 passed (500 peers): udp, icmp; round trip 0.01–5 ms" in lines
    assert "udp     ✓ 500 passed (500 peers): quality; 0 % lost, jitter 0.2 ms" in lines
    assert len(lines) < 12


@pytest.mark.parametrize("width", [60, 80, 160])
def test_the_bad_ones_are_named(width: int) -> None:
    """Two dead and three lossy of five hundred: each has its cause and its line, and still it is a screen."""
    report = mesh(dead={7, 300}, lossy={1, 2, 499})
    rendered = text.render(report, width=width)
    lines = rendered.splitlines()
    assert max(map(len, lines)) <= width
    assert list(dict.fromkeys(line for line in lines if line.startswith(("1. ", "2. ", "3. ", "4. ", "5. ")))) == [
        "1. ✗ reach.unreachable  p300",
        "2. ✗ reach.unreachable  p7",
        "3. ! udp.loss  p499  this node → peer",
        "4. ! udp.loss  p2  this node → peer",
        "5. ! udp.loss  p1  this node → peer",
    ]
    assert "✓ 1494 passed (498 peers): udp " in rendered
    assert "        ✗ icmp p7   reach.unreachable (cause 2)" in lines
    assert "udp     ! quality → p499 udp.loss (cause 3)" in lines
    assert "        – skipped quality p7 (cause 2)" in lines


def test_the_same_cause_at_many_peers_is_one_with_its_count() -> None:
    """A hundred dead peers must not be a hundred screens; JSON keeps each."""
    report = mesh(dead=set(range(1, 101)))
    lines = text.render(report, width=100).splitlines()
    assert "✗ reach.unreachable  100 peers: p1, p2, p3, p4, p5, p6 and 94 more" in lines
    assert "    p100: p100 is silent for 100 s" in lines
    assert "    next: ping p100" in lines
    assert "    and alike for the other 99; -v lists each" in lines
    assert "    more: preflight explain reach.unreachable; explains 200 more results below" in lines
    assert "reach   ✗ udp p100       p100 is silent for 100 s (cause 1)" in lines
    assert any("✗ and 95 more: p95, p94, p93, p92, p91, … (-v lists all)" in line for line in lines)
    said = "        ✗ icmp 100 peers p100: no echo of p100 (cause 1)"
    assert said in lines, "where only the names differ, one line"
    assert [line.partition("skipped")[2].strip() for line in lines if " skipped " in line] == [
        "quality 100 peers (cause 1)"
    ]
    assert len(lines) < 40
    assert len(report.diagnosis) == 100


def test_verbose_tells_everything() -> None:
    """What was left out is available."""
    rendered = text.render(mesh(dead=set(range(1, 101))), width=100, verbose=True)
    assert all(f"next: ping p{number}" in rendered for number in range(1, 101))
    assert all(f"✓ icmp p{number} " in rendered for number in range(101, 501))


def test_few_peers_have_lines_of_their_own() -> None:
    """Up to eight peers nothing is joined; one of them answers, or their silence would be one cause."""
    rendered = text.render(mesh(FEW, dead=set(range(1, FEW))), width=100)
    assert "peers" not in rendered
    assert all(f"{number}. ✗ reach.unreachable  p{FEW - number}" in rendered for number in range(1, FEW))
    many = text.render(mesh(FEW + 2, dead=set(range(1, FEW + 2))), width=100)
    assert f"✗ reach.unreachable  {FEW + 1} peers" in many


def test_names_count_as_people_do() -> None:
    """p2 comes before p10, and no name can break the order."""
    entries = [_entry(name) for name in ("p10", "p2", "node", "10.66.0.10", "10.66.0.9", "x²", "", "٣")]
    assert peers_of(entries) == sorted(peers_of(entries), key=peers_of(entries).index)
    assert peers_of(entries)[-5:].index("p2") < peers_of(entries)[-5:].index("p10")
    ordered = peers_of(entries)
    assert ordered.index("10.66.0.9") < ordered.index("10.66.0.10")
    assert "node" not in ordered
    assert names(["a", "b", "c"], shown=2) == "a, b and 1 more"


@given(st.lists(st.text(max_size=6), max_size=12))
def test_any_names_have_an_order(targets: list[str]) -> None:
    """Names are whatever a settings file holds."""
    assert set(peers_of(map(_entry, targets))) == set(map(one_line, targets)) - {"node", "control"}


@example([float("inf"), float("nan"), 10**400, True])
@given(st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=True)), max_size=8))
def test_any_measurements_have_a_spread(values: list[float | None]) -> None:
    """A report may come from anyone: a number under our names is shown or left out, and nothing breaks."""
    assert isinstance(spread([_entry("p", value) for value in values]), str)


def _entry(target: str, rtt: float | None = None) -> ResultEntry:
    return ResultEntry(
        id=f"reach.udp/{target}/forward",
        check="reach.udp",
        category="reach",
        target=target,
        direction="forward",
        status=Status.PASS.value,
        code=None,
        message="",
        measurements={"sent": 10, "answered": 10, "rtt_min_ms": rtt},
    )
