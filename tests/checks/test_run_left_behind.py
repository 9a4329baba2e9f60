"""run.left-behind's judge, by table."""

import pytest
from preflight_checks.run_left_behind import SHOWN, judge

from preflight.api import Status
from preflight.model.enrolment import Fate, JoinedRow, LeftBehind

ROW = JoinedRow("http://10.66.0.3:9847", "preflight-a-1", True, "m", "posture.scope", 1)
UNREADABLE = LeftBehind("unreadable", None, "/state/x: it is a pipe")


@pytest.mark.parametrize(
    ("fates", "status"),
    [
        ([], Status.SKIP),
        (["removed"], Status.PASS),
        (["gone", "not-ours", "removed"], Status.PASS),
        (["found"], Status.WARN),
        (["removed", "stays"], Status.WARN),
    ],
)
def test_a_warning_as_long_as_a_row_may_be_listed(fates: list[Fate], status: Status) -> None:
    """What was removed is reported as done; what may still be there is a warning with the line that removes it."""
    result = judge([LeftBehind(fate, ROW, "no answer") for fate in fates])
    assert result.status is status
    assert (result.remedy == ROW.clean_line) == (status is Status.WARN)


def test_what_cannot_be_read_is_no_pass() -> None:
    """A file that shows nothing may represent a row."""
    result = judge([UNREADABLE, LeftBehind("removed", ROW)])
    assert result.status is Status.WARN
    assert "it is a pipe" in result.message


def test_many_rows_make_one_short_sentence() -> None:
    """All of them are in the evidence."""
    result = judge([LeftBehind("found", ROW)] * (SHOWN + 4))
    assert result.message.endswith("and 4 more")
    assert len(result.evidence[0].data) == SHOWN + 4
