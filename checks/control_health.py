"""Does a healthy Populi control plane answer, and how fast?"""

import asyncio
import random
import statistics
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from preflight.api import (
    CONTROL,
    Context,
    Direction,
    Evidence,
    Remedies,
    Result,
    check,
    codes,
    failed,
    heal,
    look,
    passed,
    request,
    warned,
)
from preflight.model.control import ControlError, HttpAnswer, NotHttpError
from preflight.model.facts import ControlConnectFacts, DeathFacts, HealthFacts
from preflight.model.fix import PastProxy
from preflight.model.printable import excerpt
from preflight.model.remedy import to_try
from preflight.proto.control import answers, populi
from preflight.proto.control.answerer import (
    BACKEND,
    HEALTH,
    answered_for,
    asked_to_wait,
    keeping_a_slash,
    only_health_dies,
    right_url,
    says_too_many,
    strange,
)
from preflight.proto.control.answers import SERVER_ERROR, Finding
from preflight.proto.control.backoff import delay_s
from preflight.proto.control.gateways import holds_back
from preflight.proto.control.greeting import BEHIND_PROXY_LINE, asks_plainly, may_be_tls, said_instead
from preflight.proto.control.health_probe import Probe, is_slow, is_the_way, round_trips
from preflight.proto.control.http import Proxy
from preflight.proto.control.placement import set_url
from preflight.proto.control.populi import FEATURE_HEADER, HEALTHY, LIST_ROUTE, LOOKED_AT_BYTES, is_populi
from preflight.proto.control.proxy_finding import refused_by_proxy
from preflight.proto.control.timeouts import conservative, health_figures
from preflight.proto.control.tls import trouble
from preflight.proto.control.url import ControlUrl

if TYPE_CHECKING:
    from preflight.api import ControlClient

LEAST_SAMPLES, MOST_SAMPLES = 4, 21
SAMPLING_S = 0.5
"""How long to take more samples than the minimum: twenty for a percentile on a fast path."""
FAR_SAMPLES, FAR_MS = 2, 400.0
"""Where each answer takes so long, two show it, and more of them would only delay the other checks. Where connections
take so long, both are asked at once, with what control.api and an enrolment ask: the way is waited for once."""
ANSWER_TIMEOUT_S = 5.0
MAX_ATTEMPTS, PATIENCE_S = 6, 12.0
"""How long, in total, to wait for a server that says `later` or drops connections."""
BROKEN_IN_A_ROW = 2
"""Kept-alive connections that end at their next request: one is a server that restarts, two are a rule."""
BY_TURNS = 2  # failures that each follow a good answer: a server that restarts has one
MOST_RESETS, UNAVAILABLE, AT_ONCE = 3, 503, 4
TLS_S, GREETING_S, _LATER = 3.0, 1.5, (429, UNAVAILABLE)


