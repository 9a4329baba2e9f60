"""Is the scope enforced? A join under a scope that nobody has is the only proof, so it writes, and leaves at once."""

import secrets
import time
from typing import TYPE_CHECKING

from preflight.model.event import Listener, telling
from preflight.model.roles import ScopeTrial, ScopeVerdict
from preflight.net.control.drive import RowCalls, leave, spare_id, step
from preflight.net.control.journal import Note
from preflight.proto.control.answers import UNAUTHORIZED
from preflight.proto.control.enroll import SCOPE_TRIAL, Enrolment, Outcome
from preflight.proto.control.own_row import OwnRow, State

if TYPE_CHECKING:
    from preflight.net.control.client import ControlClient
    from preflight.settings.load import Settings

TRIAL_S = 10.0
"""How long looking and joining may take, repeats included: with leaving it must fit into the check's time."""


async def try_foreign_scope(
    settings: "Settings", client: "ControlClient", listener: Listener | None = None
) -> ScopeTrial:
    """Join as a node in maintenance under a made-up scope, and leave again whatever ends the trial."""
    now, scope_id = time.monotonic(), f"preflight-scope-{secrets.token_hex(8)}"
    row, note = OwnRow(None, spare_id(), scope_id), Note(settings, "posture.scope")
    tell = telling(listener, "control.enroll", "scope trial")
    machine = Enrolment(row, SCOPE_TRIAL, start=State.LOOK, now=now, deadline=now + TRIAL_S, tell=tell)
    # A small row: the trial asks about the scope, not about what the path carries.
    perform = RowCalls(settings, client, row, note, labels=()).perform
    try:
        while await step(machine, perform):
            pass
    finally:
        if machine.must_leave:
            await leave(machine, perform)
        written_down = note.row
        note.end(gone=not row.may_be_listed)
    joined = machine.finished()[0]
    detail = joined.error.message if joined.error else ""
    left = not row.may_be_listed
    refused = joined.error is not None and joined.error.status == UNAUTHORIZED
    return ScopeTrial(
        _verdict(joined), row.identity, scope_id, detail, left=left, written_down=written_down, refused=refused
    )


def _verdict(joined: Outcome) -> ScopeVerdict:
    if joined.problem is None:
        return "open"
    return "enforced" if joined.problem == "scope-mismatch" else "unknown"
