"""From the outcome of a run to its report."""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import uuid4

from preflight.api import Peer, Result
from preflight.engine.diagnosis import Cause
from preflight.engine.placement import WorkPlacement
from preflight.engine.rules import LAYERS
from preflight.engine.ways import Way, follow_ways
from preflight.report.acceptance import Acceptance, Known, accept
from preflight.report.model import (
    AcceptedEntry,
    CauseEntry,
    EvidenceEntry,
    Gate,
    Judgement,
    LabKind,
    NodeInfo,
    OverlayInfo,
    PeerInfo,
    PlaceEntry,
    Placement,
    Report,
    ResultEntry,
    Run,
    StationEntry,
    WayEntry,
    judge,
    summarize,
)
from preflight.report.remedies import remedy_entry
from preflight.settings.schema import AcceptedFinding


def doc_of(code: str) -> str:
    """The path of a code's page, relative to the project."""
    return f"runbook/{code}.md"


def by_layer(results: tuple[Result, ...]) -> tuple[Result, ...]:
    """The results from the host upwards; within a category in the order of the run."""
    order = {category: place for place, category in enumerate(LAYERS)}
    return tuple(sorted(results, key=lambda result: order.get(result.category, len(order))))


def result_entry(result: Result, accepted: AcceptedFinding | None = None) -> ResultEntry:
    """A result for the report. accepted: it is known."""
    return ResultEntry(
        id=result.id,
        check=result.check,
        category=result.category,
        target=result.target,
        direction=result.direction.value,
        status=result.status.value,
        code=result.code.slug if result.code else None,
        message=result.message,
        remedy=result.remedy,
        remedies=tuple(map(remedy_entry, result.remedies)),
        doc=doc_of(result.code.slug) if result.code else None,
        blocked_by=result.blocked_by,
        started_at=result.started_at,
        duration_ms=result.duration_ms,
        attempts=result.attempts,
        measurements=dict(result.measurements),
        evidence=tuple(
            EvidenceEntry(kind=e.kind, summary=e.summary, data=e.data, path=e.path) for e in result.evidence
        ),
        accepted=_accepted(accepted),
    )


def cause_entry(cause: Cause, accepted: AcceptedFinding | None = None) -> CauseEntry:
    """A cause for the report. accepted: it is known."""
    return CauseEntry(
        code=cause.code.slug,
        title=cause.code.title,
        message=cause.message,
        target=cause.target,
        direction=cause.direction.value,
        remedy=cause.remedy,
        remedies=tuple(map(remedy_entry, cause.remedies)),
        doc=doc_of(cause.code.slug),
        explains=cause.explains,
        place=None if cause.place is None else PlaceEntry(way=str(cause.place[0]), station=cause.place[1].id),
        accepted=_accepted(accepted),
    )


def _accepted(entry: AcceptedFinding | None) -> AcceptedEntry | None:
    return None if entry is None else AcceptedEntry(reason=entry.reason, until=entry.until)


def _causes(causes: tuple[Cause, ...], accepted: Acceptance) -> tuple[CauseEntry, ...]:
    """The causes, those that are accepted behind all others."""
    entries = map(cause_entry, causes, accepted.causes)
    return tuple(sorted(entries, key=lambda entry: entry.accepted is not None))


def way_entry(way: Way) -> WayEntry:
    """A way for the report: at each station the host, by its part on the way."""
    return WayEntry(
        id=str(way.id),
        kind=way.id.kind,
        target=way.id.target,
        direction=way.id.direction.value,
        stations=tuple(
            StationEntry(
                id=judged.station.id,
                host=judged.station.host,
                state=judged.state,
                by=judged.by,
                reason=judged.reason or None,
            )
            for judged in way.followed.stations
        ),
    )


def build_report(
    results: tuple[Result, ...],
    diagnosis: tuple[Cause, ...],
    *,
    placement: tuple[WorkPlacement, ...] = (),
    node: NodeInfo,
    overlay: OverlayInfo | None,
    started_at: datetime,
    duration_ms: float,
    gate: Gate,
    asked: Mapping[str, frozenset[str]] | None = None,
    command: tuple[str, ...] = (),
    lab: LabKind | None = None,
    interrupted: bool = False,
    peers: tuple[Peer, ...] = (),
    known: Known | None = None,
) -> Report:
    """Build the report of a run. asked: as in `judge`, or all checks with a result; known: what the settings accept."""
    accepted = accept(results, diagnosis, known or Known())
    judged = _judged(results, gate, asked, interrupted, accepted)
    return Report(
        run=Run(
            id=str(uuid4()),
            started_at=started_at.astimezone(UTC),
            duration_ms=round(duration_ms, 3),
            exit_code=judged.exit_code,
            command=command,
            lab=lab,
            node=node,
            overlay=overlay,
            peers=tuple(PeerInfo(target=peer.target, address=peer.address) for peer in peers),
        ),
        verdict=judged.verdict,
        summary=summarize(results),
        remarks=judged.remarks,
        diagnosis=_causes(diagnosis, accepted),
        ways=tuple(map(way_entry, follow_ways(results))),
        results=tuple(result_entry(result, accepted.results.get(result.id)) for result in by_layer(results)),
        placement=tuple(map(placement_entry, placement)),
    )


def _judged(
    results: tuple[Result, ...],
    gate: Gate,
    asked: Mapping[str, frozenset[str]] | None,
    interrupted: bool,
    accepted: Acceptance,
) -> Judgement:
    asked = {"all": frozenset(result.check for result in results)} if asked is None else asked
    judged = judge(results, gate, asked, interrupted=interrupted, accepted=accepted.results)
    return judged._replace(remarks=(*judged.remarks, *accepted.remarks))


def placement_entry(work: WorkPlacement) -> Placement:
    """One kind of work as the report holds it."""
    return Placement(work_class=work.work_class, verdict=work.verdict, because=work.because)