@check(
    "control.health",
    title="A healthy control plane answers in time",
    subject="control",
    codes=(
        *dict.fromkeys(answers.TRANSPORT.values()),
        codes.CONTROL_CONNECTION_RESET,
        codes.CONTROL_BAD_ANSWER,
        codes.CONTROL_THROTTLED,
        codes.CONTROL_SLOW,
        codes.HOST_PROXY_ENV,
    ),
    needs=("control.tls",),
    reads=(ControlConnectFacts,),
    timeout=40,
)
async def control_health(ctx: Context) -> AsyncGenerator[Result, None]:
    """`GET /health` a few times on one connection, as a worker does; if that fails, also without the proxy."""
    client, slow_ms = ctx.net.control, ctx.settings.thresholds.control_rtt_ms
    connect_ms = max((each.connect_ms for each in ctx.facts(ControlConnectFacts, CONTROL)), default=0.0)
    enrols = ctx.settings.enrolment is not None and ctx.settings.enrolment.brings_token
    probe, elsewhere = await measure(client, far=connect_ms >= FAR_MS, enrols=enrols), ""
    if probe.bad is None and is_slow(probe, slow_ms) and not is_the_way(probe, connect_ms):
        async with ctx.net.turns.alone_instead():  # answers wait behind what other checks send over a slow link
            probe = await measure(client)
            usual_ms = statistics.median(round_trips(probe) or [0.0])
            if probe.bad is None and is_slow(probe, slow_ms) and (rested := await ctx.net.held_back(usual_ms)):
                probe, elsewhere = replace(probe, good=(rested,)), holds_back(usual_ms)
    past_proxy = None
    if client.proxy is not None and probe.bad is not None:
        direct = client.direct()
        try:
            past_proxy = await measure(direct)
        finally:
            await direct.aclose()
    url = ctx.settings.control.usable_url
    bad = probe.bad if client.proxy is None and not (probe.good and _says_later(probe.bad, *BACKEND)) else None
    if isinstance(bad, HttpAnswer) and (api := await ctx.net.past_health(bad)):
        if (found := only_health_dies(strange(HEALTH, bad, url), bad)) is not None:
            yield _bad(found, probe, "")
            return
        probe, elsewhere = replace(probe, good=api, bad=None), answered_for(bad)
    await client.pace.settle(lambda: _ask(client))
    better = client.pace.finding() if probe.bad is None or _too_many(probe.bad) else None
    if better is None and url is not None and client.proxy is None:
        better = await look_further(ctx, url, probe.bad)
    for result in judge(url, probe, slow_ms, client.proxy, past_proxy, better, elsewhere):
        yield result


async def look_further(ctx: Context, url: ControlUrl, bad: HttpAnswer | ControlError | None) -> Finding | None:
    """What a second look at another URL of the same host shows about a bad answer: a clearer finding, or the fix."""
    found = finding(bad, url) if bad is not None else None
    if found is None or bad is None:
        return None
    if may_be_tls(url, bad) and (secure := await _speaks_tls(ctx, url)) is not None:
        return secure
    if isinstance(bad, ControlError):
        return await _greets(ctx, url, bad)
    right = right_url(bad, url, HEALTH)
    if right is None and (found.decided.problem or "").startswith("prefix"):
        if await ctx.net.keeps_a_slash():
            return keeping_a_slash(found, url)
        right = replace(url, path="")
    if right is None:
        return None
    if not await ctx.net.control_lives(right, ANSWER_TIMEOUT_S):
        return await _nobody_there(ctx, found, right) if right.scheme == "https" else None
    message = f"{found.message}; at {right} a control plane answers"
    return replace(found, message=message, remedies=set_url(str(right), ctx.url_source))


async def _speaks_tls(ctx: Context, url: ControlUrl) -> Finding | None:
    ca_file = ctx.settings.control.ca_file  # the same place, asked by a TLS handshake
    for address in await ctx.net.dns.addresses(url):
        shaken = await ctx.net.tcp.handshake(address, url.port, url.host, ca_file=ca_file, timeout_s=TLS_S)
        if shaken.version is None:
            continue
        secure = replace(url, scheme="https", port_given=True)
        lives = await ctx.net.control_lives(secure, ANSWER_TIMEOUT_S)
        message = f"the URL {url} says http, and {shaken.place} speaks TLS ({shaken.version})"
        remedies = look(f"curl -si --max-time 15 {secure}/health   # if a control plane answers, it is the right URL")
        found = Finding(codes.CONTROL_TLS_FAILED, message, remedies, DeathFacts(problem="speaks TLS"), "tls")
        if not lives:
            return await _nobody_there(ctx, found, secure)
        message += f"; at {secure} a control plane answers"
        return replace(found, message=message, remedies=set_url(str(secure), ctx.url_source))
    return None


