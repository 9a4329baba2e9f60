"""Does a healthy Populi control plane answer, and how fast?"""

import asyncio
import random
import statistics
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from preflight.api import (
    CONTROL,
    Context,
    Direction,
    Evidence,
    Remedies,
    Result,
    by_hand,
    check,
    codes,
    failed,
    heal,
    look,
    passed,
    warned,
)
from preflight.model.control import ControlError, HttpAnswer, NotHttpError
from preflight.model.facts import HealthFacts
from preflight.model.fix import PastProxy
from preflight.model.path import percentile
from preflight.model.printable import excerpt
from preflight.proto.control import answers
from preflight.proto.control.answers import Finding
from preflight.proto.control.backoff import delay_s
from preflight.proto.control.http import LONGEST_WAIT_S, Proxy, redirect_place, retry_after_s
from preflight.proto.control.populi import FEATURE_HEADER, is_populi, shown
from preflight.proto.control.timeouts import TAIL_PERCENT, conservative
from preflight.proto.control.url import ControlUrl

if TYPE_CHECKING:
    from preflight.api import ControlClient

LEAST_SAMPLES, MOST_SAMPLES = 4, 21
SAMPLING_S = 0.5
"""How long to take more samples than the minimum: twenty for a percentile on a fast path."""
ANSWER_TIMEOUT_S = 5.0
MAX_ATTEMPTS = 6
PATIENCE_S = 12.0
"""How long, in total, to wait for a server that says `later` or drops connections."""

_LATER = (429, 503)


@dataclass(frozen=True, slots=True)
class Probe:
    """Results of a few `GET /health`: good answers, then the bad answer or error that ended the series, if any."""

    good: tuple[HttpAnswer, ...] = ()
    bad: HttpAnswer | ControlError | None = None
    attempts: int = 1


@check(
    "control.health",
    title="A healthy control plane answers in time",
    subject="control",
    codes=(
        *dict.fromkeys(answers.TRANSPORT.values()),
        codes.CONTROL_THROTTLED,
        codes.CONTROL_SLOW,
        codes.HOST_PROXY_ENV,
    ),
    needs=("control.tls",),
    timeout=40,
)
async def control_health(ctx: Context) -> AsyncGenerator[Result, None]:
    """`GET /health` a few times on one connection, as a worker does; if that fails, also without the proxy."""
    client = ctx.net.control
    probe = await measure(client)
    past_proxy = None
    if client.proxy is not None and probe.bad is not None:
        direct = client.direct()
        try:
            past_proxy = await measure(direct)
        finally:
            await direct.aclose()
    url = ctx.settings.control.usable_url
    for result in judge(url, probe, ctx.settings.thresholds.control_rtt_ms, client.proxy, past_proxy):
        yield result


async def measure(client: "ControlClient") -> Probe:
    """Ask until there are enough good answers; repeat only what a repeat can fix, with longer pauses."""
    good: list[HttpAnswer] = []
    attempts, patience = 1, PATIENCE_S
    while _wants_more(good):
        began = time.monotonic()
        outcome = await _ask(client)
        if isinstance(outcome, HttpAnswer) and finding(outcome) is None:
            good.append(outcome)
            continue
        if len(good) >= LEAST_SAMPLES and _says_later(outcome):
            break  # there are enough answers; a percentile is not worth pressing a server that says `later`
        wait = _worth_waiting(outcome, attempts)
        patience -= time.monotonic() - began
        if wait is None or wait > patience or attempts == MAX_ATTEMPTS:
            return Probe(tuple(good), outcome, attempts)
        attempts, patience = attempts + 1, patience - wait
        await asyncio.sleep(wait)
    return Probe(tuple(good), None, attempts)


def _wants_more(good: list[HttpAnswer]) -> bool:
    spent_s = sum(answer.rtt_ms for answer in good) / 1000
    return len(good) < LEAST_SAMPLES or (len(good) < MOST_SAMPLES and spent_s < SAMPLING_S)


async def _ask(client: "ControlClient") -> HttpAnswer | ControlError:
    try:
        return await client.health(timeout_s=ANSWER_TIMEOUT_S)
    except ControlError as error:
        return error


def _worth_waiting(outcome: HttpAnswer | ControlError, attempt: int) -> float | None:
    """Seconds until a repeat may help: `later`, and a server that is restarting; None for anything else."""
    if isinstance(outcome, HttpAnswer):
        if not _says_later(outcome):
            return None
        return delay_s(attempt, _asked_to_wait(outcome), random.random())  # noqa: S311 - jitter
    if outcome.kind not in ("refused", "protocol") or isinstance(outcome, NotHttpError):
        return None
    return delay_s(attempt, None, random.random())  # noqa: S311 - jitter


def _says_later(outcome: HttpAnswer | ControlError) -> bool:
    return isinstance(outcome, HttpAnswer) and outcome.status in _LATER


def _asked_to_wait(answer: HttpAnswer) -> float | None:
    return retry_after_s(answer.headers.get("retry-after"), answer.headers.get("date"), answer.received_unix_s)


