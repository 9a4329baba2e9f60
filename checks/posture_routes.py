"""Does every route except /health require a bearer?"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from preflight.api import (
    CONTROL,
    Code,
    Context,
    Direction,
    Evidence,
    Result,
    by_hand,
    check,
    codes,
    failed,
    inconclusive,
    passed,
    request,
)
from preflight.model.control import ControlError
from preflight.proto.control.answers import CACHED, FORBIDDEN, KEEP_NOTHING, THROTTLED, UNAUTHORIZED
from preflight.proto.control.gate import Gate, gate
from preflight.proto.control.gateways import passed_through
from preflight.proto.control.http import http_date, retry_after_s
from preflight.proto.control.route_probe import (
    API,
    LIST,
    NEWER_ROUTES,
    ROUTES,
    RUNS,
    SIGNED,
    TELLING,
    Answers,
    Probe,
    named,
    shows_enough,
    what_fails,
)
from preflight.proto.control.signed import KEY, Signer

if TYPE_CHECKING:
    from pydantic import SecretStr

PACE_S = 0.005
"""Between the starts of two requests, until anyone on the way says that these are too many."""
LIMITED_S = 15.0
"""How long to go on asking where there is a limit of requests: what shows most is asked first."""
LOOKED_S, HOPEFUL = 5.0, 1.5
"""After this time it is given up where not even half as many again as so far would be enough."""
LATER = (THROTTLED, 503)
"""429, and what nginx says by default to more requests than it allows."""
CONNECTIONS, REPEATED, FEW = 22, 6, 2
"""Requests at the same time, so that a slow path costs few round trips: one or two to connect, two to ask. A few for
those that got no answer: on a slow link they may have waited behind the others, and behind other checks."""
ASKED_S = 5.0
ATTEMPTS = 3
MOST_WAITED_S = 5.0
MOST_SILENCES = 3
"""After this many requests in a row without an answer, skip the rest: each would cost `ASKED_S`."""
ASKS_FOR_CREDENTIALS = (UNAUTHORIZED, FORBIDDEN)
AGAIN = "run again later, without the proxy in front of it"
BODY_BYTES = 65536
"""Bytes of an answer that are read to see whether it is the requested list."""
Question = tuple[str, str, "SecretStr | Signer | None"]
"""A method, a path, and the bearer, or who signs in its place."""
ANY_KEY = "any key"
"""What is wrong where a signature by a key that nobody knows is enough."""


@check(
    "posture.routes",
    title="Every route except /health requires a bearer",
    subject="control",
    codes=(
        codes.POSTURE_OPEN,
        codes.POSTURE_ROUTE_OPEN,
        codes.CONTROL_REDIRECTED,
        codes.CONTROL_NOT_POPULI,
        codes.CONTROL_BAD_ANSWER,
    ),
    needs=("control.api",),
    after=("udp.quality",),  # on a slow link this many requests would disturb what that measures
    timeout=60,
)
async def posture_routes(ctx: Context) -> AsyncGenerator[Result, None]:
    """Ask each route without a bearer and with an unknown one, with an empty object that no route accepts; and for the
    list with a signature in the place of a bearer, by a key that nobody knows.
    """
    answers = await measure(ctx)
    yield judge(answers.probes, answers.rate)


async def measure(ctx: Context) -> Answers:
    """Paced, over a few connections: a production server must not notice.

    Rate-limited requests are repeated together, after the time that the server names, a few times at most.
    """
    from pydantic import SecretStr  # imported here, so that listing the check needs no pydantic

    unknown = SecretStr(f"preflight-unknown-{secrets.token_hex(16)}")
    every = [(*route, bearer) for bearer in (None, unknown) for route in (*ROUTES, *NEWER_ROUTES)]
    telling: list[Question] = [*((*route, unknown) for route in TELLING), *((*each, None) for each in (*ROUTES, RUNS))]
    rest: list[Question] = [(*LIST, Signer()), *(each for each in every if each not in telling)]
    asking, questions = _Asking(ctx, frozenset(telling)), [*telling, *rest]
    for attempt in range(ATTEMPTS):
        before, again = len(questions), attempt > 0
        if not await asking.all(questions, REPEATED if again else CONNECTIONS, again=again):
            break
        questions = [question for question in questions if asking.is_open(question)]
        if not questions or attempt == ATTEMPTS - 1 or (again and len(questions) == before):
            break
        if not asking.limited():
            await asyncio.sleep(min(MOST_WAITED_S, max(asking.asked[each].wait_s for each in questions)))
    unanswered = [question for question, probe in asking.asked.items() if probe.status is None]
    if 0 < len(unanswered) < len(asking.asked):
        async with ctx.net.turns.alone_instead():
            await asking.all(unanswered, FEW)
    return asking.answers()


class _Asking:
    """All questions. wanted: those that are asked also where there is a limit of requests."""

    def __init__(self, ctx: Context, wanted: frozenset[Question]) -> None:
        self.asked: dict[Question, Probe] = {}
        self._ctx = ctx
        self._wanted = wanted
        self._pace, self._next_s = asyncio.Lock(), 0.0
        self._limited_s: float | None = None

    def is_open(self, question: Question) -> bool:
        """Whether a refusal for their number is all that is known of it, and asking it again is worth its time."""
        probe = self.asked.get(question)
        return probe is not None and probe.status in LATER and (question in self._wanted or not self.limited())

    def answers(self) -> Answers:
        """What is known now, without questions that a limit left open although others need no answer to them."""
        later = {each.path for each in self.asked.values() if each.status in LATER}
        if self._limited_s is None and not (later and self._ctx.net.control.pace.refused):
            return Answers(tuple(self.asked.values()))
        if len(later) == 1 and all(each.status != THROTTLED for each in self.asked.values()):
            return Answers(tuple(self.asked.values()))  # a route that does not work is not a limit
        probes = [each for asked, each in self.asked.items() if each.status not in LATER or asked in self._wanted]
        return Answers(tuple(probes), self._ctx.net.control.pace.rate)

    async def all(self, questions: Sequence[Question], at_once: int, *, again: bool = False) -> bool:
        """Ask a few at a time; False if nothing answers any more, and then not all were asked.

        again: they were refused for their number; as many refusals in a row once more end it too.
        """
        left, silences, refusals = iter(questions), 0, 0

        async def ask() -> None:
            nonlocal silences, refusals
            for question in left:
                async with self._pace:
                    if limited := self.limited():
                        probe = await self._one(question)
                    else:
                        await asyncio.sleep(self._next_s - time.monotonic())
                        self._next_s = time.monotonic() + PACE_S
                if not limited:
                    probe = await self._one(question)
                silences = silences + 1 if probe is not None and probe.status is None else 0
                refusals = refusals + 1 if probe is not None and probe.status in LATER else 0
                if silences >= MOST_SILENCES or (again and refusals >= REPEATED):
                    return

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(ask())
        return silences < MOST_SILENCES

    async def _one(self, question: Question) -> Probe | None:
        """The answer; None for what is not worth its time under a limit."""
        if self.limited() and (question not in self._wanted or not self._worth_it()):
            return None
        probe = self.asked[question] = await _ask(self._ctx, *question)
        return probe

    def _worth_it(self) -> bool:
        """Whether what is left can be asked in time, at the pace at which answers came so far."""
        assert self._limited_s is not None
        if self._ctx.net.control.pace.narrow:
            return False
        spent_s = time.monotonic() - self._limited_s
        left = sum(each not in self.asked or self.asked[each].status in LATER for each in self._wanted)
        enough = spent_s < LOOKED_S or self._ctx.net.control.pace.rate * HOPEFUL * (LIMITED_S - spent_s) >= left
        return spent_s <= LIMITED_S and enough

    def limited(self) -> bool:
        """Whether there is a limit; from the first moment on time is short."""
        limited = self._ctx.net.control.pace.limited
        self._limited_s = (self._limited_s or time.monotonic()) if limited else None
        return limited


async def _ask(ctx: Context, method: str, path: str, bearer: "SecretStr | Signer | None") -> Probe:
    signer = bearer if isinstance(bearer, Signer) else None
    name = SIGNED if signer else "unknown" if bearer else "none"
    signature = signer.headers(f"{API}{path}", _server_s(ctx), secrets.token_hex(8)) if signer else None
    body: dict[str, str] | None = {} if method == "POST" else None
    try:
        answer = await ctx.net.control.send(
            method,
            f"{API}{path}",
            body,
            bearer=None if isinstance(bearer, Signer) else bearer,
            timeout_s=ASKED_S,
            most_bytes=BODY_BYTES,
            recall="unchanged",
            more_headers=signature,
        )
    except ControlError as error:
        return Probe(method, path, name, detail=error.message)
    headers = answer.headers
    wait_s = retry_after_s(headers.get("retry-after"), headers.get("date"), answer.received_unix_s)
    said = gate(method, path, answer, may_lack=(method, path) in NEWER_ROUTES)
    if signer is not None and said is Gate.UNTOLD and answer.status == FORBIDDEN:
        said = Gate.REFUSED  # it knows signatures, and whose it trusts
    return Probe(method, path, name, said, answer.status, wait_s=wait_s or 1.0, gateway=passed_through(answer))


def _server_s(ctx: Context) -> float:
    """The control plane's clock as it last said it, UNIX seconds: a signature must not fail for this node's own."""
    said = [http_date(answer.headers.get("date")) for answer in ctx.net.control.healths()]
    return (said[-1] if said else None) or time.time()


def judge(probes: Iterable[Probe], rate: float | None = None) -> Result:
    """Completely open, partly open, not a control plane, protected, or undecided. Routes that it lacks do not count.

    rate: about how many requests a second pass a limit on the way, for which not everything was asked.
    """
    asked = tuple(probes)
    probes = tuple(probe for probe in asked if probe.gate is not Gate.ABSENT)
    by_gate = {kind: [probe for probe in probes if probe.gate is kind] for kind in Gate}
    through, refused = by_gate[Gate.OPEN], by_gate[Gate.REFUSED]
    known = sum((probe.method, probe.path) in ROUTES and probe.bearer != SIGNED for probe in probes)
    signed = [probe for probe in through if probe.bearer == SIGNED]
    if signed and any((probe.method, probe.path) == LIST for probe in refused):
        return _open_to_signers(signed[0], probes)
    if through and not refused:
        return _open(through, probes)
    through = [probe for probe in through if probe.bearer != SIGNED]
    if through:
        return _open_in_places(through, probes)
    for kind, code in ((Gate.REDIRECTED, codes.CONTROL_REDIRECTED), (Gate.STRANGER, codes.CONTROL_NOT_POPULI)):
        if by_gate[kind]:
            return _not_it(code, by_gate[kind], probes)
    if by_gate[Gate.KEPT]:
        return _from_cache(by_gate[Gate.KEPT], probes)
    denied, untold = by_gate[Gate.DENIED], by_gate[Gate.UNTOLD]
    within = _within(rate, asked) if not untold and shows_enough(asked) else None
    if untold or (known < 2 * len(ROUTES) and within is None):
        missing = max(0, 2 * len(ROUTES) - known)
        return _undecided(untold, len(untold) + missing, probes, rate)
    if not refused:
        if all(probe.status in ASKS_FOR_CREDENTIALS for probe in denied):
            return _undecided(denied, len(denied), probes)
        return _not_it(codes.CONTROL_NOT_POPULI, denied, probes)
    unknown = within or ", and with an unknown one"
    turned_away = f"; a proxy in front of it refuses {len(denied)} of them itself" if denied else ""
    routes = len({(probe.method, probe.path) for probe in refused})
    message = f"{routes} routes refuse a request without a bearer{unknown}{turned_away}{_signature(probes)}"
    return passed(CONTROL, Direction.ROUND_TRIP, message, **_more(probes))


def _within(rate: float | None, asked: tuple[Probe, ...]) -> str | None:
    """What is said where not everything was asked; None without a limit."""
    if rate is None:
        return None
    unknown = sum(probe.bearer == "unknown" for probe in asked)
    left = 2 * len((*ROUTES, *NEWER_ROUTES)) + 1 - len(asked)
    return f", and {unknown} with an unknown one; {_limit(rate)}, so {left} more questions were left out"


def _limit(rate: float) -> str:
    return f"a limit on the way lets about {rate:.1f} requests a second through"


def _signature(probes: tuple[Probe, ...]) -> str:
    """What is said where a signature does not replace a bearer."""
    signed = [probe for probe in probes if probe.bearer == SIGNED and probe.gate is Gate.REFUSED]
    return "; a signature by a key that it does not know helps nobody" if signed else ""


def _open(through: list[Probe], probes: tuple[Probe, ...]) -> Result:
    gateway = next((probe.gateway for probe in through if probe.gateway is not None), None)
    own = "Set VOX_MESH_TOKEN, or a token per role, in the control plane's environment and restart it."
    line, more, by = own, _more(probes), ""
    if gateway is not None:
        by = f"; they came through {gateway}, which may put a bearer into each request"
        line = (
            f"Let {gateway} put no bearer into requests (in nginx: proxy_set_header Authorization). If it puts none: "
        )
        line += own[0].lower() + own[1:]
        more["measurements"]["server"] = gateway
    return failed(
        codes.POSTURE_OPEN,
        CONTROL,
        Direction.ROUND_TRIP,
        f"{len(through)} of {len(probes)} requests without a known bearer were accepted and none was refused: anyone "
        f"who reaches it controls it{by}",
        remedies=by_hand(line, where="control host"),
        **more,
    )


def _open_to_signers(signed: Probe, probes: tuple[Probe, ...]) -> Result:
    more = _more(probes)
    more["measurements"]["problem"] = ANY_KEY
    remedies = by_hand(
        "Give the control plane VOX_MESH_NODE_ID and a database, and restart it: it then has a list of keys to trust. "
        f"Until then, let a gateway in front of it take {KEY} out of requests (in nginx: proxy_set_header {KEY} '').",
        where="control host",
    )
    return failed(
        codes.POSTURE_OPEN,
        CONTROL,
        Direction.ROUND_TRIP,
        f"GET /nodes was answered {signed.status} without a bearer, because it was signed, by a key that was made for "
        f"this run and that nobody trusts: {ANY_KEY} is enough, so anyone who reaches the control plane controls it",
        remedies=remedies,
        **more,
    )


def _open_in_places(through: list[Probe], probes: tuple[Probe, ...]) -> Result:
    return failed(
        codes.POSTURE_ROUTE_OPEN,
        CONTROL,
        Direction.ROUND_TRIP,
        f"answered without a known bearer: {', '.join(named(through))}",
        remedies=by_hand(
            "Remove the exception for these routes from the proxy or server in front of the control plane.",
            where="control host",
        ),
        **_more(probes),
    )


def _not_it(code: Code, strange: list[Probe], probes: tuple[Probe, ...]) -> Result:
    """Another server answers: whether the routes are protected is not known, and no bearer should go there."""
    return failed(
        code,
        CONTROL,
        Direction.ROUND_TRIP,
        f"{len(strange)} of {len(probes)} requests were answered by something in front of the control plane, "
        f"first {strange[0].answered}",
        remedies=by_hand(
            "Pass /v1/populi/ through to the control plane unchanged, or point the control URL directly at it.",
            where="control host",
        ),
        **_more(probes),
    )


def _from_cache(kept: list[Probe], probes: tuple[Probe, ...]) -> Result:
    """A cache shows nothing of the bearer check, and hands the list that one client got to every other."""
    more, routes = _more(probes), ", ".join(named(kept))
    return failed(
        codes.CONTROL_BAD_ANSWER,
        CONTROL,
        Direction.ROUND_TRIP,
        f"answered without a known bearer, with what a gateway has cached of an earlier request: {routes}",
        remedies=KEEP_NOTHING,
        station=request("answer"),
        measurements={**more["measurements"], "problem": CACHED},
        evidence=more["evidence"],
    )


def _undecided(untold: list[Probe], count: int, probes: tuple[Probe, ...], rate: float | None = None) -> Result:
    first = next(iter(untold or probes), None)
    what_next = what_fails(untold, len(probes)) or AGAIN
    if rate is not None:
        what_next = f"{_limit(rate)}, which is too few to ask them all"
    answered = f", first {first.answered}" if first and (untold or rate is None) else ""
    return inconclusive(
        codes.RUN_NO_ANSWER,
        CONTROL,
        Direction.ROUND_TRIP,
        f"{count} of {max(len(probes), 2 * len(ROUTES))} requests got no conclusive answer from the control plane"
        f"{answered}; {what_next}",
        **_more(probes),
    )


def _more(probes: tuple[Probe, ...]) -> dict[str, Any]:
    statuses = {f"{p.method} {p.path} ({p.bearer})": f"{p.status} {p.gate.name.lower()}" for p in probes}
    through = sum(probe.gate is Gate.OPEN for probe in probes)
    return {
        "measurements": {"routes_asked": len(probes), "routes_let_through": through},
        "evidence": (Evidence("http", "the answer to each request, by route and bearer", statuses),),
    }
