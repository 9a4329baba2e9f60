"""posture.routes: what all answers together show about the bearer check."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace
from types import SimpleNamespace

import preflight_checks.posture_routes
import pytest
from preflight_checks.posture_routes import CONNECTIONS, NEWER_ROUTES, ROUTES, RUNS, Probe, judge, measure

from preflight.api import Status
from preflight.model.control import ControlError, HttpAnswer
from preflight.net.control import pace
from preflight.net.control.pace import Pace
from preflight.net.turns import Turns
from preflight.proto.control.gate import Gate
from preflight.proto.control.populi import FEATURE_HEADER

OPEN, REFUSED, DENIED, STRANGER = Gate.OPEN, Gate.REFUSED, Gate.DENIED, Gate.STRANGER
STATUS = {OPEN: 422, REFUSED: 401, DENIED: 403, STRANGER: 200, Gate.REDIRECTED: 302, Gate.UNTOLD: 503, Gate.KEPT: 200}


def probes(gates: Iterable[Gate], bearer: str = "none", status: int | None = None) -> list[Probe]:
    return [
        Probe(method, path, bearer, gate, status or STATUS[gate])
        for (method, path), gate in zip(ROUTES, gates, strict=True)
    ]


UNKNOWN = probes([REFUSED] * 15, "unknown")


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ([*probes([REFUSED] * 15), *UNKNOWN], Status.PASS, None),
        (probes([OPEN] * 15), Status.FAIL, "posture.open"),
        (probes([OPEN, *[Gate.UNTOLD] * 14]), Status.FAIL, "posture.open"),
        (probes([OPEN, *[DENIED] * 14]), Status.FAIL, "posture.open"),
        ([*probes([*[REFUSED] * 14, OPEN]), *UNKNOWN], Status.FAIL, "posture.route-open"),
        ([*probes([REFUSED] * 15), Probe("GET", "/nodes", "unknown", OPEN, 200)], Status.FAIL, "posture.route-open"),
        ([*probes([*[REFUSED] * 14, DENIED]), *UNKNOWN], Status.PASS, None),
        ([*probes([*[REFUSED] * 14, Gate.UNTOLD]), *UNKNOWN], Status.INCONCLUSIVE, "run.no-answer"),
        (probes([Gate.UNTOLD] * 15), Status.INCONCLUSIVE, "run.no-answer"),
        ([Probe(*ROUTES[0], "none", detail="no answer")], Status.INCONCLUSIVE, "run.no-answer"),
        ([*probes([DENIED] * 15), *probes([DENIED] * 15, "unknown")], Status.INCONCLUSIVE, "run.no-answer"),
        (
            [*probes([DENIED] * 15, status=404), *probes([DENIED] * 15, "unknown", 404)],
            Status.FAIL,
            "control.not-populi",
        ),
        ([*probes([Gate.KEPT, *[REFUSED] * 14]), *UNKNOWN], Status.FAIL, "control.bad-answer"),
        (probes([STRANGER] * 15), Status.FAIL, "control.not-populi"),
        (probes([Gate.REDIRECTED] * 15), Status.FAIL, "control.redirected"),
    ],
)
def test_what_they_tell_together(asked: list[Probe], status: Status, code: str | None) -> None:
    """Open only by Populi's own answers; what else answers is named, and what shows nothing is undecided."""
    result = judge(asked)
    assert (result.status, result.code.slug if result.code else None) == (status, code)
    assert status is not Status.FAIL or result.remedy


def test_a_route_is_named_once_for_both_bearers() -> None:
    """Open without a bearer and with any bearer is one open route."""
    both = [*probes([OPEN, *[REFUSED] * 14]), Probe("GET", "/nodes", "unknown", OPEN, 200), *UNKNOWN[1:]]
    message = judge(both).message
    assert message.count("GET /nodes") == 1
    assert "with an unknown bearer" not in message


def test_the_bootstrap_exchange_is_never_asked() -> None:
    """A made-up bootstrap token invalidates the right one on the real server."""
    assert not any("bootstrap" in path for _, path in ROUTES)


def test_a_newer_route_may_be_missing_and_may_not_be_open() -> None:
    """The route that runs scripts is asked like any other; a control plane without it is not undecided for that."""
    asked = [*probes([REFUSED] * 15), *UNKNOWN]
    absent = [Probe("POST", "/worker/execute", bearer, Gate.ABSENT, 404) for bearer in ("none", "unknown")]
    assert judge([*asked, *absent]).status is Status.PASS
    result = judge([*asked, Probe("POST", "/worker/execute", "none", OPEN, 422)])
    assert result.code is not None
    assert result.code.slug == "posture.route-open"
    assert "POST /worker/execute" in result.message


