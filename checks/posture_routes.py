"""Does every route except /health require a bearer?"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
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
from preflight.proto.control.signed import KEY, Signer

if TYPE_CHECKING:
    from pydantic import SecretStr

API = "/v1/populi"
ROUTES: tuple[tuple[str, str], ...] = (
    ("GET", "/nodes"),
    ("POST", "/join"),
    ("POST", "/heartbeat"),
    ("POST", "/leave"),
    ("POST", "/a2a/deliver"),
    ("POST", "/a2a/inbox"),
    ("POST", "/a2a/ack"),
    ("POST", "/a2a/lease-renew"),
    ("POST", "/exec/lease/grant"),
    ("POST", "/exec/lease/renew"),
    ("POST", "/exec/lease/release"),
    ("GET", "/exec/leases"),
    ("POST", "/admin/quarantine"),
    ("POST", "/admin/maintenance"),
    ("POST", "/admin/exec-lease/revoke"),
)
"""Every route that must require a bearer. The bootstrap exchange is not in the list: its credential is in the body, and
we never send a made-up token there."""

LIST = ROUTES[0]
"""What is asked with a signature: it changes nothing."""

NEWER_ROUTES: tuple[tuple[str, str], ...] = (
    ("POST", "/worker/execute"),
    ("POST", "/dispatch"),
    ("GET", "/dispatch/result/preflight-unknown"),
    ("GET", "/queue/stats"),
    ("GET", "/federation/directory"),
    ("POST", "/federation/announce"),
)
"""The same for routes that not every control plane has; `worker/execute` runs scripts."""

PACE_S, GENTLE_S = 0.015, 0.2
"""Between the starts of two requests, and as soon as anyone on the way says that these are too many: five a second pass
most limits."""
LATER = (THROTTLED, 503)
"""429, and what nginx says by default to more requests than it allows."""
CONNECTIONS, FEW = 22, 2
"""Requests at the same time, so that a slow path costs few round trips: one or two to connect, two to ask. A few for
those that got no answer: on a slow link they may have waited behind the others, and behind other checks."""
ASKED_S = 5.0
ATTEMPTS = 3
MOST_WAITED_S = 5.0
MOST_SILENCES = 3
"""After this many requests in a row without an answer, skip the rest: each would cost `ASKED_S`."""
ASKS_FOR_CREDENTIALS = (UNAUTHORIZED, FORBIDDEN)
BODY_BYTES = 65536
"""Bytes of an answer that are read to see whether it is the requested list."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One request that cannot succeed, and how it was answered.

    bearer: `none`, `unknown`, or `signed`: none, and a signature by a key that was made for it. status: None without an
    answer. wait_s: the wait that a rate-limiting server asks for, seconds. gateway: who handed a control plane's answer
    on.
    """

    method: str
    path: str
    bearer: str
    gate: Gate = Gate.UNTOLD
    status: int | None = None
    detail: str = ""
    wait_s: float = 1.0
    gateway: str | None = None

    @property
    def answered(self) -> str:
        """The answer in a few words."""
        return f"{self.method} {self.path}: {self.detail or self.status}"


Question = tuple[str, str, "SecretStr | Signer | None"]
"""A method, a path, and the bearer, or who signs in its place."""
SIGNED = "signed"
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
    yield judge(await measure(ctx))


async def measure(ctx: Context) -> tuple[Probe, ...]:
    """Paced, over a few connections: a production server must not notice.

    Rate-limited requests are repeated together, after the time that the server names, a few times at most.
    """
    from pydantic import SecretStr  # imported here, so that listing the check needs no pydantic

    unknown = SecretStr(f"preflight-unknown-{secrets.token_hex(16)}")
    asked: dict[Question, Probe] = {}
    open_questions: list[Question] = [
        (*route, bearer) for route in (*ROUTES, *NEWER_ROUTES) for bearer in (None, unknown)
    ]
    open_questions.append((*LIST, Signer()))
    for attempt in range(ATTEMPTS):
        if not await _ask_all(ctx, open_questions, asked):
            break
        open_questions = [question for question, probe in asked.items() if probe.status in LATER]
        if not open_questions or attempt == ATTEMPTS - 1:
            break
        await asyncio.sleep(min(MOST_WAITED_S, max(asked[question].wait_s for question in open_questions)))
    unanswered = [question for question, probe in asked.items() if probe.status is None]
    if 0 < len(unanswered) < len(asked):
        async with ctx.net.turns.alone_instead():
            await _ask_all(ctx, unanswered, asked, at_once=FEW)
    return tuple(asked.values())


async def _ask_all(
    ctx: Context, questions: Iterable[Question], asked: dict[Question, Probe], at_once: int = CONNECTIONS
) -> bool:
    """Ask a few at a time; False if nothing answers any more, and then not all were asked."""
    left, silences, pace = iter(questions), 0, asyncio.Lock()
    gentle = any(probe.status in LATER for probe in asked.values())

    async def ask() -> None:
        nonlocal silences, gentle
        for question in left:
            async with pace:
                await asyncio.sleep(GENTLE_S if gentle else PACE_S)
            probe = asked[question] = await _ask(ctx, *question)
            silences = silences + 1 if probe.status is None else 0
            gentle = gentle or probe.status in LATER
            if silences >= MOST_SILENCES:
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(ask())
    return silences < MOST_SILENCES


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


def judge(probes: Iterable[Probe]) -> Result:
    """Completely open, partly open, not a control plane, protected, or undecided. Routes that it lacks do not count."""
    probes = tuple(probe for probe in probes if probe.gate is not Gate.ABSENT)
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
    denied = by_gate[Gate.DENIED]
    if by_gate[Gate.UNTOLD] or known < 2 * len(ROUTES):
        missing = max(0, 2 * len(ROUTES) - known)
        return _undecided(by_gate[Gate.UNTOLD], len(by_gate[Gate.UNTOLD]) + missing, probes)
    if not refused:
        if all(probe.status in ASKS_FOR_CREDENTIALS for probe in denied):
            return _undecided(denied, len(denied), probes)
        return _not_it(codes.CONTROL_NOT_POPULI, denied, probes)
    turned_away = f"; a proxy in front of it refuses {len(denied)} of them itself" if denied else ""
    routes = len({(probe.method, probe.path) for probe in refused})
    message = f"{routes} routes refuse a request without a bearer, and with an unknown one{turned_away}"
    message += _signature(probes)
    return passed(CONTROL, Direction.ROUND_TRIP, message, **_more(probes))


def _signature(probes: tuple[Probe, ...]) -> str:
    """What is said where a signature does not replace a bearer."""
    signed = [probe for probe in probes if probe.bearer == SIGNED and probe.gate is Gate.REFUSED]
    return "; a signature by a key that it does not know helps nobody" if signed else ""


def _open(through: list[Probe], probes: tuple[Probe, ...]) -> Result:
    gateway = next((probe.gateway for probe in through if probe.gateway is not None), None)
    own = "Set VOX_MESH_TOKEN, or a token per role, in the control plane's environment and restart it."
    line, more = own, _more(probes)
    by = ""
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
        f"answered without a known bearer: {', '.join(_named(through))}",
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
    more, routes = _more(probes), ", ".join(_named(kept))
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


def _undecided(untold: list[Probe], count: int, probes: tuple[Probe, ...]) -> Result:
    first = (untold or probes)[0]
    what_next = "run again later, without the proxy in front of it"
    if first.status == THROTTLED:
        what_next = f"it refuses more than a limit of requests, also at {1 / GENTLE_S:g} a second"
    return inconclusive(
        codes.RUN_NO_ANSWER,
        CONTROL,
        Direction.ROUND_TRIP,
        f"{count} of {max(len(probes), 2 * len(ROUTES))} requests got no conclusive answer from the control plane, "
        f"first {first.answered}; {what_next}",
        **_more(probes),
    )


def _more(probes: tuple[Probe, ...]) -> dict[str, Any]:
    statuses = {f"{p.method} {p.path} ({p.bearer})": f"{p.status} {p.gate.name.lower()}" for p in probes}
    through = sum(probe.gate is Gate.OPEN for probe in probes)
    return {
        "measurements": {"routes_asked": len(probes), "routes_let_through": through},
        "evidence": (Evidence("http", "the answer to each request, by route and bearer", statuses),),
    }


def _named(through: list[Probe]) -> list[str]:
    """Each route once, with its status; the kind of bearer only if one kind alone was accepted."""
    by_route: dict[tuple[str, str], list[Probe]] = {}
    for probe in through:
        by_route.setdefault((probe.method, probe.path), []).append(probe)
    return [f"{method} {path} ({probes[0].status}){_which(probes)}" for (method, path), probes in by_route.items()]


def _which(probes: list[Probe]) -> str:
    return " with an unknown bearer" if [probe.bearer for probe in probes] == ["unknown"] else ""
