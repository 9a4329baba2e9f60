"""The vocabulary of a check author: what a check receives, what it yields, and how it is declared.

A check is an async generator that takes a `Context` and yields `Result`s. What the network did is data; an exception
means that the check is broken. The runner owns deadlines, prerequisites, timing and cleanup.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from preflight import codes as codes
from preflight.codes import Code, Severity
from preflight.model import facts as facts
from preflight.model.facts import F, Facts
from preflight.model.measurement import Measurement as Measurement
from preflight.model.peer import CONTROL, NODE, Peer
from preflight.model.remedy import Remedies as Remedies
from preflight.model.remedy import Remedy as Remedy
from preflight.model.remedy import as_text, by_hand, heal, look
from preflight.proto.pmtu.minimum import carries_ipv6, least_mtu
from preflight.proto.way.observation import Observation as Observation
from preflight.proto.way.stations import Station as Station
from preflight.proto.way.stations import request as request

if TYPE_CHECKING:
    from preflight.model.overlay import OverlayState

    # Names of types for the annotations of checks, which import nothing of these layers.
    from preflight.net import Net
    from preflight.net.control.client import ControlClient as ControlClient
    from preflight.net.control.enrolment import EnrolmentSession as EnrolmentSession
    from preflight.net.stamp.path import PathProbes as PathProbes
    from preflight.settings.load import Settings
    from preflight.settings.schema import Thresholds as Thresholds

__all__ = [
    "CONTROL",
    "NODE",
    "Check",
    "CheckFunction",
    "Code",
    "Context",
    "Direction",
    "Evidence",
    "Facts",
    "Measurement",
    "Observation",
    "Peer",
    "Remedies",
    "Remedy",
    "Result",
    "Severity",
    "Station",
    "Status",
    "Subject",
    "When",
    "beside",
    "by_hand",
    "check",
    "codes",
    "facts",
    "failed",
    "for_each_peer",
    "heal",
    "inconclusive",
    "look",
    "passed",
    "request",
    "skipped",
    "warned",
]

T = TypeVar("T")
U = TypeVar("U")

Subject = Literal["node", "peer", "control"]
"""What one result of a check is about; decides which failed prerequisite blocks which result."""


class Status(StrEnum):
    """What came out of a check for one target."""

    PASS = "pass"  # noqa: S105 - a word of the contract, not a credential
    WARN = "warn"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    SKIP = "skip"
    ERROR = "error"


class Direction(StrEnum):
    """forward: node to peer; reverse: peer to node."""

    FORWARD = "forward"
    REVERSE = "reverse"
    ROUND_TRIP = "round-trip"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Something a reader can verify: text or a JSON-ready value in `data`, or a file in `path`. Never a secret."""

    __pydantic_config__ = codes.REVALIDATED

    kind: str
    summary: str
    data: Any = None
    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One verdict. A check fills the first block; the runner fills the second.

    `aspect` distinguishes several verdicts of one check about one target and direction; it becomes the last part of
    `id`. `remedies` say what to do (`heal`, `by_hand`, `look`); without one the report refers to the code's runbook
    page. `remedy` is the same as one text, made from them; given alone it is shown as the next thing to do, for nothing
    says that it heals. `station` is the place on a way that the verdict is about: passed there if it is good, died
    there if it fails. `observations` are what was seen of the peer's ways. `facts` are what other parts of the program
    read, `measurements` what goes into the report: the fields of the facts first, then whatever else was measured.
    """

    __pydantic_config__ = codes.REVALIDATED

    target: str
    direction: Direction
    status: Status
    message: str
    code: Code | None = None
    aspect: str = ""
    remedy: str | None = None
    remedies: Remedies = ()
    facts: Facts | None = None
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()
    station: Station | None = None
    observations: tuple[Observation, ...] = ()
    attempts: int = 1

    check: str = ""
    category: str = ""
    blocked_by: str | None = None
    started_at: datetime | None = None
    duration_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.facts is not None:
            object.__setattr__(self, "measurements", {**self.facts.measurements(), **self.measurements})
        if self.remedies:
            object.__setattr__(self, "remedy", as_text(self.remedies))

    @property
    def id(self) -> str:
        """`check/target/direction`, with the aspect behind it where there is one."""
        parts = [self.check, self.target, self.direction.value]
        return "/".join([*parts, self.aspect] if self.aspect else parts)


def passed(target: str, direction: Direction, message: str, **more: Any) -> Result:
    """A good result; `more` are fields of `Result`."""
    return Result(target=target, direction=direction, status=Status.PASS, message=message, **more)


def failed(code: Code, target: str, direction: Direction, message: str, **more: Any) -> Result:
    """A bad result, under `code`."""
    return Result(target=target, direction=direction, status=Status.FAIL, code=code, message=message, **more)


def warned(code: Code, target: str, direction: Direction, message: str, **more: Any) -> Result:
    """Something to know about that stops nothing."""
    return Result(target=target, direction=direction, status=Status.WARN, code=code, message=message, **more)


def inconclusive(code: Code, target: str, direction: Direction, message: str, **more: Any) -> Result:
    """It could not be decided; `message` says what would decide it."""
    return Result(target=target, direction=direction, status=Status.INCONCLUSIVE, code=code, message=message, **more)


def skipped(code: Code, target: str, direction: Direction, message: str, **more: Any) -> Result:
    """It does not apply here."""
    return Result(target=target, direction=direction, status=Status.SKIP, code=code, message=message, **more)


@dataclass(frozen=True, slots=True)
class Context:
    """What a check may use: read-only values, and the I/O shells bound to this run.

    `peers` holds the peers that the check's prerequisites leave to it. `overlay` is the state read before the first
    check, with the kernel's ways to the peers (None: this node has no overlay); `net.overlay()` reads it again, and
    `net.with_routes` asks about more addresses. `handed_over` are the facts that the check
    declares to read, by target.
    """

    settings: "Settings"
    peers: tuple[Peer, ...]
    overlay: "OverlayState | None"
    net: "Net"
    handed_over: Mapping[str, tuple[Facts, ...]] = field(default_factory=dict)

    def facts(self, kind: type[F], target: str) -> tuple[F, ...]:
        """What earlier checks of this run measured of a target; nothing if none did, or if `reads` does not name it."""
        return tuple(each for each in self.handed_over.get(target, ()) if isinstance(each, kind))

    @property
    def tunnels(self) -> "tuple[OverlayState, ...]":
        """The tunnels with this run's peers, and that with the control plane (of the same overlay, or its end)."""
        if self.overlay is None:
            return ()
        url = self.settings.control.usable_url
        control = url.host if url is not None and url.address is not None else None
        return self.overlay.used_for([peer.address for peer in self.peers], control)

    def tunnel(self, address: str) -> str | None:
        """The interface of the tunnel that has an address; None without an overlay."""
        return self.overlay.tunnel_for(address).interface if self.overlay is not None else None

    def tunnel_mtu(self, address: str) -> int | None:
        """The MTU of the tunnel that the kernel's route to an address ends at, bytes; None if it leads elsewhere."""
        if self.overlay is None or address not in self.overlay.routes:
            return None
        ends = map(self.overlay.at, self.overlay.routes[address].devices)
        return next((tunnel.mtu for tunnel in ends if tunnel is not None), None)

    def least_mtu(self, address: str, *, fits: bool) -> int:
        """What the path to a peer must carry, bytes. fits: it carries all that the sender's interface does."""
        thresholds = self.settings.thresholds
        if self.overlay is None:
            return thresholds.minimum_mtu
        return least_mtu(thresholds.minimum_mtu, self.ipv6(self.overlay.tunnel_for(address), [address]), fits=fits)

    def ipv6(self, tunnel: "OverlayState", members: Iterable[str]) -> bool | None:
        """Whether a tunnel needs what IPv6 needs: there is some inside, or the settings ask for it; None: not known."""
        if "minimum_mtu" in self.settings.thresholds.model_fields_set:
            return True
        return carries_ipv6(tunnel, members)

    @property
    def url_source(self) -> str | None:
        """Where the control URL comes from: an option, a variable, or a settings file by its absolute path."""
        source, file = self.settings.control_url_source, self.settings.source
        return str(file.absolute()) if file is not None and source == str(file) else source

    @property
    def has_control(self) -> bool:
        """Whether this node is meant to have a control plane, so that a missing URL is a fault.

        A URL, anything else of the settings' `control` or of its variables, a token, or an enrolment that was asked
        for. An id and labels are not enough: a node of an overlay without Populi may have them.
        """
        settings, secrets = self.settings, self.settings.secrets
        return (
            any(value is not None for _, value in settings.control)
            or not (settings.enrolment is None and settings.unread_url is None)
            or any((secrets.token, secrets.bearers, secrets.submitter_token, secrets.only_for_workers))
        )