class Waiting:
    """A control plane whose answers take one turn of the clock each: how many are waited for one after another?"""

    def __init__(self) -> None:
        self.at_once = self.most = self.count = 0
        self.pace = Pace()

    def healths(self) -> tuple[HttpAnswer, ...]:
        """None was asked for."""
        return ()

    async def send(self, *asked: object, **more: object) -> HttpAnswer:
        """Refuse, after the others of this turn have come."""
        self.count += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0.6)
        self.at_once -= 1
        return HttpAnswer(401, {FEATURE_HEADER: "exec-lease-v1"}, b"unauthorized", 300.0, 0.0, 0.0, connected=False)


class Crowded(Waiting):
    """A control plane whose answers to some requests are lost while many are asked at once."""

    async def send(self, *asked: object, **more: object) -> HttpAnswer:
        """Refuse, or nothing."""
        lost = self.count % 5 == 0 and self.count < CONNECTIONS
        answer = await super().send(*asked, **more)
        if lost:
            raise ControlError("timeout", None, "no answer within 5 s")
        return answer


def test_what_was_lost_among_many_is_asked_again_alone() -> None:
    """Protects slow links: our own requests, and other checks, are not the control plane's silence."""
    control, turns = Crowded(), Turns()
    probes = asyncio.run(measure(SimpleNamespace(net=SimpleNamespace(control=control, turns=turns)))).probes
    assert control.count == len(probes) + CONNECTIONS // 5 + 1
    assert judge(probes).status is Status.PASS


