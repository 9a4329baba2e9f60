"""posture.roles: which tokens are equal, and what their answers show."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import preflight_checks.posture_roles as posture_roles_module
import pytest
from preflight_checks.posture_roles import judge, measure, posture_roles, shared
from pydantic import SecretStr

from preflight.api import Context, Result, Status
from preflight.model.control import ControlError, HttpAnswer
from preflight.model.roles import Rights, RoleName, RoleToken
from preflight.net import Net
from preflight.net.control.client import ControlClient
from preflight.net.control.pace import Pace
from preflight.net.turns import Turns
from preflight.proto.control.populi import FEATURE_HEADER
from preflight.settings.load import Settings


def token(role: RoleName, value: str = "", source: str = "") -> RoleToken:
    return RoleToken(role, source or f"the-{role}", SecretStr(value or f"{role}-secret-of-the-tests"))


def worker(*, administer: bool | None = False) -> Rights:
    return Rights(token("worker"), work=True, administer=administer, deliver=False, known=True)


def submitter(*, work: bool | None = False, administer: bool | None = False) -> Rights:
    return Rights(token("submitter"), work=work, administer=administer, known=True)


def full(role: RoleName) -> Rights:
    return Rights(token(role), work=True, administer=True, known=True)


@pytest.mark.parametrize(
    ("rights", "expected"),
    [
        ([], "run.not-applicable"),
        ([worker()], "pass"),
        ([submitter()], "pass"),
        ([full("node")], "pass"),
        ([full("mesh")], "pass"),
        ([full("admin"), full("mesh"), worker(), submitter()], "pass"),
        ([worker(administer=True)], "posture.role-too-strong"),
        ([submitter(work=True)], "posture.role-too-strong"),
        ([submitter(administer=True)], "posture.role-too-strong"),
        ([full("node"), submitter()], "posture.shared-token"),
        ([full("node"), submitter(), full("admin")], "pass"),
        ([full("node"), submitter(work=None)], "posture.shared-token"),
        ([Rights(token("worker"), known=False)], "enroll.unauthorized"),
        ([Rights(token("worker"), asked=False)], "run.not-applicable"),
        ([Rights(token("worker"), detail="no answer")], "run.no-answer"),
    ],
)
def test_judge(rights: list[Rights], expected: str) -> None:
    """A worker may not see the leases nor a submitter the nodes; the full token is right where it is called so."""
    results = judge(rights, [])
    assert [result.code.slug if result.code else "pass" for result in results] == [expected]


ROUTES = 4
"""How many requests the check makes with one token."""


class Busy:
    """A control plane that does not answer until nobody else sends."""

    def __init__(self) -> None:
        self.control = self
        self.secrets = SimpleNamespace(tokens=lambda: [token("worker")])
        self.turns, self.asked, self.pace = Turns(), 0, Pace()

    async def send(self, method: str, path: str, *asked: object, **more: object) -> HttpAnswer:
        """Nothing at first; then what a worker may do, and no more."""
        self.asked += 1
        if self.asked <= ROUTES:
            raise ControlError("timeout", None, "no answer within 5 s")
        status = 200 if path.endswith("/nodes") else 403
        body = b'{"schema_version": 1, "nodes": []}' if status == 200 else b"forbidden"
        return HttpAnswer(status, {FEATURE_HEADER: "exec-lease-v1"}, body, 300.0, 0.0, 0.0, connected=False)


def test_silence_among_other_checks_is_looked_at_again_alone() -> None:
    """Protects slow links, where requests wait behind what this run sends."""
    net = Busy()

    async def run() -> list[Result]:
        return [result async for result in posture_roles.function(Context(Settings(), (), None, cast("Net", net)))]

    assert [result.status for result in asyncio.run(run())] == [Status.PASS]
    assert net.asked == 2 * ROUTES


class Cached:
    """A gateway that answers each request with the 401 that another one got."""

    def __init__(self) -> None:
        self.pace = Pace()

    async def send(self, method: str, path: str, *asked: object, **more: object) -> HttpAnswer:
        """The control plane's own answer, to another client."""
        return HttpAnswer(401, {FEATURE_HEADER: "exec-lease-v1"}, b"unauthorized", 1.0, 0.0, 0.0, kept=True)


def test_what_a_cache_answers_says_nothing_of_a_token() -> None:
    """Neither that it is refused nor what it opens."""
    (right,) = asyncio.run(measure(cast("ControlClient", Cached()), [token("worker")]))
    assert (right.known, right.work) == (None, None)
    (result,) = judge([right], [])
    assert result.status is Status.INCONCLUSIVE
    assert "cached" in result.message


