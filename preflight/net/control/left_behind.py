"""Rows that killed runs left on a control plane: found in the journal, and removed where they are still ours."""

import asyncio
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.model.control import ControlError
from preflight.model.enrolment import LeftBehind
from preflight.net.control import journal
from preflight.net.control.journal import Entry, Unreadable
from preflight.net.control.patience import patiently
from preflight.proto.control.answers import NOT_FOUND
from preflight.proto.control.left_behind import whose
from preflight.proto.control.own_row import LEAVE_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from preflight.model.control import NodeRecord
    from preflight.net.control.client import ControlClient


def look(url: str | None = None) -> list[LeftBehind]:
    """What killed runs of this user left on the control plane at `url`, or on any; changes nothing."""
    found = []
    with closing(journal.left_behind()) as entries:
        for entry in entries:
            if isinstance(entry, Unreadable):
                found.append(LeftBehind("unreadable", None, entry.reason))
                continue
            with entry:
                if url in (None, entry.row.url):
                    found.append(LeftBehind("found", entry.row))
    return found


async def take_back(url: str, client: "ControlClient") -> list[LeftBehind]:
    """Leave for killed runs on the control plane at `url`, within `LEAVE_S` seconds; returns what happened to each row.

    client: for that control plane, with a credential that may leave. Sends nothing if nothing was left.
    """
    found = look(url)
    if all(left.row is None for left in found):
        return found
    deadline = asyncio.get_running_loop().time() + LEAVE_S
    try:
        async with asyncio.timeout_at(deadline):
            nodes = (await client.nodes(patient=True)).nodes
    except (ControlError, TimeoutError) as error:
        return [replace(left, fate="stays", detail=_why(error)) if left.row else left for left in found]
    outcomes = [left for left in found if left.row is None]
    with closing(journal.left_behind()) as entries:
        for entry in entries:
            if isinstance(entry, Unreadable):
                continue
            with entry:
                if entry.row.url == url:
                    outcomes.append(await _take_back(entry, nodes, client, deadline))
    return outcomes


async def _take_back(
    entry: Entry, nodes: "Sequence[NodeRecord]", client: "ControlClient", deadline: float
) -> LeftBehind:
    """One row. A worker could join under its id between list and leave: no request of Populi prevents this."""
    left = LeftBehind("removed", entry.row)
    verdict = whose(entry.row, entry.heard_unix_ms, nodes)
    if verdict == "ours":
        try:
            async with asyncio.timeout_at(deadline):
                await patiently(lambda: client.leave(entry.row.node_id))
        except (ControlError, TimeoutError) as error:
            if not (isinstance(error, ControlError) and error.status == NOT_FOUND):
                return replace(left, fate="stays", detail=_why(error))
            verdict = "gone"
    entry.remove()
    return left if verdict == "ours" else replace(left, fate="gone" if verdict == "gone" else "not-ours")


def _why(error: ControlError | TimeoutError) -> str:
    return error.message if isinstance(error, ControlError) else f"no answer within {LEAVE_S:g} s"