def judge(
    url: ControlUrl | None, probe: Probe, slow_ms: float, proxy: Proxy | None = None, past_proxy: Probe | None = None
) -> list[Result]:
    """Judge the health, with a note about a proxy; a proxy that blocks the way is itself the finding."""
    problem = finding(probe.bad, url) if probe.bad is not None else None
    if problem is None:
        return [_good(probe, slow_ms), *([_proxied(url, proxy)] if proxy else [])]
    if proxy is not None and past_proxy is not None and past_proxy.good:
        return [_proxy_in_the_way(problem, url, proxy, probe)]
    return [_bad(problem, probe, f"; without the proxy {proxy.place} it is no better" if proxy else "")]


def finding(outcome: HttpAnswer | ControlError, url: ControlUrl | None = None) -> Finding | None:
    """What is wrong with one outcome of `GET /health`; None if a control plane says that it is healthy."""
    if isinstance(outcome, ControlError):
        found = answers.finding(outcome, url)
        return replace(found, message=f"GET /health: {found.message}")
    status, text = outcome.status, shown(outcome.body, ())
    said = f"GET /health was answered {status}" + (f" {text!r}" if text else "")
    if status == 429:
        wait = _asked_to_wait(outcome)
        more = " or more" if wait == LONGEST_WAIT_S else ""
        asks = f", asking to wait {wait:g} s{more}" if wait is not None else ""
        return Finding(codes.CONTROL_THROTTLED, f"{said}{asks}", answers.MORE_BURST)
    if 300 <= status < 400:
        place = excerpt(redirect_place(outcome.headers.get("location", "")))
        message = f"GET /health was answered {status}, a redirect to {place}; a worker must not send its bearer there"
        sentence = f"Point the control URL at the control plane, not at {place}."
        return Finding(codes.CONTROL_REDIRECTED, message, by_hand(sentence))
    if status >= 500:
        return Finding(codes.CONTROL_UNHEALTHY, said, answers.READ_JOURNAL)
    if status != 200 or outcome.cut or outcome.body.strip() != b"ok" or not is_populi(outcome):
        lacks = "" if is_populi(outcome) else f" without the header {FEATURE_HEADER}"
        server = excerpt(outcome.headers.get("server", "no Server header"))
        remedies = look(f"{answers.look_at(url)}   # a control plane answers: ok")
        return Finding(codes.CONTROL_NOT_POPULI, f"{said}{lacks}: that is another server ({server})", remedies)
    return None


def _good(probe: Probe, slow_ms: float) -> Result:
    rtts = _round_trips(probe)
    median = statistics.median(rtts)
    times = f"{median:.1f} ms (median of {len(rtts)}; {min(rtts):.1f} to {max(rtts):.1f})"
    again = f", after {probe.attempts} attempts" if probe.attempts > 1 else ""
    more = {"attempts": probe.attempts, "facts": _facts(probe), "evidence": (_evidence(probe),)}
    if median < slow_ms:
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
    make = warned if problem.code is codes.CONTROL_THROTTLED else failed
    return make(
        problem.code,
        CONTROL,
        Direction.ROUND_TRIP,
        f"{problem.message}{note}{again}",
        remedies=problem.remedies,
        attempts=probe.attempts,
        facts=_facts(probe),
        evidence=(_evidence(probe),),
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
    )


def _proxy_in_the_way(problem: Finding, url: ControlUrl | None, proxy: Proxy, probe: Probe) -> Result:
    return failed(
        codes.HOST_PROXY_ENV,
        CONTROL,
        Direction.ROUND_TRIP,
        f"the proxy {proxy.place} ({proxy.variable}) is in the way: {problem.message}; "
        "without it the control plane is healthy",
        remedies=_no_proxy(url),
        attempts=probe.attempts,
        evidence=(_evidence(probe),),
    )


def _no_proxy(url: ControlUrl | None) -> Remedies:
    return heal(lambda: PastProxy(host=url.host)) if url else ()


def _round_trips(probe: Probe) -> list[float]:
    """Round trips of answers that did not open a connection, if there are any."""
    return [a.rtt_ms for a in probe.good if not a.connected] or [a.rtt_ms for a in probe.good]


def _facts(probe: Probe) -> HealthFacts | None:
    if not probe.good:
        return None
    rtts = _round_trips(probe)
    advice = conservative(rtts)
    return HealthFacts(
        rtt_ms=round(statistics.median(rtts), 3),
        rtt_min_ms=round(min(rtts), 3),
        rtt_p95_ms=round(percentile(rtts, TAIL_PERCENT), 3),
        rtt_max_ms=round(max(rtts), 3),
        answers=len(probe.good),
        advised_http_timeout_ms=advice.http_timeout_ms,
        advised_heartbeat_s=advice.heartbeat_s,
        advised_max_stale_ms=advice.max_stale_ms,
        advised_lease_ms=advice.lease_ms,
    )


def _evidence(probe: Probe) -> Evidence:
    """The last answer: status and the headers that identify the server."""
    last = probe.bad if probe.bad is not None else probe.good[-1]
    if isinstance(last, ControlError):
        return Evidence("http", "the last GET /health", {"error": last.kind, "message": last.message})
    telling = ("server", "content-type", FEATURE_HEADER, "x-request-id", "date", "retry-after", "via")
    headers = {name: excerpt(last.headers[name]) for name in telling if name in last.headers}
    return Evidence("http", "the last GET /health", {"status": last.status, "headers": headers})
