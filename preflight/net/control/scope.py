"""Is the scope enforced? A join under a scope that nobody has is the only proof, so it writes, and leaves at once."""

import asyncio
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from preflight import __version__
from preflight.model.control import NOT_REACHED, ControlError
from preflight.model.roles import ScopeTrial
from preflight.net.control.client import patiently
from preflight.net.control.enrolment import spare_id, to_its_end
from preflight.net.control.journal import Note
from preflight.proto.control.enroll import FORBIDDEN, LEAVE_S, NOT_FOUND, unheard

if TYPE_CHECKING:
    from preflight.net.control.client import ControlClient
    from preflight.settings.load import Settings

JOIN_S = 5.0
"""How long the join may take, repeats included: with the leaving it must fit into the time for cleaning up."""


async def try_foreign_scope(settings: "Settings", client: "ControlClient") -> ScopeTrial:
    """Join as a node in maintenance under a made-up scope; whatever came of it, leave again.

    A token that may not list nodes may not join either: its 403 would say nothing about the scope.
    """
    identity, scope_id = spare_id(), f"preflight-scope-{secrets.token_hex(8)}"
    try:
        await patiently(client.nodes)
    except ControlError as error:
        return ScopeTrial("unknown", identity, scope_id, error.message)
    note = Note(settings, "posture.scope")
    asked = asyncio.ensure_future(_trial(client, note, identity, scope_id))
    try:
        return await asyncio.shield(asked)
    finally:
        await to_its_end(asked)


async def _trial(client: "ControlClient", note: Note, identity: str, scope_id: str) -> ScopeTrial:
    """What may be left behind is written down as long as it may be."""
    note.before_join(identity, scope_id)
    trial = await _join_and_leave(client, _record(identity, scope_id, note.mark), identity, scope_id)
    row = note.row
    note.end(gone=trial.left)
    return replace(trial, written_down=row)


async def _join_and_leave(client: "ControlClient", record: dict[str, Any], identity: str, scope_id: str) -> ScopeTrial:
    try:
        async with asyncio.timeout(JOIN_S):
            await patiently(lambda: client.join(record))
    except TimeoutError:
        error = ControlError("timeout", None, f"no answer to the join within {JOIN_S:g} s")
        return await _undecided(client, identity, scope_id, error)
    except ControlError as error:
        if error.status == FORBIDDEN:
            return ScopeTrial("enforced", identity, scope_id, error.message)
        return await _undecided(client, identity, scope_id, error)
    return ScopeTrial("open", identity, scope_id, left=await _leave(client, identity))


async def _undecided(client: "ControlClient", identity: str, scope_id: str, error: ControlError) -> ScopeTrial:
    """Refused, nothing was joined; unheard, or answered in another way than the contract's, it may have been."""
    answered = error.status is not None and error.status >= 400 and not unheard(error)
    refused = answered or error.kind in NOT_REACHED
    left = refused or await _leave(client, identity)
    return ScopeTrial("unknown", identity, scope_id, error.message, left=left)


async def _leave(client: "ControlClient", identity: str) -> bool:
    try:
        async with asyncio.timeout(LEAVE_S):
            await patiently(lambda: client.leave(identity))
    except ControlError as error:
        return error.status == NOT_FOUND
    except TimeoutError:
        return False
    return True


def _record(identity: str, scope_id: str, mark: str) -> dict[str, Any]:
    return {
        "id": identity,
        "capabilities": {"labels": [mark]},
        "version": __version__,
        "last_seen_unix_ms": time.time_ns() // 1_000_000,
        "visibility": "private",
        "maintenance": True,
        "scope_id": scope_id,
    }