async def _nobody_there(ctx: Context, found: Finding, url: ControlUrl) -> Finding:
    """The same finding, with what keeps a client from the better URL."""
    message = f"{found.message}; at {url} none answers this node now"
    addresses = await ctx.net.dns.addresses(url)
    if not addresses:
        return replace(found, message=message)
    ca_file = ctx.settings.control.ca_file
    shaken = await ctx.net.tcp.handshake(addresses[0], url.port, url.host, ca_file=ca_file, timeout_s=TLS_S)
    if shaken.outcome == "trusted":
        return replace(found, message=message)
    why = trouble(url, shaken, datetime.now(UTC))
    return replace(found, message=f"{message}: {why.message}", remedies=(*found.remedies, *to_try(why.remedies)))


async def _greets(ctx: Context, url: ControlUrl, bad: ControlError) -> Finding | None:
    """A service of another kind, such as SSH, gRPC or a database, or a gateway that waits for a gateway."""
    reset = bad.decided.problem == answers.RESET
    if url.scheme != "http" or not (reset or (bad.kind == "protocol" and bad.decided.problem is None)):
        return None
    addresses, plain = await ctx.net.dns.addresses(url), asks_plainly(url)
    for asked in (BEHIND_PROXY_LINE,) if reset else (b"", plain, BEHIND_PROXY_LINE):
        heard = await asyncio.gather(
            *(ctx.net.tcp.greeting(address, url.port, GREETING_S, say=asked) for address in addresses)
        )
        said = next(filter(None, heard), b"")
        found = said_instead(said, url, bad.message, asked)
        if found is not None or (asked == plain and said.startswith(b"HTTP/")):
            return found
    return None


async def measure(client: "ControlClient", *, far: bool = False, enrols: bool = False) -> Probe:
    """Ask until there are enough good answers; repeat only what a repeat can fix, with longer pauses.

    far: connections take so long that all is asked at once that is certainly wanted. enrols: also by an enrolment.
    """
    good: list[HttpAnswer] = []
    attempts, patience, broken, turns, before = 1, PATIENCE_S, 0, 0, 0
    came = await _at_once(client, enrols=enrols) if far else []
    while _wants_more(good):
        began = time.monotonic()
        outcome = came.pop(0) if came else await _ask(client)
        if isinstance(outcome, HttpAnswer) and finding(outcome) is None:
            good.append(outcome)
            continue
        came.clear()
        broken += _is_kept_alive(outcome)
        turns, before = turns + (_says_later(outcome, UNAVAILABLE) and len(good) > before), len(good)
        if turns == BY_TURNS and _too_many(outcome) and await _is_limit(client):
            turns = 0
        if broken == BROKEN_IN_A_ROW or turns == BY_TURNS:
            return Probe(tuple(good), outcome, attempts)
        if (len(good) >= LEAST_SAMPLES and _says_later(outcome)) or (good and client.pace.narrow):
            break  # there are enough answers; a percentile is not worth pressing a server that says `later`
        if isinstance(outcome, HttpAnswer) and outcome.status == SERVER_ERROR and is_populi(outcome):
            good += await _others(client)  # of several servers, another one may be healthy
        wait = _worth_waiting(outcome, attempts)
        patience -= time.monotonic() - began
        if wait is None or wait > patience or attempts == MAX_ATTEMPTS:
            return Probe(tuple(good), outcome, attempts)
        attempts, patience = attempts + 1, patience - wait
        await asyncio.sleep(wait)
    return Probe(tuple(good), None, attempts)


async def _is_limit(client: "ControlClient") -> bool:
    """Whether hardly one of a few at once passes; where one of several servers is dead, more do."""
    return len(await _others(client)) < AT_ONCE // 2


async def _others(client: "ControlClient") -> list[HttpAnswer]:
    """The good ones of a few answers at once, each on another connection."""
    other = client.apart()
    try:
        came = await asyncio.gather(*(_ask(other) for _ in range(AT_ONCE)))
    finally:
        await other.aclose()
    return [each for each in came if isinstance(each, HttpAnswer) and finding(each) is None]


