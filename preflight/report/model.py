"""The report as the contract fixes it: pydantic models, so that its JSON Schema is published from the same source."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from preflight import __version__
from preflight.api import Result, Status
from preflight.model.facts import Facts
from preflight.report.facts import read_facts
from preflight.report.fields import (
    Count,
    DirectionName,
    Line,
    Lines,
    Milliseconds,
    Moment,
    Part,
    Plain,
    StatusName,
    Word,
    plain,
)
from preflight.report.remedies import RemedyEntry

Verdict = Literal["pass", "fail", "inconclusive", "error"]
LabKind = Literal["wireguard", "vxlan", "nebula", "openvpn", "loopback"]
"""The product whose tunnels were measured, or processes on loopback."""

EXIT_PASS, EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_ERROR, EXIT_INTERRUPTED = 0, 1, 3, 4, 130


class Tool(Part):
    """What wrote the report."""

    name: Line = "preflight"
    version: Line = __version__


class NodeInfo(Part):
    """Where the command ran."""

    hostname: Line
    os: Line
    kernel: Line
    python: Line
    privileges: tuple[Line, ...] = Field(
        (), description="Capabilities of the process that matter here, such as net_raw."
    )


class TunnelPeerInfo(Part):
    """A peer in a tunnel's configuration: its public key, never a secret one. handshaken: whether one ever came."""

    public_key: Line
    endpoint: Line | None = None
    allowed_ips: tuple[Line, ...] = ()
    keepalive_s: Count | None = Field(None, description="0 is off.")
    handshaken: bool | None = None


class TunnelInfo(Part):
    """A tunnel of this node, as its peers must know it."""

    interface: Line | None
    public_key: Line | None
    mtu: Count | None = Field(description="Bytes.")
    listen_port: Count | None = None
    addresses: tuple[Line, ...] = ()
    peers: tuple[TunnelPeerInfo, ...] = ()


class OverlayInfo(Part):
    """The overlay that was found, null if there is none."""

    product: Word
    interface: Line | None
    mtu: Count | None = Field(description="Bytes.")
    addresses: tuple[Line, ...] = ()
    tunnels: tuple[TunnelInfo, ...] = Field((), description="With their peers; in reports of a fleet only.")
    outside: tuple[Line, ...] = Field((), description="This node's other addresses; in reports of a fleet only.")


class PeerInfo(Part):
    """A peer of the run: its name in the results, and its overlay address."""

    target: Line
    address: Line


