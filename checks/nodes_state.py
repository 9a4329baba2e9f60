"""Is this node's cluster in order: seen recently, in service, one version, one address each?"""

import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

from preflight.api import (
    CONTROL,
    Code,
    Context,
    Direction,
    Remedies,
    Result,
    by_hand,
    check,
    codes,
    failed,
    heal,
    inconclusive,
    look,
    passed,
    request,
    skipped,
    warned,
)
from preflight.model.control import ControlError, HttpAnswer, NodeRecord
from preflight.model.facts import NodeAgeFacts
from preflight.model.fix import BearerFromWorkerToken
from preflight.model.host_port import bracketed
from preflight.model.printable import excerpt, number_of
from preflight.proto.control.answers import FINDINGS, UNAUTHORIZED, finding
from preflight.proto.control.clock import clock_offset
from preflight.proto.control.gateways import passed_through
from preflight.proto.control.http import END_OF_YEAR_9999_S
from preflight.proto.control.several import TEST_NODES, alternating, members
from preflight.proto.control.token_finding import ONE_CONTROL_PLANE, SEVERAL, better_bearer
from preflight.proto.control.url import ControlUrl

if TYPE_CHECKING:
    from preflight.api import ControlClient

CLOCK_TIMEOUT_S = 5.0
FUTURE_MS = 86_400_000
NAMES_SHOWN = 5
NAME_SHOWN = 64
LONGEST_PLACE = 280
"""A host name has 253 characters at most."""
_STATIONS = {
    codes.ENROLL_UNAUTHORIZED: request("bearer"),
    codes.ENROLL_FORBIDDEN: request("bearer"),
    codes.CONTROL_BAD_ANSWER: request("answer"),
}


@dataclass(frozen=True, slots=True)
class Registry:
    """The list, and the control plane's clock when it was read: at least `now_ms`, Unix milliseconds."""

    nodes: tuple[NodeRecord, ...]
    now_ms: float


@check(
    "nodes.state",
    title="Nodes of the cluster are seen, in service and of one version",
    subject="control",
    codes=(
        codes.NODES_STALE,
        codes.NODES_QUARANTINED,
        codes.NODES_DRAINING,
        codes.NODES_VERSION_SKEW,
        codes.NODES_DUPLICATE_ADDRESS,
        codes.NODES_SCOPE_MIXED,
        *FINDINGS,
    ),
    needs=("control.api", "enroll.bearer"),
    timeout=40,
)
async def nodes_state(ctx: Context) -> AsyncGenerator[Result, None]:
    """Read the list of nodes; it changes nothing. Quarantine and drain are findings for this node's own id."""
    settings = ctx.settings
    token, enrolment = settings.secrets.token, settings.enrolment
    if settings.secrets.once is not None:
        message = "the bearer is a JWT that is accepted once, so it was not used up for the list of nodes"
        yield skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.ROUND_TRIP, message)
        return
    outcome = await measure(ctx.net.control)
    if isinstance(outcome, ControlError):
        refused = outcome.status == UNAUTHORIZED and outcome.by_control_plane and token is not None
        hidden = await ctx.net.other_bearer.accepted() if refused else None
        yield judge_refusal(
            outcome,
            settings.control.usable_url,
            has_token=token is not None,
            enrolling=enrolment is not None and (enrolment.brings_token or settings.secrets.only_for_workers is None),
            only_for_workers=settings.secrets.only_for_workers,
            hidden=better_bearer(hidden) if hidden is not None else None,
        )
        return
    several = await _several(ctx)
    if several:
        yield judge_several(several)
        return
    enrolling = settings.enrolment is not None
    url, stale_ms = settings.control.usable_url, settings.thresholds.stale_ms
    for result in judge(outcome, settings.node.id, stale_ms, enrolling=enrolling, url=url):
        yield result


async def _several(ctx: Context) -> Collection[frozenset[str]]:
    """The lists that alternate. Only something in front can ask several control planes, so it is asked only then."""
    if not any(passed_through(answer) for answer in ctx.net.control.healths()):
        return ()
    first = await ctx.net.lists_of_nodes()
    if len({members(each) for each in first}) < 2:
        return ()
    return alternating(first, await ctx.net.lists_of_nodes())


