"""control.api: whose answer it is, before a bearer goes out."""

import pytest
from preflight_checks.control_api import judge

from preflight.model.control import ControlError, HttpAnswer
from preflight.model.facts import DeathFacts
from preflight.proto.control.url import ControlUrl

URL = ControlUrl("http", "10.66.0.3", 9847)


def answered(status: int, **headers: str) -> HttpAnswer:
    return HttpAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"", 1.0, 0.0, 0.0)


@pytest.mark.parametrize("status", [200, 401, 403])
def test_a_control_plane_is_known_on_its_refusals_too(status: int) -> None:
    """Open or not: what counts is who says it. The same status from a gateway proves nothing."""
    assert judge(answered(status, x_populi_feature="a"), URL).code is None
    assert str(judge(answered(status), URL).code) == "control.not-populi"


@pytest.mark.parametrize(
    ("error", "code", "station"),
    [
        (ControlError("timeout", None, "no answer"), "control.timeout", "connect"),
        (
            ControlError("protocol", None, "cut", decided=DeathFacts(problem="cut short")),
            "control.bad-answer",
            "answer",
        ),
        (ControlError("tls", None, "alert"), "control.tls-failed", "tls"),
    ],
)
def test_no_answer(error: ControlError, code: str, station: str) -> None:
    """What ended the request is placed where it died."""
    result = judge(error, URL)
    assert str(result.code) == code
    assert result.station is not None
    assert result.station.id == station