def _wants_more(good: list[HttpAnswer]) -> bool:
    if len(good) >= FAR_SAMPLES and min(answer.rtt_ms for answer in good) >= FAR_MS:
        return False
    spent_s = sum(answer.rtt_ms for answer in good) / 1000
    return len(good) < LEAST_SAMPLES or (len(good) < MOST_SAMPLES and spent_s < SAMPLING_S)


async def _at_once(client: "ControlClient", *, enrols: bool) -> list[HttpAnswer | ControlError]:
    """The first answers, each on another connection, and these are then open for the other checks."""
    if enrols:
        client.ahead(client.send("POST", populi.EXCHANGE_ROUTE, timeout_s=ANSWER_TIMEOUT_S, recall="any"))
    client.ahead(client.send("GET", LIST_ROUTE, timeout_s=ANSWER_TIMEOUT_S, most_bytes=LOOKED_AT_BYTES, recall="any"))
    return list(await asyncio.gather(*(_ask(client) for _ in range(FAR_SAMPLES))))


async def _ask(client: "ControlClient") -> HttpAnswer | ControlError:
    try:
        return await client.health(timeout_s=ANSWER_TIMEOUT_S)
    except ControlError as error:
        return error


def _worth_waiting(outcome: HttpAnswer | ControlError, attempt: int) -> float | None:
    """Seconds until a repeat may help: `later`, and a server that is restarting; None for anything else."""
    if isinstance(outcome, HttpAnswer):
        wait_s = delay_s(attempt, asked_to_wait(outcome), random.random())  # noqa: S311 - jitter
        return wait_s if _says_later(outcome) else None
    if outcome.kind not in ("refused", "protocol") or isinstance(outcome, NotHttpError):
        return None
    if (outcome.decided.problem == answers.RESET or outcome.kind == "protocol") and attempt >= MOST_RESETS:
        return None  # a server that restarts breaks a connection or two, and then refuses
    return delay_s(attempt, None, random.random())  # noqa: S311 - jitter


def _says_later(outcome: HttpAnswer | ControlError | None, *later: int) -> bool:
    return isinstance(outcome, HttpAnswer) and outcome.status in (later or _LATER)


def _too_many(outcome: HttpAnswer | ControlError) -> bool:
    return isinstance(outcome, HttpAnswer) and says_too_many(outcome)


def _is_kept_alive(outcome: HttpAnswer | ControlError | None) -> bool:
    return isinstance(outcome, ControlError) and outcome.decided.problem == answers.KEPT_ALIVE


def judge(
    url: ControlUrl | None,
    probe: Probe,
    slow_ms: float,
    proxy: Proxy | None = None,
    past_proxy: Probe | None = None,
    better: Finding | None = None,
    elsewhere: str = "",
) -> list[Result]:
    """Judge the health, with a note about a proxy; a proxy that blocks the way is itself the finding.

    better: what a second look showed about the bad answer. elsewhere: who answers `/health`, if not the control plane.
    """
    problem = better or (finding(probe.bad, url) if probe.bad is not None else None)
    if problem is None:
        return [_good(probe, slow_ms, elsewhere), *([_proxied(url, proxy)] if proxy else [])]
    if proxy is not None and past_proxy is not None and past_proxy.good:
        return [_proxy_in_the_way(problem, url, proxy, probe)]
    problem = (refused_by_proxy(proxy, probe.bad) if proxy is not None else None) or problem
    return [_bad(problem, probe, f"; without the proxy {proxy.place} it is no better" if proxy else "")]


def finding(outcome: HttpAnswer | ControlError, url: ControlUrl | None = None) -> Finding | None:
    """What is wrong with one outcome of `GET /health`; None if a control plane says that it is healthy."""
    if isinstance(outcome, ControlError):
        found = answers.finding(outcome, url)
        return replace(found, message=f"{HEALTH}: {found.message}")
    good = outcome.status == HEALTHY and not outcome.cut and outcome.body.strip() == b"ok" and is_populi(outcome)
    return None if good else strange(HEALTH, outcome, url)


