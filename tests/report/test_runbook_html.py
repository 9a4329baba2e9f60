"""The runbook's page inside the HTML report: every page of ours, nothing that leads out of the file."""

import pytest

from preflight import codes
from preflight.report.runbook_html import runbook_html


@pytest.mark.parametrize("code", sorted(codes.ALL))
def test_every_page_fits_below_a_cause(code: str) -> None:
    """Headings are below that of the cause, and a link to another page would be dead in one file."""
    page = runbook_html(code)
    assert page is not None
    assert "<h4>Meaning</h4>" in page
    assert not any(tag in page for tag in ("<h1", "<h2", "<h3", "<a ", "<script"))


@pytest.mark.parametrize("code", ["site.kernel", "../pyproject", "_index", ""])
def test_what_has_no_page(code: str) -> None:
    """A stranger's report names any code: it is never a path."""
    assert runbook_html(code) is None
