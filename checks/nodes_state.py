"""Is the cluster that this node belongs to in order: seen lately, in service, of one version, one address each?"""

import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from preflight.api import CONTROL, Code, Context, Direction, Result, check, codes, failed, passed, skipped, warned
from preflight.model.control import ControlError, HttpAnswer, NodeRecord
from preflight.proto.clock import clock_offset

if TYPE_CHECKING:
    from preflight.net.control import ControlClient

NAMES_SHOWN = 5
OURS = "preflight-"
"""Ids of enrolments that preflight tries out; they are in maintenance and of preflight's version."""


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
        codes.ENROLL_UNAUTHORIZED,
        codes.ENROLL_FORBIDDEN,
    ),
    needs=("control.health",),
    timeout=30,
)
async def nodes_state(ctx: Context) -> AsyncGenerator[Result, None]:
    """Read the list of nodes; it changes nothing. Quarantine and drain are findings for this node's own id."""
    settings = ctx.settings
    outcome = await measure(ctx.net.control)
    if isinstance(outcome, ControlError):
        yield judge_refusal(outcome, has_token=settings.secrets.token is not None)
        return
    enrolling = settings.enrolment is not None
    for result in judge(outcome, settings.node.id, settings.thresholds.stale_ms, enrolling=enrolling):
        yield result


async def measure(client: "ControlClient") -> Registry | ControlError:
    """The list and the server's time: `last_seen_unix_ms` is by its clock, which may differ from this node's."""
    answers: Sequence[HttpAnswer] = ()
    try:
        answers = [await client.health()]
        listed = await client.nodes()
    except ControlError as error:
        return error
    offset = clock_offset(answers)
    return Registry(listed.nodes, (time.time() + (offset.low_s if offset else 0.0)) * 1000)


def judge_refusal(error: ControlError, *, has_token: bool) -> Result:
    """A token that may not read the list is a finding; having none, or no answer, is not this check's."""
    if error.status == 401 and has_token:
        return failed(
            codes.ENROLL_UNAUTHORIZED,
            CONTROL,
            Direction.ROUND_TRIP,
            f"the control plane does not know this node's token: {error.message}",
            remedy="control: {token_file: worker.token}   # in preflight.yaml; or VOX_MESH_WORKER_TOKEN",
        )
    if error.status == 403:
        return failed(
            codes.ENROLL_FORBIDDEN,
            CONTROL,
            Direction.ROUND_TRIP,
            f"this node's token may not list nodes, so it is not a worker's: {error.message}",
            remedy="control: {token_file: worker.token}   # a worker's or the mesh token, not a submitter's",
        )
    why = "no token is set" if error.status == 401 else error.message
    return skipped(
        codes.RUN_NOT_APPLICABLE, CONTROL, Direction.ROUND_TRIP, f"the list of nodes could not be read: {why}"
    )


def judge(registry: Registry, own_id: str | None, stale_ms: float, *, enrolling: bool = False) -> list[Result]:
    """One result for each thing that is out of order, or one that says that nothing is.

    enrolling: the row of `own_id` may be the one that preflight joined a moment ago, of preflight's own version.
    """
    stale = [node for node in registry.nodes if registry.now_ms - node.last_seen_unix_ms > stale_ms]
    own = next((node for node in registry.nodes if node.id == own_id), None)
    alive = [node for node in registry.nodes if node not in stale and not node.id.startswith(OURS)]
    workers = [node for node in alive if not (enrolling and node.id == own_id)]
    found = [
        *_judge_ages(registry, stale, stale_ms),
        *(_judge_own(registry, own) if own else []),
        *_judge_versions(registry, workers),
        *_judge_addresses(registry, workers),
    ]
    message = f"{len(registry.nodes)} nodes are listed, all seen within {stale_ms / 1000:g} s"
    good = passed(CONTROL, Direction.ROUND_TRIP, message, measurements={"nodes": len(registry.nodes)})
    return found or [good]


