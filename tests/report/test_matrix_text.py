"""The matrix of many nodes as text and as a page."""

from itertools import pairwise

import pytest

from preflight import codes
from preflight.api import Direction, inconclusive
from preflight.report.matrix import Finding, Hole, Matrix, Way
from preflight.report.matrix_text import Cell, by_site, heading, render_html, render_text
from preflight.report.merge import merge
from tests.report.test_merge import good, seen_by

FOUND = Finding(
    scope="node", nodes=("c",), status="fail", code="overlay.down", message="wg0 is down", by="c",
    remedies=("fix: ip link set dev wg0 up " + "# and a comment that is longer than the line " * 3,),
    seen_by=("a", "b"), ways=(("a", "c"), ("c", "a")),
)  # fmt: skip


@pytest.mark.parametrize("count", [2, 40])
def test_the_text_fits_its_width(count: int) -> None:
    """A table only where it fits; the bad ways are reported in any case."""
    peers = {f"node-{n:02}": f"10.66.1.{n}" for n in range(count)}
    results = [result for name in peers for result in good(name)]
    results.append(inconclusive(codes.RUN_NEEDS_RESPONDER, "node-01", Direction.FORWARD, "nobody listens there"))
    report = seen_by("a", *results, peers=())
    everyone = [{"target": name, "address": address} for name, address in peers.items()]
    run = report.run.model_validate({**report.run.model_dump(), "peers": everyone})
    text = render_text(merge([report.model_copy(update={"run": run})]), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert ("from, to →" in text) is (count == 2)
    assert "? debian → node-01  run.needs-responder" in text


def test_the_page_escapes_what_strangers_wrote() -> None:
    """Names come from other hosts."""
    page = render_html(merge([seen_by("a", *good("<b>"), peers=("<b>",))]))
    assert "<b>" not in page
    assert "&lt;b&gt;" in page


def test_root_causes_come_first_with_their_words_and_lines() -> None:
    """One line says what it is about and who saw it; what a user pastes is never wrapped."""
    text = render_text(Matrix(nodes=(), silent=(), ways=(), findings=(FOUND,), left_out=("c: 2 reports",)), width=80)
    lines = text.splitlines()
    assert lines[2] == "1. ✗ everything to and from c  overlay.down, seen by a, b"
    assert lines[3] == "    c says: wg0 is down"
    assert lines[4] == f"    on c: {FOUND.remedies[0]}".rstrip()
    assert lines[-1] == "left out: c: 2 reports"


def test_many_witnesses_are_counted() -> None:
    """A line that names fifty nodes is not read."""
    many = FOUND.model_copy(update={"seen_by": tuple(f"n{n}" for n in range(9))})
    assert heading(many).endswith("seen by 9 nodes")


def test_the_page_shows_the_root_causes() -> None:
    """With the ways that each explains."""
    page = render_html(Matrix(nodes=(), silent=(), ways=(), findings=(FOUND,)))
    assert "No direction was measured." in page
    assert "direction is good" not in page
    assert "everything to and from c" in page
    assert "2 ways behind it" in page


def test_a_hole_has_its_reason_on_the_page_and_in_the_text() -> None:
    """A `?` without a reason sends nobody anywhere."""
    hole = Hole(node="c", code="fleet.auth", message="Permission denied <publickey>")
    matrix = merge([seen_by("a", *good("b"), peers=("b",)), seen_by("b", *good("a"), peers=("a",))], holes=[hole])
    text, page = render_text(matrix), render_html(matrix)
    assert "? c gave no report  fleet.auth\n    Permission denied <publickey>\n" in text
    assert "2 nodes (and 1 without a report)" in text
    assert "c           ?  ?  ·" in text
    assert "Permission denied &lt;publickey&gt;" in page


def test_a_large_matrix_is_shown_by_site() -> None:
    """Protects the page of a thousand nodes: its size goes with the sites and with what is bad, not with the ways."""
    nodes = [f"n{number:03}" for number in range(90)]
    sites = {node: f"site-{number % 3}" for number, node in enumerate(nodes)}
    ways = [
        Way.model_validate({"source": one, "target": other, "status": status, "contradiction": False, "views": [view]})
        for number, (one, other) in enumerate(pairwise(nodes))
        for status in ["fail" if number == 3 else "pass"]
        for view in [{"by": one, "direction": "forward", "status": status, "code": None, "message": "m", "result": "r"}]
    ]
    matrix = Matrix(nodes=(), silent=tuple(nodes), ways=tuple(ways), sites=sites)
    assert by_site(matrix)["site-0", "site-1"] == Cell("fail", 1, 30)
    page = render_html(matrix)
    assert "site-2" in page
    assert "n003 → n004" in page
    assert "n007" not in page
