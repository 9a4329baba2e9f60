"""The HTML report in a real browser, opened from a file as from an e-mail."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

from preflight import codes
from preflight.api import Direction, failed
from preflight.report import html, matrix_text
from preflight.report.compare import compare
from preflight.report.compare_page import render_html
from preflight.report.merge import merge
from preflight.report.model import Report
from tests.report.test_merge import good, seen_by

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.needs("chromium")]
SCHEMES = ("light", "dark")
EXPLAINED = "#results tbody tr:not([hidden])"


class Window:
    """One tab, and everything that it said or asked for."""

    def __init__(self, context: BrowserContext) -> None:
        self.page = context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", self._requested)
        self.page.on("dialog", lambda dialog: self.said.append(f"dialog {dialog.message}"))

    def show(self, report: Report, folder: Path) -> Page:
        """Open a report as a file."""
        path = folder / "report.html"
        path.write_text(html.render(report), encoding="utf-8")
        self.page.goto(path.as_uri())
        return self.page

    def _heard(self, message: ConsoleMessage) -> None:
        self.said.append(message.text)

    def _requested(self, request: Request) -> None:
        self.asked.append(request.url)


@pytest.fixture
def window(browser: Browser) -> Iterator[Window]:
    """A window of a usual size that may use the clipboard."""
    context = browser.new_context(viewport={"width": 1100, "height": 800})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield Window(context)
    context.close()


def test_verdict_and_cause_are_on_the_first_screen(window: Window, broken: Report, tmp_path: Path) -> None:
    """An operator decides from it without scrolling."""
    page = window.show(broken, tmp_path)
    for text in ("FAIL", "mtu.black-hole", "ip link set dev wg0 mtu 1320"):
        box = page.get_by_text(text).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 800, text


def test_nothing_is_requested_and_nothing_complains(
    window: Window, broken: Report, hostile: str, tmp_path: Path
) -> None:
    """The file works from an e-mail, and its own policy forbids the scripts of strangers."""
    page = window.show(broken, tmp_path)
    page.wait_for_function("document.getElementById('shown').textContent !== ''")
    assert window.said == []
    assert [url for url in window.asked if not url.startswith("data:")] == [page.url]
    assert page.locator("img").count() == 0
    assert page.get_by_text(hostile).count() > 0


def test_filters_show_what_was_asked_for(window: Window, broken: Report, tmp_path: Path) -> None:
    """Status, category, peer and words narrow the list together; `Show all` brings everything back."""
    page = window.show(broken, tmp_path)
    rows = page.locator(EXPLAINED)
    everything = len(broken.results)
    assert rows.count() == everything
    page.get_by_role("checkbox", name="passed").uncheck()
    assert rows.count() == sum(result.status != "pass" for result in broken.results)
    page.get_by_role("combobox", name="about").select_option("c")
    assert rows.count() == 1
    assert page.locator("#shown").text_content() == f"1 of {everything} results shown"
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function(f"document.getElementById('shown').textContent.startsWith('{everything} ')")
    page.get_by_role("combobox", name="category").select_option("mtu")
    page.get_by_role("searchbox", name="with the words").fill("TO B VANISH")
    assert rows.count() == 1


def test_what_is_not_good_is_open_and_the_rest_is_folded(window: Window, broken: Report, tmp_path: Path) -> None:
    """A reader sees failures first; a filter unfolds what fits, and `Show all` folds it again."""
    page = window.show(broken, tmp_path)
    visible = page.locator("#results tbody tr:visible")
    bad = [result for result in broken.results if result.status not in ("pass", "skip")]
    assert visible.count() == len(bad)
    assert visible.first.get_attribute("data-status") == "fail"
    page.get_by_role("searchbox", name="with the words").fill("mtu")
    assert visible.count() == page.locator(EXPLAINED).count() > 0
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("document.querySelectorAll('#results .fold[open]').length === 0")
    assert visible.count() == len(bad)


def test_a_remedy_is_copied_as_it_stands(window: Window, broken: Report, tmp_path: Path) -> None:
    """What is pasted into a terminal is the command and nothing else, by mouse or by keyboard."""
    page = window.show(broken, tmp_path)
    button = page.get_by_role("button", name="Copy").first
    button.focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "ip link set dev wg0 mtu 1320"


def test_without_scripts_everything_is_there(browser: Browser, broken: Report, tmp_path: Path) -> None:
    """A mail reader that runs no script shows the whole report and no dead buttons."""
    context = browser.new_context(java_script_enabled=False)
    page = Window(context).show(broken, tmp_path)
    assert page.locator(EXPLAINED).count() == len(broken.results)
    assert page.locator("button:visible, form:visible").count() == 0
    context.close()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", ["broken", "healthy"])
def test_accessible_in_light_and_dark(
    browser: Browser, request: pytest.FixtureRequest, tmp_path: Path, artefacts: Path, scheme: str, kind: str
) -> None:
    """Contrast, labels, headings, keyboard: axe-core finds nothing. The screenshot is kept for human eyes."""
    assert scheme in ("light", "dark")
    context = browser.new_context(
        color_scheme="light" if scheme == "light" else "dark", viewport={"width": 1100, "height": 800}
    )
    page = Window(context).show(request.getfixturevalue(kind), tmp_path)
    page.screenshot(path=artefacts / f"report-{kind}-{scheme}.png", full_page=True)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    context.close()


def test_what_changed_is_a_page_of_the_same_hand(
    window: Window, broken: Report, healthy: Report, tmp_path: Path, artefacts: Path
) -> None:
    """axe-core finds nothing, and on a phone each side says whether it is before or after."""
    (tmp_path / "changes.html").write_text(render_html(compare(healthy, broken), healthy, broken), encoding="utf-8")
    window.page.goto((tmp_path / "changes.html").as_uri())
    found = Axe().run(window.page)
    assert found.violations_count == 0, found.generate_report()
    window.page.set_viewport_size({"width": 390, "height": 800})
    window.page.screenshot(path=artefacts / "changes-narrow.png", full_page=True)
    assert window.page.evaluate("document.documentElement.scrollWidth") <= 390
    before = "getComputedStyle(document.querySelector('td.half'), '::before').content"
    assert window.page.evaluate(before) == '"before: "'


def test_what_many_nodes_saw_is_a_page_of_the_same_hand(
    window: Window, broken: Report, tmp_path: Path, artefacts: Path
) -> None:
    """axe-core finds nothing on the page of joined reports, and on a phone only its table scrolls."""
    lost = failed(codes.REACH_NO_FORWARD, "a", Direction.FORWARD, "a got none")
    joined = merge([seen_by("a", *good("b")), seen_by("b", lost), broken])
    (tmp_path / "matrix.html").write_text(matrix_text.render_html(joined), encoding="utf-8")
    window.page.goto((tmp_path / "matrix.html").as_uri())
    found = Axe().run(window.page)
    assert found.violations_count == 0, found.generate_report()
    window.page.set_viewport_size({"width": 390, "height": 800})
    window.page.screenshot(path=artefacts / "matrix-narrow.png", full_page=True)
    assert window.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_directions_are_shown_without_colour(window: Window, broken: Report, tmp_path: Path) -> None:
    """The map says each direction's state in words, marks and the pattern of the line."""
    page = window.show(broken, tmp_path)
    label = page.locator("section[aria-labelledby=map] svg").get_attribute("aria-label") or ""
    assert "b forward: failed, mtu.black-hole, jitter 0.2 ms." in label
    assert "b reverse: passed, 2.0 ms round trip, jitter 0.2 ms." in label
    dashes = page.locator("svg .fail .edge").first.evaluate("line => getComputedStyle(line).strokeDasharray")
    assert dashes != "none"