CheckFunction = Callable[[Context], AsyncGenerator[Result, None]]

When = Literal["always", "trouble"]
"""trouble: only for targets about which a check that it needs or comes after has found something that is not good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One entry of the catalogue.

    needs: ids of checks whose failure for the same target makes this one pointless; they run whenever it runs.
    after: ids of checks that run first if they run at all. Their failure does not stop this one.
    when: see `When`; a target without trouble gets a skip. It runs if none of the checks before it is in the run.
    reads: classes of facts that it takes from other checks (`Context.facts`). All checks that give them run first, if
    they run at all.
    measures: it loads the path, so it never runs in parallel with another one that does.
    timeout: seconds after which the runner ends it; with `timeout_per_peer` more for each peer that is left to it.
    privileges: names such as `net_raw` without which some of its results stay inconclusive.
    module: the module that declares it. origin: the distribution that brings it.
    """

    __pydantic_config__ = codes.REVALIDATED

    id: str
    title: str
    category: str
    subject: Subject
    codes: tuple[Code, ...]
    function: CheckFunction
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    when: When = "always"
    reads: tuple[type[Facts], ...] = ()
    measures: bool = False
    timeout: float = 30.0
    timeout_per_peer: float = 0.0
    privileges: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    doc: str = ""
    module: str = ""
    origin: str = ""


