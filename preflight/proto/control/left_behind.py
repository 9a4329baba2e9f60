"""Whose is a row that a killed run joined? A pure function of the journal's entry and the list of nodes."""

from collections.abc import Iterable
from typing import Literal

from preflight.model.control import NodeRecord
from preflight.model.enrolment import Fate, JoinedRow, LeftBehind
from preflight.proto.tunnel.peer_status import utc

MARK = "preflight-run="
"""How the label begins that marks a row as one run's. A join replaces it, a heartbeat keeps it."""
SLACK_MS = 60_000
"""How much later than its run knows a row may have been seen: a heartbeat may have been in flight."""
UNRECORDED = "the row is not written down, so nothing would remove it after a kill"
_WORDS: dict[Fate, str] = {
    "found": "{row} may still be listed at {url}: {run} left it",
    "removed": "{row} is removed: {run} had left it",
    "gone": "{row} is not listed any more: {run} had left it",
    "not-ours": "{row} is left alone, as it may be another node's by now: {run} had joined it",
    "stays": "{row} may still be listed at {url}: {run} left it, and it could not be removed: {detail}",
    "unreadable": "what earlier runs left is not known: {detail}",
}
STILL_THERE: frozenset[Fate] = frozenset({"found", "stays", "unreadable"})
"""Fates after which a row may still be listed."""

Verdict = Literal["ours", "theirs", "gone"]


def whose(row: JoinedRow, heard_unix_ms: int, nodes: Iterable[NodeRecord]) -> Verdict:
    """Whether a row may be removed: only if it can belong to nobody but the run that wrote it down.

    heard_unix_ms: when the control plane last saw the row, by the last answer that the run received and by the server's
    clock. An id of the settings may also be this node's real worker's. If the worker joined since, its join replaced
    the mark. If it was there before, hidden from the list, and came back by heartbeats, it was seen later.
    """
    if row.made_up:
        return "ours"  # also where the list hides it, as it does a row that was not seen for long
    listed = next((node for node in nodes if node.id == row.node_id), None)
    if listed is None:
        return "gone"
    if listed.quarantined or listed.draining or row.mark not in _labels(listed):
        return "theirs"
    return "ours" if listed.last_seen_unix_ms <= heard_unix_ms + SLACK_MS else "theirs"


def sentence(left: LeftBehind) -> str:
    """What happened to a row that was left behind, for an operator."""
    row = left.row
    if row is None:
        return _WORDS[left.fate].format(detail=left.detail)
    run = f"the {row.command} of {utc(row.at_unix_ms / 1000)}"
    return _WORDS[left.fate].format(row=f"the row {row.node_id}", url=row.url, run=run, detail=left.detail)


def _labels(node: NodeRecord) -> tuple[object, ...]:
    capabilities = node.fields.get("capabilities")
    labels = capabilities.get("labels") if isinstance(capabilities, dict) else None
    return tuple(labels) if isinstance(labels, list) else ()