def _judge_ages(registry: Registry, stale: Sequence[NodeRecord], stale_ms: float) -> list[Result]:
    if not stale:
        return []
    oldest_s = max(registry.now_ms - node.last_seen_unix_ms for node in stale) / 1000
    message = (
        f"{len(stale)} of {len(registry.nodes)} nodes were not seen for over {stale_ms / 1000:g} s, "
        f"the longest for {oldest_s:.0f} s: {_names(stale)}"
    )
    remedy = f"See on {stale[0].id} whether its worker runs, and whether it reaches the control plane."
    return [_out_of_order(codes.NODES_STALE, message, remedy, registry, len(stale))]


def _judge_own(registry: Registry, own: NodeRecord) -> list[Result]:
    found = []
    if own.quarantined:
        message = f"this node, {own.id}, is quarantined: it gets no mail and no lease until an administrator lifts that"
        remedy = f"Ask who quarantined {own.id} and why, before it is lifted by POST /v1/populi/admin/quarantine."
        found.append(_out_of_order(codes.NODES_QUARANTINED, message, remedy, registry, 1))
    if own.draining:
        message = f"this node, {own.id}, is draining: it gets nothing new{_until(own)}"
        remedy = f"End the maintenance of {own.id} by POST /v1/populi/admin/maintenance when the work on it is done."
        found.append(_out_of_order(codes.NODES_DRAINING, message, remedy, registry, 1))
    return found


def _judge_versions(registry: Registry, workers: Sequence[NodeRecord]) -> list[Result]:
    counts = sorted(Counter(node.version for node in workers).items())
    if len(counts) < 2:
        return []
    shown = ", ".join(f"{version} on {count}" for version, count in counts[:NAMES_SHOWN])
    message = f"the nodes run {len(counts)} versions: {shown}{', …' if len(counts) > NAMES_SHOWN else ''}"
    remedy = "Bring the nodes of an older version to the newest one; drain each while it is upgraded."
    return [_out_of_order(codes.NODES_VERSION_SKEW, message, remedy, registry, len(counts))]


def _judge_addresses(registry: Registry, workers: Sequence[NodeRecord]) -> list[Result]:
    """Two living ids with one address and port: one of the two is not where it says."""
    owners: dict[str, list[NodeRecord]] = {}
    for node in workers:
        if (place := _announced(node)) is not None:
            owners.setdefault(place, []).append(node)
    doubles = {place: nodes for place, nodes in owners.items() if len(nodes) > 1}
    if not doubles:
        return []
    place, nodes = next(iter(doubles.items()))
    more = f", and {len(doubles) - 1} more addresses" if len(doubles) > 1 else ""
    message = f"{place} is announced by {len(nodes)} nodes: {_names(nodes)}{more}"
    remedy = f"See which of {_names(nodes)} listens at that address, and correct or remove the others."
    return [_out_of_order(codes.NODES_DUPLICATE_ADDRESS, message, remedy, registry, len(doubles))]


def _announced(node: NodeRecord) -> str | None:
    """Where a node says that it listens; None for what tells nothing, as a bind-all or a loopback address."""
    raw = node.fields.get("listen_addr")
    place = raw.strip().lower() if isinstance(raw, str) else ""
    host = place.rpartition(":")[0] if place.count(":") == 1 or "]:" in place else place
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return None if host in ("", "localhost") else place
    return None if address.is_unspecified or address.is_loopback else place


def _out_of_order(code: Code, message: str, remedy: str, registry: Registry, count: int) -> Result:
    make = failed if code is codes.NODES_QUARANTINED else warned
    return make(
        code,
        CONTROL,
        Direction.ROUND_TRIP,
        message,
        remedy=remedy,
        aspect=code.slug.partition(".")[2],
        measurements={"nodes": len(registry.nodes), "count": count},
    )


def _until(node: NodeRecord) -> str:
    until = node.fields.get("maintenance_until_unix_ms")
    if not isinstance(until, int):
        return ", without an end"
    return f" until {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(min(until, 253402300799000) / 1000))}"


def _names(nodes: Sequence[NodeRecord]) -> str:
    names = [node.id for node in nodes[:NAMES_SHOWN]]
    more = [f"and {len(nodes) - NAMES_SHOWN} more"] if len(nodes) > NAMES_SHOWN else []
    return ", ".join([*names, *more])
