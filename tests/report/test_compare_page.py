"""The page of what changed: the worse first, and nothing of a report is markup."""

from dataclasses import replace

from preflight import codes
from preflight.api import Direction, failed, passed
from preflight.report.compare import compare
from preflight.report.compare_page import render_html
from tests.report.test_text import at, made

HOSTILE = "<script>alert(1)</script>"


def test_the_worse_is_first_and_all_is_escaped() -> None:
    """Two results change: one got worse with a stranger's text in it, the other is repaired."""
    good = passed("b", Direction.FORWARD, "good")
    bad = failed(codes.UDP_LOSS, "b", Direction.FORWARD, f"lost, {HOSTILE}")
    before = made(at("reach.udp", replace(bad, message="lost")), at("udp.quality", good))
    after = made(at("reach.udp", good), at("udp.quality", bad))
    page = render_html(compare(before, after), before, after)
    assert page.index("udp.quality/b/forward") < page.index('<h2 id="better"') < page.index("reach.udp/b/forward")
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page


def test_nothing_changed() -> None:
    """The page says so, and has no empty table."""
    same = made(at("reach.udp", passed("b", Direction.FORWARD, "good")))
    page = render_html(compare(same, same), same, same)
    assert "nothing changed by more than the noise" in page
    assert "<table" not in page
