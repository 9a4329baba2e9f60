"""enroll.bearer's judge: which bearer workers send, and whether it can be right."""

import pytest
from preflight_checks.enroll_bearer import judge
from pydantic import SecretStr

from preflight.api import Status
from preflight.model.token import HeldToken
from preflight.proto.control.token_text import read_token
from tests.proto.control.test_token_text import NOW, jwt


def held(text: str) -> HeldToken:
    value, trouble = read_token(text.encode())
    return HeldToken("VOX_MESH_TOKEN", None if trouble else SecretStr(value), trouble)


@pytest.mark.parametrize(
    ("text", "status", "code", "word"),
    [
        ("of-a-worker", Status.PASS, None, "VOX_MESH_TOKEN"),
        ('"of-a-worker"', Status.FAIL, "enroll.bearer-malformed", "quotes"),
        (jwt(exp=NOW + 60, jti="1", role="worker"), Status.PASS, None, "accepted once"),
        (jwt(exp=NOW - 90, jti="1", role="worker"), Status.FAIL, "enroll.unauthorized", "expired"),
        (
            jwt(exp=NOW + 9000, nbf=NOW + 900, jti="1", role="worker"),
            Status.FAIL,
            "enroll.unauthorized",
            "not valid yet",
        ),
        (jwt(exp=NOW + 60, role="worker"), Status.FAIL, "enroll.unauthorized", "jti"),
        (jwt(exp=NOW + 60, jti="1", role="submitter"), Status.FAIL, "enroll.forbidden", "submitter"),
    ],
)
def test_one_bearer(text: str, status: Status, code: str | None, word: str) -> None:
    """What decides is in the sentence, at the station of the bearer; the token itself is not."""
    (result,) = judge(held(text), None, NOW)
    assert (result.status, result.code.slug if result.code else None) == (status, code)
    assert result.station is not None
    assert result.station.id == "bearer"
    assert word in result.message
    assert "of-a-worker" not in result.message
    assert status is Status.PASS or result.remedies


def test_no_bearer_is_for_the_control_plane_to_judge() -> None:
    """An open control plane needs none; the variable that no worker sends is named."""
    (result,) = judge(None, None, NOW, "VOX_MESH_WORKER_TOKEN")
    assert result.status is Status.SKIP
    assert "VOX_MESH_WORKER_TOKEN" in result.message


def test_a_submitters_token_is_judged_too() -> None:
    """It goes out with every delivery."""
    bearer, submitter = judge(held("good-one"), held("'bad-one'"), NOW)
    assert (bearer.status, submitter.status, submitter.aspect) == (Status.PASS, Status.FAIL, "submitter")
