"""Every way in which a request can fail has one finding, one message and one remedy."""

from typing import get_args

import pytest

from preflight import codes
from preflight.model.control import ControlError, ControlErrorKind, NotHttpError
from preflight.model.facts import DeathFacts
from preflight.proto.control.answers import FINDINGS, TRANSPORT, code_of, finding


def test_every_kind_of_failure_has_a_code() -> None:
    """A kind without one would end the check with a KeyError on the day that it happens."""
    assert set(get_args(ControlErrorKind)) - {"status"} <= set(TRANSPORT)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, codes.ENROLL_UNAUTHORIZED),
        (403, codes.ENROLL_FORBIDDEN),
        (404, codes.CONTROL_BAD_ANSWER),
        (429, codes.CONTROL_THROTTLED),
        (500, codes.CONTROL_UNHEALTHY),
        (503, codes.CONTROL_UNHEALTHY),
    ],
)
def test_a_refusal_is_judged_by_its_status(status: int, code: codes.Code) -> None:
    """Only 401 and 403 speak about credentials."""
    assert code_of(ControlError("status", status, "no")) is code
    assert code in FINDINGS


def test_what_does_not_speak_http_is_no_control_plane() -> None:
    """It answered, so it is neither down nor slow."""
    assert code_of(NotHttpError("SSH-2.0")) is codes.CONTROL_NOT_POPULI


def test_a_finding_without_a_remedy_of_its_own_shows_how_to_look() -> None:
    """There is always a line to paste."""
    found = finding(ControlError("refused", None, "nobody listens"), None)
    assert (found.message, found.remedies[0].lines[0].split()[0]) == ("nobody listens", "curl")


def test_a_bearer_that_a_gateway_may_have_taken_out() -> None:
    """Then another token may change nothing, so nothing is called a fix before somebody has looked past the gateway."""
    through = ControlError("status", 401, "it was answered 401", decided=DeathFacts(server="nginx"))
    found = finding(through, None)
    assert "nginx takes it out" in found.message
    assert {remedy.kind for remedy in found.remedies} == {"next"}
    assert {remedy.kind for remedy in finding(ControlError("status", 401, "no"), None).remedies} == {"fix"}


def test_a_path_that_was_changed_on_the_way() -> None:
    """Every control plane has its list of nodes: one that does not know the path got another one."""
    message = "GET /v1/populi/nodes was answered 404: not found"
    found = finding(ControlError("status", 404, message), None)
    assert (found.code, found.decided.problem) == (codes.CONTROL_BAD_ANSWER, "path changed")
    assert "changes the path" in found.message
    for other in (ControlError("status", 404, message, by_control_plane=False), ControlError("status", 404, "POST x")):
        assert finding(other, None).decided.problem is None