def test_a_slow_path_costs_few_round_trips() -> None:
    """Protects `all` on slow paths: one round trip or two to connect, and two to ask everything."""
    control = Waiting()
    probes = asyncio.run(measure(SimpleNamespace(net=SimpleNamespace(control=control)))).probes
    assert control.count == len(probes) == 2 * (len(ROUTES) + len(NEWER_ROUTES)) + 1
    assert control.most <= CONNECTIONS
    assert -(-len(probes) // control.most) <= 2
    assert judge(probes).status is Status.PASS


class Limited:
    """nginx with a limit: what comes sooner than `gap_s` after the request before it is refused."""

    def __init__(self, gap_s: float, status: int) -> None:
        self.count, self.last_s = 0, -1.0
        self.gap_s, self.status = gap_s, status
        self.pace = Pace()

    def healths(self) -> tuple[HttpAnswer, ...]:
        """None was asked for."""
        return ()

    async def send(self, *asked: object, **more: object) -> HttpAnswer:
        """The gateway's refusal, or the control plane's own answer."""
        await self.pace.turn()
        self.count += 1
        now = time.monotonic()
        passed = now - self.last_s >= self.gap_s
        self.last_s = now if passed else self.last_s
        headers = {FEATURE_HEADER: "exec-lease-v1"} if passed else {"server": "nginx"}
        answer = HttpAnswer(401 if passed else self.status, headers, b"", 1.0, 0.0, 0.0, connected=False)
        self.pace.hear(answer, now)
        return answer


@pytest.mark.parametrize(("gap_s", "limited_s", "status"), [(0.02, 60, Status.PASS), (30.0, 0.5, Status.INCONCLUSIVE)])
@pytest.mark.parametrize("refusal", [429, 503])
def test_a_limit_is_not_a_missing_answer(
    gap_s: float, limited_s: float, status: Status, refusal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects set-ups with a limit, which our own pace exceeds: the same is asked again, more gently.

    Each route is then asked without a bearer, and few with an unknown one; where time does not even suffice for that,
    the limit is the reason.
    """
    monkeypatch.setattr(pace, "FIRST_GAP_S", 0.03)
    monkeypatch.setattr(pace, "MOST_WAITED_S", 0.0)
    monkeypatch.setattr(preflight_checks.posture_routes, "MOST_WAITED_S", 0.0)
    monkeypatch.setattr(preflight_checks.posture_routes, "LIMITED_S", limited_s)
    control = Limited(gap_s, refusal)
    turns = Turns()
    control.pace.hear(HttpAnswer(200, {FEATURE_HEADER: "x"}, b"", 1.0, 0.0, 0.0, connected=False), 0.0)
    answers = asyncio.run(measure(SimpleNamespace(net=SimpleNamespace(control=control, turns=turns))))
    result = judge(answers.probes, answers.rate)
    assert result.status is status
    assert "a limit on the way lets about" in result.message
    plain = {(probe.method, probe.path) for probe in answers.probes if probe.bearer == "none"}
    assert status is not Status.PASS or plain == {*ROUTES, RUNS}
    assert control.count < 2 * len(answers.probes) + CONNECTIONS


def test_a_gateway_that_hands_all_on_may_be_what_opens_it() -> None:
    """The server may have its token: then setting one there would not help."""
    plain = probes([OPEN] * 15)
    opened = judge(plain)
    through = judge([replace(each, gateway="nginx") for each in plain])
    assert "VOX_MESH_TOKEN" in (opened.remedy or "")
    assert "server" not in opened.measurements
    assert through.measurements["server"] == "nginx"
    assert "they came through nginx" in through.message
    assert (through.remedy or "").startswith("Let nginx put no bearer into requests")


SIGNED = Probe("GET", "/nodes", "signed", OPEN, 200)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ([*probes([REFUSED] * 15), *UNKNOWN, SIGNED], "posture.open"),
        ([*probes([REFUSED] * 15), *UNKNOWN, replace(SIGNED, gate=REFUSED, status=403)], None),
        ([*probes([OPEN, *[REFUSED] * 14]), *UNKNOWN[1:], SIGNED], "posture.route-open"),
        ([*probes([REFUSED] * 15), *UNKNOWN, replace(SIGNED, gate=Gate.UNTOLD, status=502)], "run.no-answer"),
    ],
)
def test_a_signature_counts_only_where_none_is_refused(asked: list[Probe], code: str | None) -> None:
    """Protects from a control plane that takes every key: a route that is open anyway shows nothing of signatures."""
    result = judge(asked)
    assert (result.code.slug if result.code else None) == code
    assert ("any key" in result.message) == (code == "posture.open")
    assert ("a key that it does not know" in result.message) == (code is None)


@pytest.mark.parametrize(("rate", "word"), [(0.8, "lets about 0.8 requests a second"), (None, "without the proxy")])
def test_what_is_undecided_says_why(rate: float | None, word: str) -> None:
    """Protects the truth: a limit is not something else that a proxy does."""
    untold = probes([*[REFUSED] * 13, Gate.UNTOLD, Gate.UNTOLD])
    result = judge([*untold, *UNKNOWN], rate)
    assert result.status is Status.INCONCLUSIVE
    assert word in result.message


class Broken(Limited):
    """nginx that answers 503 to one route, always, and hands all others on."""

    async def send(self, *asked: object, **more: object) -> HttpAnswer:
        """The gateway's own answer, or the control plane's."""
        await self.pace.turn()
        broken = str(asked[1]).endswith("/join")
        headers = {"server": "nginx"} if broken else {FEATURE_HEADER: "exec-lease-v1"}
        answer = HttpAnswer(503 if broken else 401, headers, b"", 1.0, 0.0, 0.0, connected=False)
        self.pace.hear(answer, time.monotonic(), str(asked[1]))
        return answer


def test_a_route_that_does_not_work_is_not_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same status, and nothing else is refused: no sentence about a limit."""
    monkeypatch.setattr(pace, "FIRST_GAP_S", 0.01)
    monkeypatch.setattr(preflight_checks.posture_routes, "MOST_WAITED_S", 0.0)
    control = Broken(0.0, 503)
    answers = asyncio.run(measure(SimpleNamespace(net=SimpleNamespace(control=control, turns=Turns()))))
    result = judge(answers.probes, answers.rate)
    assert result.status is Status.INCONCLUSIVE
    assert "limit" not in result.message
    assert "POST /join" in result.message


@pytest.mark.parametrize(("status", "alone"), [(503, True), (429, False)])
def test_one_route_that_fails_may_not_be_handed_on(status: int, alone: bool) -> None:
    """What a stranger's request cannot show is said, with what would show it."""
    fails = [Probe("POST", "/join", bearer, Gate.UNTOLD, status) for bearer in ("none", "unknown")]
    rest = [Probe(*route, bearer, Gate.REFUSED, 401) for route in ROUTES[2:] for bearer in ("none", "unknown")]
    assert ("not be handed on" in judge([*fails, *rest]).message) is alone
    assert "not be handed on" not in judge(fails).message
    assert judge([], 0.5).status is Status.INCONCLUSIVE
