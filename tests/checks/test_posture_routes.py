"""posture.routes: what an answer tells about the bearer check."""

from collections.abc import Iterable

import pytest
from preflight_checks.posture_routes import ROUTES, Probe, judge

from preflight.api import Status


def answers(statuses: Iterable[int | None]) -> list[Probe]:
    return [Probe(method, path, "none", status) for (method, path), status in zip(ROUTES, statuses, strict=True)]


@pytest.mark.parametrize(
    ("statuses", "status", "code"),
    [
        ([401] * 15, Status.PASS, None),
        ([200, *[422] * 10, 200, *[422] * 3], Status.FAIL, "posture.open"),
        ([404] * 15, Status.FAIL, "posture.open"),
        ([401] * 14 + [422], Status.FAIL, "posture.route-open"),
        ([403] + [401] * 14, Status.FAIL, "posture.route-open"),
        ([401] * 13 + [429, None], Status.INCONCLUSIVE, "run.timeout"),
        ([None] * 15, Status.INCONCLUSIVE, "run.timeout"),
        ([200, *[503] * 14], Status.FAIL, "posture.open"),
    ],
)
def test_statuses(statuses: list[int | None], status: Status, code: str | None) -> None:
    """Only 401 is the bearer check; throttling and server errors tell nothing."""
    result = judge(answers(statuses))
    assert (result.status, result.code.slug if result.code else None) == (status, code)


def test_an_unknown_bearer_that_is_let_in_is_told() -> None:
    """A server that takes any bearer protects nothing."""
    result = judge([*answers([401] * 15), Probe("GET", "/nodes", "unknown", 200)])
    assert result.code is not None
    assert result.code.slug == "posture.route-open"
    assert "GET /nodes (200)" in result.message


def test_a_route_is_named_once_for_both_bearers() -> None:
    """Open to nobody's and to anybody's bearer is one open route."""
    unknown = [Probe(method, path, "unknown", 401) for method, path in ROUTES[1:]]
    both = [*answers([200] + [401] * 14), Probe("GET", "/nodes", "unknown", 200), *unknown]
    message = judge(both).message
    assert message.count("GET /nodes") == 1
    assert "with an unknown bearer" not in message
    assert "with an unknown one" in judge([*answers([401] * 15), *unknown]).message


def test_the_bootstrap_exchange_is_never_asked() -> None:
    """A made-up bootstrap token burns the right one on the real server."""
    assert not any("bootstrap" in path for _, path in ROUTES)