class Run(Part):
    """One run of the tool."""

    id: str = Field(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
    started_at: Moment
    duration_ms: Milliseconds
    exit_code: int = Field(ge=0, le=255)
    command: tuple[Line, ...] = ()
    lab: LabKind | None = None
    node: NodeInfo
    overlay: OverlayInfo | None = None
    peers: tuple[PeerInfo, ...] = ()


class Summary(Part):
    """How many results have which status."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    pass_: Count = Field(0, alias="pass")
    warn: Count = 0
    fail: Count = 0
    inconclusive: Count = 0
    skip: Count = 0
    error: Count = 0


class EvidenceEntry(Part):
    """Something that a reader can verify."""

    kind: Line
    summary: Line
    data: Plain = None
    path: Line | None = None


class AcceptedEntry(Part):
    """The settings list this finding as known: it does not fail the run until that day."""

    reason: Line
    until: date


class ResultEntry(Part):
    """One result; `measurements` carry the unit in their names."""

    id: Line
    check: Word
    category: Word
    target: Line
    direction: DirectionName
    status: StatusName
    code: Word | None
    message: Line
    remedy: Lines | None = Field(None, description="All remedies as one text.")
    remedies: tuple[RemedyEntry, ...] = ()
    doc: Line | None = None
    blocked_by: Line | None = None
    started_at: Moment | None = None
    duration_ms: Milliseconds = 0.0
    attempts: Count = 1
    measurements: Annotated[Mapping[str, Any], AfterValidator(plain)] = {}
    evidence: tuple[EvidenceEntry, ...] = ()
    accepted: AcceptedEntry | None = None

    @property
    def facts(self) -> Facts | None:
        """What the check measured, in its own types; None if it gives no facts, or these are not its own."""
        return read_facts(self.check, self.measurements)


class PlaceEntry(Part):
    """Where it died: a way of the report, and the station on it."""

    way: Line
    station: Word


class CauseEntry(Part):
    """One root cause, most fundamental first; `explains` lists the ids of the results that it explains."""

    code: Word
    title: Line
    message: Line
    target: Line
    direction: DirectionName
    place: PlaceEntry | None = None
    remedy: Lines | None = Field(None, description="All remedies as one text.")
    remedies: tuple[RemedyEntry, ...] = ()
    doc: Line | None = None
    explains: tuple[Line, ...] = ()
    accepted: AcceptedEntry | None = None


class StationEntry(Part):
    """One station of a way: where it is, what is known of it, and by whom."""

    id: Word
    host: Line
    state: Literal["passed", "died", "unseen", "not-applicable"]
    by: Line | None = None
    reason: Line | None = None
    evidence: Plain = None


class WayEntry(Part):
    """What one packet or request must pass, in one direction."""

    id: Line
    kind: Literal["packet", "request", "token"]
    target: Line
    direction: DirectionName
    stations: tuple[StationEntry, ...] = ()


class Placement(Part):
    """Whether a class of work belongs on this path."""

    work_class: Word
    verdict: Literal["allowed", "caution", "not-default", "out-of-scope"]
    because: Line


def _known_version(version: object) -> object:
    """Version 1 lacks `ways`, `place` and `remedies`: with none of them it is version 2."""
    return "2" if version == "1" else version


class Report(Part):
    """The whole report: every text in it is printable, every number finite, even if another program wrote it."""

    schema_version: Annotated[Literal["2"], BeforeValidator(_known_version)] = "2"
    tool: Tool = Tool()
    run: Run
    verdict: Verdict
    summary: Summary
    remarks: tuple[Line, ...] = Field((), description="Why the verdict is what it is, if the counts do not explain it.")
    diagnosis: tuple[CauseEntry, ...] = ()
    ways: tuple[WayEntry, ...] = ()
    results: tuple[ResultEntry, ...] = ()
    placement: tuple[Placement, ...] = ()


class Gate(Part):
    """What decides the exit code: `--fail-on`, `--allow-inconclusive`."""

    fail_on: Literal["fail", "warn"] = "fail"
    allow_inconclusive: bool = False


class Judgement(NamedTuple):
    """The overall result of the run. remarks: sentences that explain it, if the counts alone do not."""

    verdict: Verdict
    exit_code: int
    remarks: tuple[str, ...] = ()


def judge(
    results: Sequence[Result],
    gate: Gate,
    asked: Mapping[str, frozenset[str]],
    *,
    interrupted: bool = False,
    accepted: Collection[str] = (),
) -> Judgement:
    """The verdict and the exit code; where several apply: fail, then error, then inconclusive.

    asked: each requested name, and the ids of the checks that it selected. A run is good if at least one of these
    passed or warned: their prerequisites, or a plug-in that failed to load, do not count. accepted: ids of results
    that are known, and count as good.
    """
    summary = summarize(result for result in results if result.id not in accepted)
    wanted, good = frozenset().union(*asked.values()), (Status.PASS, Status.WARN)
    passed = any(r.check in wanted and (r.status in good or r.id in accepted) for r in results)
    verdict, code = _verdict(summary, gate, passed=passed)
    remarks = [_left_out(name, ids, results) for name, ids in asked.items()]
    if silent := wanted - {result.check for result in results}:
        remarks.append(f"no result from {', '.join(sorted(silent))}")
    if gate.allow_inconclusive and summary.inconclusive and verdict in ("pass", "inconclusive"):
        remarks.append(_excepted(results, passed=passed))
    if interrupted:
        remarks.append("the run was interrupted")
        verdict, code = "inconclusive" if verdict == "pass" else verdict, EXIT_INTERRUPTED
    return Judgement(verdict, code, tuple(filter(None, remarks)))


def _verdict(summary: Summary, gate: Gate, *, passed: bool) -> tuple[Verdict, int]:
    if summary.fail or (gate.fail_on == "warn" and summary.warn):
        return "fail", EXIT_FAIL
    if summary.error:
        return "error", EXIT_ERROR
    if not passed or (summary.inconclusive and not gate.allow_inconclusive):
        return "inconclusive", EXIT_INCONCLUSIVE
    return "pass", EXIT_PASS


def _left_out(name: str, ids: Collection[str], results: Iterable[Result]) -> str:
    """A sentence if everything that was requested by this name was skipped."""
    own = [result for result in results if result.check in ids]
    if not own or any(result.status is not Status.SKIP for result in own):
        return ""
    reasons = {result.code: result.message for result in reversed(own)}
    return f"{name} was skipped completely: {'; '.join(reversed(reasons.values()))}"


def _excepted(results: Iterable[Result], *, passed: bool) -> str:
    if not passed:
        return "nothing that was requested passed, so --allow-inconclusive does not apply"
    checks = dict.fromkeys(result.check for result in results if result.status is Status.INCONCLUSIVE)
    return f"undecided, but allowed by --allow-inconclusive: {', '.join(checks)}"


def summarize(results: Iterable[Result]) -> Summary:
    """Count the results by status."""
    counts = {status.value: 0 for status in Status}
    for result in results:
        counts[result.status.value] += 1
    return Summary.model_validate(counts)