def check(
    id: str,
    *,
    title: str,
    subject: Subject,
    codes: tuple[Code, ...],
    category: str | None = None,
    needs: tuple[str, ...] = (),
    after: tuple[str, ...] = (),
    when: When = "always",
    reads: tuple[type[Facts], ...] = (),
    measures: bool = False,
    timeout: float = 30.0,
    timeout_per_peer: float = 0.0,
    privileges: tuple[str, ...] = (),
    tags: tuple[str, ...] = (),
) -> Callable[[CheckFunction], Check]:
    """Declare a check: the decorated name becomes its `Check`. `category` defaults to the area of `id`."""
    return lambda function: Check(
        id=id,
        title=title,
        category=category or id.partition(".")[0],
        subject=subject,
        codes=codes,
        function=function,
        needs=needs,
        after=after,
        when=when,
        reads=reads,
        measures=measures,
        timeout=timeout,
        timeout_per_peer=timeout_per_peer,
        privileges=privileges,
        tags=tags,
        doc=(function.__doc__ or "").strip(),
        module=function.__module__,
    )


SILENCE_S = 0.4
"""After this long without an answer further questions go out in addition to the first, which may still be answered."""


async def beside(
    first: Coroutine[Any, Any, T],
    others: Callable[[], Coroutine[Any, Any, U]],
    *,
    enough: Callable[[T], bool],
    after_s: float = SILENCE_S,
) -> tuple[T, U | None]:
    """What a question gave, and what others gave that were asked in addition once it was silent for `after_s`.

    enough: whether the first answer makes the others needless; those under way are then ended.
    """
    asking = asyncio.create_task(first)
    further: asyncio.Task[U] | None = None
    try:
        done, _ = await asyncio.wait((asking,), timeout=after_s)
        if not done or not enough(asking.result()):
            further = asyncio.create_task(others())
        found = await asking
        return found, None if further is None or enough(found) else await further
    finally:
        tasks = [task for task in (asking, further) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def for_each_peer(
    peers: Sequence[Peer], measure: Callable[[Peer], Awaitable[T]], *, at_once: int, gap_s: float = 0.0
) -> AsyncGenerator[tuple[Peer, T], None]:
    """Measure peers in parallel; yield each with its result as soon as it is ready.

    at_once: how many at one time. gap_s: seconds between two starts, so that a thousand peers are not a burst. Closing
    the generator early ends the running measurements.
    """
    gate, now = asyncio.Semaphore(at_once), asyncio.get_running_loop().time
    next_start = now()

    async def bounded(peer: Peer) -> tuple[Peer, T]:
        nonlocal next_start
        async with gate:
            next_start = (start := max(next_start, now())) + gap_s
            await asyncio.sleep(start - now())
            return peer, await measure(peer)

    tasks = [asyncio.create_task(bounded(peer)) for peer in peers]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