def _good(probe: Probe, slow_ms: float, elsewhere: str = "") -> Result:
    rtts = round_trips(probe)
    median = statistics.median(rtts)
    spread = f"median of {len(rtts)}; {min(rtts):.1f} to {max(rtts):.1f}" if len(rtts) > 1 else "measured once"
    times = f"{median:.1f} ms ({spread})"
    again = (f", after {probe.attempts} attempts" if probe.attempts > 1 else "") + elsewhere
    station = request("server")
    more = {"attempts": probe.attempts, "facts": _facts(probe), "evidence": (_evidence(probe),), "station": station}
    if not is_slow(probe, slow_ms):
        return passed(CONTROL, Direction.ROUND_TRIP, f"healthy, answers in {times}{again}", **more)
    return warned(
        codes.CONTROL_SLOW,
        CONTROL,
        Direction.ROUND_TRIP,
        f"healthy, but its answers take {times}, more than {slow_ms:g} ms: use conservative time-outs{again}",
        remedies=look(f"export {conservative(rtts).environment()}"),
        **more,
    )


def _bad(problem: Finding, probe: Probe, note: str) -> Result:
    again = f" ({probe.attempts} attempts)" if probe.attempts > 1 else ""
    if problem.code is codes.CONTROL_UNHEALTHY and len(probe.good) >= BY_TURNS:
        note += f"; {len(probe.good)} answers in between were good, so one of several servers behind it may be dead"
    # Whether the API answers is for control.api to say.
    make = warned if problem.code is codes.CONTROL_THROTTLED else failed
    return make(
        problem.code,
        CONTROL,
        Direction.ROUND_TRIP,
        f"{problem.message}{note}{again}",
        remedies=problem.remedies,
        attempts=probe.attempts,
        facts=_facts(probe),
        measurements=problem.decided.measurements(),
        evidence=(_evidence(probe),),
        station=request(problem.station),
    )


def _proxied(url: ControlUrl | None, proxy: Proxy) -> Result:
    return warned(
        codes.HOST_PROXY_ENV,
        CONTROL,
        Direction.ROUND_TRIP,
        f"clients reach the control plane through the proxy {proxy.place} ({proxy.variable}): bearers pass through "
        "it, and the control plane is unreachable when the proxy is down",
        remedies=_no_proxy(url),
        aspect="proxy",
        measurements=DeathFacts(variable=proxy.variable).measurements(),
        station=request("proxy"),
    )


def _proxy_in_the_way(problem: Finding, url: ControlUrl | None, proxy: Proxy, probe: Probe) -> Result:
    who = f"the proxy {proxy.place} ({proxy.variable}) is in the way"
    message = f"{who}: {problem.message}; without it the control plane is healthy"
    decided = replace(problem.decided, variable=proxy.variable)
    return _bad(Finding(codes.HOST_PROXY_ENV, message, _no_proxy(url), decided, "proxy"), replace(probe, good=()), "")


def _no_proxy(url: ControlUrl | None) -> Remedies:
    return heal(lambda: PastProxy(host=url.host)) if url else ()


def _facts(probe: Probe) -> HealthFacts | None:
    return HealthFacts(answers=len(probe.good), **health_figures(round_trips(probe))) if probe.good else None


def _evidence(probe: Probe) -> Evidence:
    """The last answer: status and the headers that identify the server."""
    last = probe.bad if probe.bad is not None else probe.good[-1]
    if isinstance(last, ControlError):
        return Evidence("http", "the last GET /health", {"error": last.kind, "message": last.message})
    telling = ("server", "content-type", FEATURE_HEADER, "x-request-id", "date", "retry-after", "via")
    headers = {name: excerpt(last.headers[name]) for name in telling if name in last.headers}
    return Evidence("http", "the last GET /health", {"status": last.status, "headers": headers})