def test_losses_are_drawn_and_reported(window: Window, broken: Report, tmp_path: Path) -> None:
    """A third of the bar is a third of the packets; a screen reader says the same."""
    page = window.show(broken, tmp_path)
    picture = page.get_by_role("img", name="to d: 30 % lost")
    assert picture.locator(".lost").get_attribute("width") == "18.0"


def test_five_hundred_peers_stay_readable(window: Window, mesh: Report, tmp_path: Path, artefacts: Path) -> None:
    """The bad ones come first, the others are one box; the page answers at once."""
    page = window.show(mesh, tmp_path)
    page.screenshot(path=artefacts / "report-mesh.png")
    label = page.locator("section[aria-labelledby=map] svg").get_attribute("aria-label") or ""
    assert label.index("node-007 forward: failed") < label.index("490 more peers forward: passed")
    page.get_by_role("checkbox", name="passed").uncheck()
    assert page.locator(EXPLAINED).count() == sum(result.status != "pass" for result in mesh.results)


def test_a_cause_that_many_peers_share_is_one_card(window: Window, dead_mesh: Report, tmp_path: Path) -> None:
    """Five hundred dead peers are one story; every peer is still in the list."""
    page = window.show(dead_mesh, tmp_path)
    assert page.locator("article.card").count() == 1
    assert "20 peers: node-000, node-001" in (page.locator("article.card h3").text_content() or "")
    assert page.locator(EXPLAINED).count() == len(dead_mesh.results)


def test_narrow_screens_scroll_only_inside(browser: Browser, broken: Report, tmp_path: Path, artefacts: Path) -> None:
    """On a phone the page itself never moves sideways."""
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page = Window(context).show(broken, tmp_path)
    page.screenshot(path=artefacts / "report-narrow.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


def test_prints_on_paper(window: Window, broken: Report, tmp_path: Path, artefacts: Path) -> None:
    """Controls are gone on paper; what is left is a document of a few pages."""
    page = window.show(broken, tmp_path)
    page.emulate_media(media="print")
    assert page.locator("button:visible, form:visible").count() == 0
    pdf = page.pdf(format="A4")
    (artefacts / "report.pdf").write_bytes(pdf)
    assert pdf.startswith(b"%PDF")