async def measure(client: "ControlClient") -> Registry | ControlError:
    """The list and the server's time: `last_seen_unix_ms` is by its clock, which may differ from this node's."""
    answers: Sequence[HttpAnswer] = ()
    try:
        answers = [await client.health(timeout_s=CLOCK_TIMEOUT_S, recall="any")]
        listed = await client.nodes(patient=True, recall="any")
    except ControlError as error:
        return error
    offset = clock_offset(answers)
    return Registry(listed.nodes, (time.time() + (offset.low_s if offset else 0.0)) * 1000)


def judge_several(lists: Collection[frozenset[str]]) -> Result:
    """Two lists that come in turn."""
    one, other = sorted(lists, key=len)[-1], sorted(lists, key=len)[0]
    missing = ", ".join(excerpt(node, NAME_SHOWN) for node in sorted(one - other)[:NAMES_SHOWN])
    message = (
        f"the list of nodes has {missing} in some answers and not in others: {SEVERAL} answer at this URL, each with "
        "its own nodes"
    )
    where = (CONTROL, Direction.ROUND_TRIP)
    fields = {"problem": SEVERAL, "nodes": len(one)}
    station = request("server")
    return failed(
        codes.CONTROL_BAD_ANSWER, *where, message, remedies=ONE_CONTROL_PLANE, station=station, measurements=fields
    )


def judge_refusal(
    error: ControlError,
    url: ControlUrl | None,
    *,
    has_token: bool,
    enrolling: bool,
    only_for_workers: str | None = None,
    hidden: tuple[str, Remedies] | None = None,
) -> Result:
    """An unreadable list is a finding, but without a token it was expected.

    enrolling: the credential of an enrolment in this run is not used yet. only_for_workers: the variable of a token
    that no worker sends, where there is no other. hidden: what to say and to do about a better one in another place.
    """
    where = (CONTROL, Direction.ROUND_TRIP)
    found = finding(error, url)
    if found.code is codes.ENROLL_UNAUTHORIZED and not has_token:
        message = "the control plane lists its nodes for members only, and this node has no token"
        if enrolling:
            return skipped(codes.RUN_NOT_APPLICABLE, *where, f"{message} yet: it enrols in this run")
        if only_for_workers is not None:
            return _not_sent(only_for_workers)
        return inconclusive(codes.RUN_NEEDS_CREDENTIALS, *where, message, remedies=found.remedies)
    if hidden is not None:
        found = replace(found, message=error.message + hidden[0], remedies=hidden[1])
    message = f"the list of nodes could not be read: {found.message}"
    make = inconclusive if found.code is codes.CONTROL_THROTTLED else failed
    code = codes.RUN_NO_ANSWER if found.code is codes.CONTROL_THROTTLED else found.code
    decided = found.decided.measurements()
    decided |= {"http_status": error.status} if error.status is not None else {}
    station = _STATIONS.get(code) or request(found.station)
    return make(code, *where, message, remedies=found.remedies, station=station, measurements=decided)


def _not_sent(variable: str) -> Result:
    return failed(
        codes.ENROLL_UNAUTHORIZED,
        CONTROL,
        Direction.ROUND_TRIP,
        f"this node's only token is in {variable}, which workers do not send: they send VOX_MESH_TOKEN alone, so their "
        "requests have no bearer and are refused with 401",
        station=request("bearer"),
        remedies=heal(BearerFromWorkerToken, lasting="VOX_MESH_TOKEN in the environment of the worker's unit"),
        measurements={"variable": variable, "http_status": 401},
    )


def judge(
    registry: Registry,
    own_id: str | None,
    stale_ms: float,
    *,
    enrolling: bool = False,
    url: ControlUrl | None = None,
) -> list[Result]:
    """One result for each problem, or one that says that there is none.

    enrolling: `own_id` may be a node that preflight joined a moment ago, with preflight's version. url: of the control
    plane, which real workers announce as their address.
    """
    stale: list[NodeRecord] = []
    alive: list[NodeRecord] = []
    for node in registry.nodes:
        (stale if registry.now_ms - node.last_seen_unix_ms > stale_ms else alive).append(node)
    own = next((node for node in registry.nodes if node.id == own_id), None)
    workers = [node for node in alive if not node.id.startswith(TEST_NODES) and not (enrolling and node.id == own_id)]
    found = [
        *_judge_future(registry),
        *_judge_ages(registry, stale, stale_ms),
        *(_judge_own(registry, own) if own else []),
        *_judge_versions(registry, workers),
        *_judge_addresses(registry, workers, url),
        *_judge_scopes(registry, workers),
    ]
    listed = number_of("nodes", len(registry.nodes))
    seen = f"the list has {listed}, all seen within {stale_ms / 1000:g} s"
    message = seen if registry.nodes else "the list of nodes is empty: no node has joined, or all have left"
    good = passed(CONTROL, Direction.ROUND_TRIP, message, measurements={"nodes": len(registry.nodes)})
    return found or [good]


