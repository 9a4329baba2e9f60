"""Does every route but /health ask for a bearer?"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from preflight.api import CONTROL, Context, Direction, Evidence, Result, check, codes, failed, inconclusive, passed
from preflight.model.control import ControlError
from preflight.proto.http import retry_after_s

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
"""Every route that must ask for a bearer. The bootstrap exchange is not among them: its credential is in the body, and
a token that nobody gave must never be sent there."""

PACE_S = 0.03
"""Between two requests of one kind; the two kinds go side by side."""
ASKED_S = 5.0
ATTEMPTS = 3
MOST_WAITED_S = 5.0
THROTTLED = 429


@dataclass(frozen=True, slots=True)
class Probe:
    """One request that cannot succeed, and how it was answered.

    bearer: `none` or `unknown`. wait_s: what a throttling server asks to wait, seconds.
    """

    method: str
    path: str
    bearer: str
    status: int | None
    detail: str = ""
    wait_s: float = 1.0

    @property
    def decided(self) -> bool:
        """Whether the answer tells about the bearer check: throttling and server errors do not."""
        return self.status is not None and self.status != THROTTLED and self.status < 500

    @property
    def let_through(self) -> bool:
        """401 is the bearer check; any other decided answer came from behind it."""
        return self.decided and self.status != 401


@check(
    "posture.routes",
    title="Every route but /health asks for a bearer",
    subject="control",
    codes=(codes.POSTURE_OPEN, codes.POSTURE_ROUTE_OPEN),
    needs=("control.health",),
    timeout=60,
)
async def posture_routes(ctx: Context) -> AsyncGenerator[Result, None]:
    """Ask each route without a bearer and with an unknown one, with an empty object that no route accepts."""
    yield judge(await measure(ctx))


async def measure(ctx: Context) -> tuple[Probe, ...]:
    """Paced, and one request at a time of each kind: a stranger's production server is not to notice.

    What was throttled is asked again after the time that the server names, all of it together, a few times at most.
    """
    from pydantic import SecretStr  # here, so that naming the check needs no pydantic

    unknown = SecretStr(f"preflight-unknown-{secrets.token_hex(16)}")
    without, with_unknown = await asyncio.gather(_ask_all(ctx, None), _ask_all(ctx, unknown))
    return (*without, *with_unknown)


async def _ask_all(ctx: Context, bearer: "SecretStr | None") -> list[Probe]:
    """Every route by one bearer."""
    asked: dict[tuple[str, str], Probe] = {}
    open_questions = list(ROUTES)
    for attempt in range(ATTEMPTS):
        for method, path in open_questions:
            asked[method, path] = await _ask(ctx, method, path, bearer)
        open_questions = [route for route, probe in asked.items() if probe.status == THROTTLED]
        if not open_questions or attempt == ATTEMPTS - 1:
            break
        await asyncio.sleep(min(MOST_WAITED_S, max(asked[route].wait_s for route in open_questions)))
    return list(asked.values())


async def _ask(ctx: Context, method: str, path: str, bearer: "SecretStr | None") -> Probe:
    name = "unknown" if bearer else "none"
    await asyncio.sleep(PACE_S)
    try:
        body: dict[str, str] | None = {} if method == "POST" else None
        answer = await ctx.net.control.send(method, f"{API}{path}", body, bearer=bearer, timeout_s=ASKED_S)
    except ControlError as error:
        return Probe(method, path, name, None, error.message)
    headers = answer.headers
    wait_s = retry_after_s(headers.get("retry-after"), headers.get("date"), answer.received_unix_s)
    return Probe(method, path, name, answer.status, wait_s=wait_s or 1.0)


def judge(probes: Iterable[Probe]) -> Result:
    """Open altogether, open in places, protected, or undecided."""
    probes = tuple(probes)
    evidence = (
        Evidence("http", "status by route and bearer", {f"{p.method} {p.path} ({p.bearer})": p.status for p in probes}),
    )
    through = [probe for probe in probes if probe.let_through]
    bearers = len({probe.bearer for probe in probes})
    counts = {"routes_asked": len(probes), "routes_let_through": len(through)}
    if through and len(through) == sum(probe.decided for probe in probes):
        return failed(
            codes.POSTURE_OPEN,
            CONTROL,
            Direction.ROUND_TRIP,
            f"none of {len(through)} requests without a known bearer was refused: whoever reaches it rules it",
            remedy="Set VOX_MESH_TOKEN, or a token per role, in the control plane's environment and restart it.",
            measurements=counts,
            evidence=evidence,
        )
    if through:
        names = ", ".join(_named(through))
        return failed(
            codes.POSTURE_ROUTE_OPEN,
            CONTROL,
            Direction.ROUND_TRIP,
            f"answered without a known bearer: {names}",
            remedy="Take the exception for these routes out of the proxy or server in front of the control plane.",
            measurements=counts,
            evidence=evidence,
        )
    undecided = [probe for probe in probes if not probe.decided]
    if undecided:
        first = undecided[0]
        return inconclusive(
            codes.RUN_TIMEOUT,
            CONTROL,
            Direction.ROUND_TRIP,
            f"{len(undecided)} of {len(probes)} routes gave no answer that tells, first {first.method} {first.path}: "
            f"{first.detail or first.status}; ask again when the control plane is calm",
            measurements=counts,
            evidence=evidence,
        )
    return passed(
        CONTROL,
        Direction.ROUND_TRIP,
        f"{len(ROUTES)} routes refuse a request without a bearer"
        + (", and with an unknown one" if bearers > 1 else ""),
        measurements=counts,
        evidence=evidence,
    )


def _named(through: list[Probe]) -> list[str]:
    """Each route once, with how it was answered; which bearer it took for granted only where just one did."""
    by_route: dict[tuple[str, str], list[Probe]] = {}
    for probe in through:
        by_route.setdefault((probe.method, probe.path), []).append(probe)
    return [f"{method} {path} ({probes[0].status}){_which(probes)}" for (method, path), probes in by_route.items()]


def _which(probes: list[Probe]) -> str:
    return " with an unknown bearer" if [probe.bearer for probe in probes] == ["unknown"] else ""
