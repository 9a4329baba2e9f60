"""What changed between two reports, as one HTML file that needs no network."""

from preflight.report import common
from preflight.report.compare import Comparison, summary
from preflight.report.html import environment, style
from preflight.report.model import Report

_KINDS = (
    ("worse", "Worse", "fail", "✗"),
    ("better", "Better", "pass", "✓"),
    ("changed", "Changed", "skip", "~"),
)


def render_html(comparison: Comparison, before: Report, after: Report) -> str:
    """The page: what got worse first. Everything from the reports is escaped, and there is no script."""
    return (
        environment()
        .get_template("compare.html.j2")
        .render(
            comparison=comparison,
            before=before,
            after=after,
            kinds=_KINDS,
            summary=summary(comparison),
            counts=common.counts,
            marks=common.MARKS,
            style=style(),
        )
    )