def _judge_ages(registry: Registry, stale: Sequence[NodeRecord], stale_ms: float) -> list[Result]:
    if not stale:
        return []
    oldest_s = max(registry.now_ms - node.last_seen_unix_ms for node in stale) / 1000
    have = "has" if len(stale) == 1 else "have"
    message = (
        f"{len(stale)} of {number_of('nodes', len(registry.nodes))} {have} not been seen for more than "
        f"{stale_ms / 1000:g} s, the longest for {oldest_s:.0f} s: {_names(stale)}"
    )
    remedies = look(
        f"See on {_name(stale[0])} whether its worker is running and can reach the control plane.", where="peer"
    )
    found = _out_of_order(codes.NODES_STALE, message, remedies, registry, len(stale), stale)
    ages = NodeAgeFacts(oldest_age_ms=round(oldest_s * 1000), stale_after_ms=round(stale_ms))
    return [replace(found, facts=ages)]


def _judge_future(registry: Registry) -> list[Result]:
    """The control plane sets the time when a node was last seen, so a time ahead of that clock is wrong."""
    ahead = [node for node in registry.nodes if node.last_seen_unix_ms - registry.now_ms > FUTURE_MS]
    if not ahead:
        return []
    were = "was" if len(ahead) == 1 else "were"
    message = (
        f"{len(ahead)} of {number_of('nodes', len(registry.nodes))} {were} last seen more than a day after now, by the "
        f"control plane's own clock, so it is not known whether they are up: {_names(ahead)}"
    )
    line = "sqlite3 DATABASE .dump   # on the control host: where do these times come from?"
    remedies = look(line, where="control host")
    return [_out_of_order(codes.CONTROL_BAD_ANSWER, message, remedies, registry, len(ahead), ahead)]


def _judge_own(registry: Registry, own: NodeRecord) -> list[Result]:
    found, name = [], _name(own)
    if own.quarantined:
        message = (
            f"this node, {name}, is quarantined: it gets no mail and no lease until an administrator lifts the "
            "quarantine"
        )
        sentence = f"Ask who quarantined {name} and why, before you lift it by POST /v1/populi/admin/quarantine."
        remedies = look(sentence, where="control host")
        found.append(_out_of_order(codes.NODES_QUARANTINED, message, remedies, registry, 1, [own]))
    if own.draining:
        message = f"this node, {name}, is draining: it gets no new work{_until(own)}"
        sentence = f"End the maintenance of {name} by POST /v1/populi/admin/maintenance when the work on it is done."
        remedies = by_hand(sentence, where="control host")
        found.append(_out_of_order(codes.NODES_DRAINING, message, remedies, registry, 1, [own]))
    return found


def _judge_versions(registry: Registry, workers: Sequence[NodeRecord]) -> list[Result]:
    counts = sorted(Counter(node.version for node in workers).items())
    if len(counts) < 2:
        return []
    newest = max((version for version, _ in counts), key=_as_version)
    older = [node for node in workers if node.version != newest]
    shown = ", ".join(
        f"{excerpt(version, NAME_SHOWN)} on {number_of('nodes', count)}" for version, count in counts[:NAMES_SHOWN]
    )
    more = ", …" if len(counts) > NAMES_SHOWN else ""
    message = f"the nodes run {len(counts)} versions: {shown}{more}; older than the newest: {_names(older)}"
    sentence = f"Bring {_names(older)} to version {excerpt(newest, NAME_SHOWN)}; drain each one while you upgrade it."
    remedies = by_hand(sentence, where="peer")
    return [_out_of_order(codes.NODES_VERSION_SKEW, message, remedies, registry, len(counts), older)]


def _as_version(text: str) -> tuple[tuple[int, str], ...]:
    """Its parts in an order in which 0.10 is newer than 0.9."""
    parts = re.split(r"[^0-9A-Za-z]+", text[:NAME_SHOWN])
    return tuple((int(part), "") if part.isascii() and part.isdecimal() else (-1, part) for part in parts)


