"""Runs a plan: prerequisites, facts for their readers, deadlines; a crash becomes a result, never a bad network."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic, perf_counter

from preflight.api import (
    CONTROL,
    NODE,
    Check,
    Context,
    Direction,
    Evidence,
    Facts,
    Result,
    Status,
    by_hand,
    codes,
)
from preflight.engine.alike import folded, without_proofs
from preflight.engine.contract import breakage, kept
from preflight.engine.plan import Plan
from preflight.engine.prerequisites import stopped, stops_all
from preflight.model import event
from preflight.model.readings import members
from preflight.net.turns import Turns
from preflight.proto.tunnel.kept_file import with_file

CLEANUP_SECONDS = 15.0
"""How long a check that was ended may take to clean up what it did (an enrolment leaves again)."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A check has started or goes on (`results` is None), or has finished.

    peers: how many it is about, 0 if about none; reported: for how many targets it has a result so far.
    """

    check: Check
    results: tuple[Result, ...] | None
    duration_ms: float = 0.0
    peers: int = 0
    reported: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """All results in the plan's order; `interrupted` when the user ended the run."""

    results: tuple[Result, ...]
    interrupted: bool = False


ProgressListener = Callable[[Progress], None]


class Runner:
    """One run of one plan. Setting `interrupted`, as a signal handler may, ends it; what has finished is kept."""

    def __init__(
        self,
        plan: Plan,
        context: Context,
        listener: ProgressListener,
        *,
        interrupted: asyncio.Event,
        timeout_s: float | None = None,
        timeline: event.Listener | None = None,
    ) -> None:
        self._plan = plan
        self._context = context
        self._listener = listener
        self._interrupted = interrupted
        self._timeout_s = timeout_s
        self._timeline = timeline
        self._tell = event.telling(timeline, "engine.runner")
        self._results: dict[str, tuple[Result, ...]] = {}
        self._path = asyncio.Lock()

    async def run(self) -> Outcome:
        """Run all checks of the plan and return every result."""
        by_id = {check.id: check for check in self._plan.checks}
        self._context.net.planned = frozenset(by_id)
        sorter = self._plan.sorter()
        sorter.prepare()
        running: dict[asyncio.Task[None], Check] = {}
        stop = asyncio.create_task(self._until_stopped())
        self._tell(monotonic(), "run-started", checks=len(by_id), timeout_s=self._timeout_s)
        try:
            while sorter.is_active() and not stop.done():
                for id in sorter.get_ready():
                    running[asyncio.create_task(self._run_check(by_id[id], stop))] = by_id[id]
                done, _ = await asyncio.wait([*running, stop], return_when=asyncio.FIRST_COMPLETED)
                for task in done - {stop}:
                    task.result()
                    sorter.done(running.pop(task).id)
            await asyncio.gather(*running)  # each sees the stop for itself, and cleans up for a bounded time
        finally:
            stop.cancel()
        for check in self._plan.checks:
            if check.id not in self._results:
                self._finish(check, (), self._ended(check, self._context, ()), datetime.now(UTC), 0.0)
        ordered = [result for check in self._plan.checks for result in self._results[check.id]]
        self._tell(monotonic(), "run-ended", results=len(ordered), interrupted=self._interrupted.is_set())
        return Outcome(tuple(ordered), self._interrupted.is_set())

    async def _until_stopped(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._interrupted.wait()
            self._tell(monotonic(), "interrupted")
        except TimeoutError:
            self._tell(monotonic(), "time-limit-reached", timeout_s=self._timeout_s)

    async def _run_check(self, check: Check, stop: asyncio.Task[None]) -> None:
        """Run one check within its time, and keep its results even if it does not complete."""
        blocked, context = self._admit(check)
        if check.subject == "control" and not context.has_control:
            blocked = (_without_control(),)
        if not context.peers and check.subject == "peer" and not blocked:
            blocked = (_without_peers(),)
        if blocked and not (check.subject == "peer" and context.peers):
            self._listener(Progress(check, None))
            self._finish(check, (), blocked, datetime.now(UTC), 0.0)
            return
        async with self._path if check.measures else nullcontext(), context.net.turns.shared():
            if not stop.done():
                await self._watch(check, context, blocked, stop)

    async def _watch(
        self, check: Check, context: Context, blocked: tuple[Result, ...], stop: asyncio.Task[None]
    ) -> None:
        """Let a check work until it ends, its time is up or the run is stopped; then it may clean up.

        One that does not end even then is left behind: nobody waits for it any more.
        """
        self._listener(Progress(check, None, peers=_peers(check, context)))
        said: list[Result] = []
        allowed_s = check.timeout + check.timeout_per_peer * len(context.peers)
        tell = self._tell_about(check)
        admitted = [peer.target for peer in context.peers] if check.subject == "peer" else [check.subject]
        tell(
            monotonic(), "check-started", targets=admitted, blocked=[skip.target for skip in blocked], limit_s=allowed_s
        )
        started, began = datetime.now(UTC), perf_counter()
        work = asyncio.create_task(self._collect(check, context, said))
        await self._until_over(work, stop, context.net.turns, allowed_s)
        extra: tuple[Result, ...] = ()
        cancelled, stopped = not work.done(), stop.done()
        if cancelled:
            tell(monotonic(), "check-cancelled", why="run-stopped" if stopped else "deadline")
            work.cancel()
            await asyncio.wait((work,), timeout=CLEANUP_SECONDS)
            message = f"not finished within its {allowed_s:g} s"
            extra = (
                self._ended(check, context, said)
                if stopped
                else self._missing(check, context, said, codes.RUN_TIMEOUT, message)
            )
        broke = work.result() if work.done() else None
        if broke is not None and not (cancelled and isinstance(broke, asyncio.CancelledError)):
            extra = (*extra, _broken(check, broke))
        self._finish(check, tuple(said), (*extra, *blocked), started, (perf_counter() - began) * 1000)

    async def _until_over(
        self, work: asyncio.Task[BaseException | None], stop: asyncio.Task[None], turns: Turns, allowed_s: float
    ) -> None:
        """Wait for a check, a stop, or the end of its time, in which waiting for a turn alone does not count."""
        ends, waited_s = monotonic() + allowed_s, turns.waited_s
        while not (work.done() or stop.done()) and (left_s := ends + turns.waited_s - waited_s - monotonic()) > 0:
            await asyncio.wait((work, stop), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)

    async def _collect(self, check: Check, context: Context, said: list[Result]) -> BaseException | None:
        """Gather what a check gives, and return what it raised: a bug of the check, and a result."""
        known: set[tuple[str, str, str]] = set()
        targets: set[str] = set()
        try:
            async with aclosing(check.function(context)) as results:
                async for result in results:
                    if check.id in self._results:
                        return None  # it was left behind
                    said.append(kept(check, result, known))
                    self._tell_result(check, said[-1])
                    targets.add(result.target)
                    self._listener(Progress(check, None, peers=_peers(check, context), reported=len(targets)))
        except BaseException as error:
            return error
        return None

    def _finish(
        self, check: Check, said: Iterable[Result], extra: Iterable[Result], started: datetime, duration_ms: float
    ) -> None:
        extra = tuple(extra)
        for result in extra:
            self._tell_result(check, result)
        tunnels = self._context.tunnels  # it takes as long as there are peers
        stamped = tuple(
            replace(
                result,
                check=check.id,
                category=check.category,
                remedies=with_file(result.remedies, tunnels),
                started_at=result.started_at or started,
                duration_ms=result.duration_ms or round(duration_ms, 3),
            )
            for result in without_proofs(folded(self._in_order((*said, *extra))))
        )
        self._results[check.id] = stamped
        self._tell_about(check)(monotonic(), "check-ended", results=len(stamped), duration_ms=duration_ms)
        self._listener(Progress(check, stamped, duration_ms))

    def _in_order(self, results: tuple[Result, ...]) -> list[Result]:
        """Peers as they are planned, not as they happened to end: two runs of one fault give one order of causes."""
        places = {peer.target: place for place, peer in enumerate(self._context.peers)}
        return sorted(results, key=lambda result: places.get(result.target, -1))

    def _tell_about(self, check: Check) -> event.Tell:
        return event.telling(self._timeline, "engine.runner", check.id)

    def _tell_result(self, check: Check, result: Result) -> None:
        self._tell_about(check)(
            monotonic(),
            "result",
            target=result.target,
            direction=result.direction,
            aspect=result.aspect,
            status=result.status,
            code=result.code.slug if result.code else None,
            blocked_by=result.blocked_by,
        )

    def _admit(self, check: Check) -> tuple[tuple[Result, ...], Context]:
        """The skips of targets with a failed prerequisite or without trouble, and the context for all others."""
        failures = [result for need in self._plan.needs[check.id] for result in self._results[need] if _blocks(result)]
        by_target = stopped(failures)
        targets = self._targets(check, self._context)
        if (whole := stops_all(check, failures, self._context.peers)) is not None:
            by_target = dict.fromkeys(targets, whole)
        skips = {target: _blocked(target, by_target[target]) for target in targets if target in by_target}
        for target in self._without_trouble(check, targets):
            skips.setdefault(target, _without_trouble(target, self._first(check)))
        left_out = by_target.keys() | skips.keys()
        peers = tuple(peer for peer in self._context.peers if peer.target not in left_out)
        return tuple(skips.values()), replace(self._context, peers=peers, handed_over=self._handed_over(check))

    def _first(self, check: Check) -> list[str]:
        """Ids of the checks of the plan whose trouble counts for this one: what it needs and what it comes after."""
        return [id for id in self._plan.before[check.id] if id in (*check.needs, *check.after)]

    def _without_trouble(self, check: Check, targets: Iterable[str]) -> list[str]:
        """The targets about which all is well, for a check that runs only in case of trouble.

        What is bad about this node or the control plane concerns every peer; what is bad about any peer, this node.
        """
        first = self._first(check)
        if check.when != "trouble" or not first:
            return []
        bad = [result for id in first for result in self._results[id] if _is_trouble(result)]
        troubled = {target for result in bad for target in members(result.facts) or (result.target,)}
        if troubled and (check.subject != "peer" or troubled & {NODE, CONTROL}):
            return []
        return [target for target in targets if target not in troubled]

    def _handed_over(self, check: Check) -> dict[str, tuple[Facts, ...]]:
        """The facts that a check declares to read, by target, of all checks before it."""
        by_target: dict[str, tuple[Facts, ...]] = {}
        if not check.reads:
            return by_target
        for id in self._plan.before[check.id]:
            for result in self._results[id]:
                if isinstance(result.facts, check.reads):
                    by_target[result.target] = (*by_target.get(result.target, ()), result.facts)
        return by_target

    def _targets(self, check: Check, context: Context) -> list[str]:
        if check.subject == "peer":
            return [peer.target for peer in context.peers] or [NODE]
        return [check.subject]

    def _ended(self, check: Check, context: Context, said: Iterable[Result]) -> tuple[Result, ...]:
        if self._interrupted.is_set():
            return self._missing(check, context, said, codes.RUN_INTERRUPTED, "ended by the user")
        message = "the time limit of the run came first"
        return self._missing(check, context, said, codes.RUN_TIMEOUT, message)

    def _missing(
        self, check: Check, context: Context, said: Iterable[Result], code: codes.Code, message: str
    ) -> tuple[Result, ...]:
        """A result for every target that the check did not come to."""
        with_result = {result.target for result in said}
        return tuple(
            Result(
                target=target,
                direction=_direction(check),
                status=Status.INCONCLUSIVE,
                code=code,
                message=message,
                aspect=code.slug.partition(".")[2],
            )
            for target in self._targets(check, context)
            # A check about one subject gives several results: having given some, it is still unfinished.
            if target not in with_result or check.subject != "peer"
        )


def _peers(check: Check, context: Context) -> int:
    return len(context.peers) if check.subject == "peer" else 0


def _blocks(result: Result) -> bool:
    return result.status in (Status.FAIL, Status.ERROR) or result.blocked_by is not None


def _is_trouble(result: Result) -> bool:
    """Whether a result is anything but good: what was blocked could not be found to be good either."""
    return result.status not in (Status.PASS, Status.SKIP) or result.blocked_by is not None


def _without_trouble(target: str, first: Iterable[str]) -> Result:
    return Result(
        target=target,
        direction=Direction.LOCAL,
        status=Status.SKIP,
        code=codes.RUN_NOT_APPLICABLE,
        message=f"it runs only in case of trouble, and {', '.join(first)} found none",
    )


def _blocked(target: str, by: Result) -> Result:
    root = by.blocked_by or by.id
    return Result(
        target=target,
        direction=Direction.LOCAL,
        status=Status.SKIP,
        code=codes.RUN_BLOCKED,
        message=f"{root} did not pass",
        blocked_by=root,
    )


def _without_peers() -> Result:
    return Result(
        target=NODE,
        direction=Direction.LOCAL,
        status=Status.INCONCLUSIVE,
        code=codes.RUN_NEEDS_PEERS,
        message="no peer is given and none was detected, so nothing could be measured",
        remedies=by_hand("preflight all --peer ADDRESS=NAME"),
    )


def _without_control() -> Result:
    return Result(
        target=CONTROL,
        direction=Direction.LOCAL,
        status=Status.SKIP,
        code=codes.RUN_NOT_APPLICABLE,
        message="no control plane is configured for this node",
    )


def _direction(check: Check) -> Direction:
    return Direction.LOCAL if check.subject == "node" else Direction.ROUND_TRIP


def _broken(check: Check, error: BaseException) -> Result:
    """What a check raised, as a result."""
    broke = breakage(error)
    return Result(
        target={"node": NODE, "control": CONTROL}.get(check.subject, NODE),
        direction=_direction(check),
        status=Status.ERROR,
        code=codes.RUN_CHECK_ERROR,
        aspect="error",
        message=f"the check {check.id} ({check.origin or 'unknown origin'}) broke: {broke}",
        evidence=(Evidence("traceback", "innermost last", broke.frames),),
    )