@pytest.mark.parametrize(
    ("right", "code"),
    [
        (Rights(token("worker"), work=False, administer=False, known=True), "enroll.forbidden"),
        (Rights(token("submitter"), work=False, administer=False, deliver=False, known=True), "enroll.forbidden"),
        (Rights(token("admin"), work=True, administer=False, known=True), "enroll.forbidden"),
        (Rights(token("mesh"), work=True, administer=False, known=True), "enroll.forbidden"),
        (Rights(token("submitter"), known=False), "enroll.unauthorized"),
    ],
)
def test_a_token_that_does_not_do_its_roles_work(right: Rights, code: str) -> None:
    """Tokens that were mixed up open too little: found before the work that needs them fails."""
    (result,) = judge([right], [])
    assert result.code is not None
    assert (result.code.slug, result.status) == (code, Status.FAIL)
    assert right.token.source in result.message


def test_a_token_under_two_names_is_reported_as_shared_and_not_as_too_strong() -> None:
    """The server is right to let the admin's token administer: what is wrong is its name, and that only warns."""
    tokens = [token("worker", "one-secret-for-all"), token("admin", "one-secret-for-all"), token("submitter")]
    rights = [Rights(one, work=True, administer=True, known=True) for one in tokens[:2]]
    (result,) = judge(rights, shared(tokens))
    assert result.code is not None
    assert (result.code.slug, result.status) == ("posture.shared-token", Status.WARN)
    assert "the-worker" in result.message
    assert "one-secret" not in repr(result)


@pytest.mark.parametrize(
    ("one", "other", "pairs"),
    [
        ("worker", "admin", 1),
        ("mesh", "worker", 1),
        ("node", "submitter", 1),
        ("node", "admin", 1),
        ("node", "mesh", 0),
        ("node", "worker", 0),
        ("worker", "worker", 0),
    ],
)
def test_which_equal_tokens_are_one_for_several_roles(one: RoleName, other: RoleName, pairs: int) -> None:
    """The node's own bearer is a worker's or the mesh token by design; one variable twice is not a shared token."""
    assert len(shared([token(one, "same-secret"), token(other, "same-secret")])) == pairs
    assert shared([token(one, "a-secret"), token(other, "b-secret")]) == []


def test_a_gateway_that_hands_no_join_on() -> None:
    """Lists get through and joins do not: nothing about the token matters until that gateway lets it."""
    page = HttpAnswer(403, {"server": "nginx"}, b"", 1.0, 0.0, 0.0)
    (result,) = judge([replace(worker(), turned_away=page)], [])
    assert result.code is not None
    assert (result.code.slug, result.status) == ("control.not-populi", Status.FAIL)
    assert "403" in result.message
    assert "nginx" in result.message


def test_two_tokens_that_are_swapped() -> None:
    """One cause and one remedy: neither token is too strong or too weak, and both are in each other's place."""
    own = Rights(token("node", source="VOX_MESH_TOKEN"), work=False, administer=False, known=True)
    (result,) = judge([own, submitter(work=True)], [])
    assert result.code is not None
    assert result.code.slug == "enroll.forbidden"
    assert "the two are swapped" in result.message
    assert "Exchange the values of VOX_MESH_TOKEN and the-submitter" in (result.remedy or "")
    codes = {each.code.slug for each in judge([own, submitter()], []) if each.code}
    assert "posture.role-too-strong" not in codes


class Gateway:
    """Hands lists on to a control plane, and answers joins itself."""

    def __init__(self, *joins: int) -> None:
        self.joins, self.pace = list(joins), Pace()

    async def send(self, method: str, path: str, *asked: object, **more: object) -> HttpAnswer:
        """A control plane's refusal of the body, or the next status of the gateway."""
        status = self.joins.pop(0) if path.endswith("/join") and self.joins else 422
        own = {} if status >= 500 else {FEATURE_HEADER: "exec-lease-v1"}
        body = b'{"schema_version": 1, "nodes": [], "leases": []}'
        status = 200 if method == "GET" else status
        return HttpAnswer(status, own, body, 1.0, 0.0, 0.0, connected=False)


@pytest.mark.parametrize(("joins", "lost"), [((504, 504), True), ((502, 422), False), ((422,), False)])
def test_a_gateway_whose_join_leads_to_a_dead_server(
    joins: tuple[int, ...], lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists get through, so all seems well, and no node can join: it is asked twice before that is said."""
    monkeypatch.setattr(posture_roles_module, "AGAIN_S", 0.0)
    rights = asyncio.run(measure(cast("ControlClient", Gateway(*joins)), [token("node")]))
    results = judge(rights, [])
    assert any("no node can join through it" in result.message for result in results) is lost
    assert any(result.code is not None and result.code.slug == "control.unhealthy" for result in results) is lost


def test_a_shared_token_is_one_cause() -> None:
    """The control plane takes it as the worker's, so that it opens nothing of the other role is not a second cause."""
    one, other = token("worker", "the-same-secret"), token("admin", "the-same-secret")
    rights = [Rights(each, work=True, administer=False, known=True) for each in (one, other)]
    (result,) = judge(rights, shared([one, other]))
    assert result.code is not None
    assert result.code.slug == "posture.shared-token"