def _judge_scopes(registry: Registry, workers: Sequence[NodeRecord]) -> list[Result]:
    """Nodes of one control plane belong to one cluster: the nodes that carry another scope id than most, or none."""
    counts = Counter(node.scope_id for node in workers)
    if len(counts) < 2:
        return []
    usual = max(counts, key=lambda scope: (counts[scope], scope is not None, scope or ""))
    others = [node for node in workers if node.scope_id != usual]
    shown = ", ".join(f"{_name(node)} has {_scope(node.scope_id)}" for node in others[:NAMES_SHOWN])
    more = f", and {len(others) - NAMES_SHOWN} more" if len(others) > NAMES_SHOWN else ""
    most = "most have" if counts[usual] * 2 > len(workers) else _number_with(counts[usual])
    message = f"the nodes carry {len(counts)} scope ids: {most} {_scope(usual)}, but {shown}{more}"
    sentence = f"Set VOX_MESH_SCOPE_ID of {_names(others)} to that of this cluster, or let them join their own."
    remedies = by_hand(sentence, where="peer")
    return [_out_of_order(codes.NODES_SCOPE_MIXED, message, remedies, registry, len(others), others)]


def _number_with(number: int) -> str:
    return f"{number_of('nodes', number)} {'has' if number == 1 else 'have'}"


def _scope(scope_id: str | None) -> str:
    """In quotes: the comparison is exact, and a blank at the end counts."""
    return f"{excerpt(scope_id, NAME_SHOWN)!r}" if scope_id is not None else "none"


def _judge_addresses(registry: Registry, workers: Sequence[NodeRecord], url: ControlUrl | None) -> list[Result]:
    """Two live ids with one address and port: one of them is not where it says.

    Real workers announce the control URL, which is not the address of any of them. What is a URL is the control
    plane's, by this name of its host or by another one.
    """
    owners: dict[str, list[NodeRecord]] = {}
    control = {f"{bracketed(host)}:{url.port}".lower() for host in url.hosts} if url is not None else set()
    for node in workers:
        place = _announced(node)
        if place is not None and "://" not in place and place not in control:
            owners.setdefault(place, []).append(node)
    doubles = {place: nodes for place, nodes in owners.items() if len(nodes) > 1}
    if not doubles:
        return []
    place, nodes = next(iter(doubles.items()))
    more = f", and {len(doubles) - 1} more addresses" if len(doubles) > 1 else ""
    message = f"{excerpt(place, NAME_SHOWN)} is announced by {len(nodes)} nodes: {_names(nodes)}{more}"
    remedies = look(f"See which of {_names(nodes)} listens at that address, and correct or remove the others.")
    return [_out_of_order(codes.NODES_DUPLICATE_ADDRESS, message, remedies, registry, len(doubles), nodes)]


def _announced(node: NodeRecord) -> str | None:
    """Where a node says that it listens; None for a meaningless address, such as bind-all or loopback."""
    place = (node.listen_addr or "").strip().lower()
    if len(place) > LONGEST_PLACE:
        return None
    host = place.rpartition(":")[0] if place.count(":") == 1 or "]:" in place else place
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return None if host in ("", "localhost") else place
    return None if address.is_unspecified or address.is_loopback else place


def _out_of_order(
    code: Code, message: str, remedies: Remedies, registry: Registry, count: int, about: Sequence[NodeRecord]
) -> Result:
    make = failed if code in (codes.NODES_QUARANTINED, codes.CONTROL_BAD_ANSWER) else warned
    return make(
        code,
        CONTROL,
        Direction.ROUND_TRIP,
        message,
        remedies=remedies,
        aspect=code.slug.partition(".")[2],
        measurements={
            "nodes": len(registry.nodes),
            "count": count,
            "node_id": [_name(node) for node in about[:NAMES_SHOWN]],
        },
    )


def _until(node: NodeRecord) -> str:
    until = node.maintenance_until_unix_ms
    if until is None:
        return ", with no end time"
    moment = time.gmtime(min(until / 1000, END_OF_YEAR_9999_S))
    return f" until {time.strftime('%Y-%m-%d %H:%M UTC', moment)}"


def _names(nodes: Sequence[NodeRecord]) -> str:
    names = [_name(node) for node in nodes[:NAMES_SHOWN]]
    more = [f"and {len(nodes) - NAMES_SHOWN} more"] if len(nodes) > NAMES_SHOWN else []
    return ", ".join([*names, *more])


def _name(node: NodeRecord) -> str:
    """The id for a message: a member can choose any text."""
    return excerpt(node.id, NAME_SHOWN)
