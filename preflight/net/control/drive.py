"""Drives the machines of `proto.control` on the wire: one call at a time, and leaving whatever ends the run."""

import asyncio
import platform
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from preflight import __version__
from preflight.model.control import ControlError, NodeList
from preflight.net.control.journal import Note
from preflight.proto.control.own_row import Answer, Call, OwnRow, State, Wait, spare_prefix

if TYPE_CHECKING:
    from preflight.net.control.client import ControlClient
    from preflight.settings.load import Settings

Perform = Callable[[State], Awaitable[Answer]]


class Machine(Protocol):
    """What `Enrolment` and `Membership` have in common: one call at a time, which succeeds or fails."""

    def next_action(self, now: float, /) -> Call | Wait | None:
        """What to do now; None when nothing is left to do."""

    def succeeded(self, now: float, answer: Answer, /) -> None:
        """The call was answered."""

    def failed(self, now: float, error: ControlError, random: float, /) -> None:
        """The call gave an error; `random` in [0, 1) spreads the repeats."""

    def leave(self, now: float, /) -> None:
        """The run ends: only leaving is left to do."""


class RowCalls:
    """Performs what a machine asks for about one row, and writes down what a killed run would leave behind.

    labels: of the row, in addition to the mark of this run; by default those of the settings.
    """

    def __init__(
        self,
        settings: "Settings",
        client: "ControlClient",
        row: OwnRow,
        note: Note,
        *,
        labels: Sequence[str] | None = None,
    ) -> None:
        self.client = client
        self._node_id = settings.node.id
        self._labels = settings.node.labels if labels is None else labels
        self._row = row
        self._note = note

    async def perform(self, state: State) -> Answer:
        """One call on the wire. Raises ControlError."""
        if state is State.LOOK:  # whose ids are taken; what this run removed is free again
            return await self.client.nodes(recall="unchanged")
        if state is State.LIST:
            return await self._listed()
        if state is State.LEAVE:
            await self.client.leave(self._row.identity)
            return None
        if state in (State.GRANT, State.RENEW, State.RELEASE):
            return await self.lease(state, self._row.lease_id)
        if state is State.HEARTBEAT_AGAIN:
            self.client.ahead(self.client.nodes(recall="unchanged"))  # the row is there since the join
        self._note.before_join(self._row.identity, self._row.scope_id)
        send = self.client.join if state is State.JOIN else self.client.heartbeat
        answer = await send(self._record())
        self._note.heard(answer)
        return answer

    async def _listed(self) -> NodeList:
        """A list with the row, or the list as it is now."""
        known = await self.client.nodes(recall="any")
        return known if any(node.id == self._row.identity for node in known.nodes) else await self.client.nodes()

    async def lease(self, state: State, lease_id: str, *, client: "ControlClient | None" = None) -> str:
        """A lease of a scope key that nobody else uses, perhaps by another client. Raises ControlError."""
        client = client or self.client
        claimer = {"claimer_node_id": self._row.identity}
        if state is State.GRANT:
            return await client.lease("grant", {**claimer, "scope_key": f"preflight/{self._note.mark}"})
        action: Literal["renew", "release"] = "renew" if state is State.RENEW else "release"
        return await client.lease(action, {**claimer, "lease_id": lease_id})

    def _record(self) -> dict[str, Any]:
        """The row. One with a random id is in maintenance from the start, so that nobody gives it work."""
        row = self._row
        record: dict[str, Any] = {
            "id": row.identity,
            "capabilities": {"labels": [*self._labels, self._note.mark]},
            "version": __version__,
            "last_seen_unix_ms": time.time_ns() // 1_000_000,
            "visibility": "private",
        }
        if row.scope_id:
            record["scope_id"] = row.scope_id
        if row.identity != self._node_id:
            record["maintenance"] = True
        return record


async def step(machine: Machine, perform: Perform) -> bool:
    """Do the next thing that the machine asks for; False if nothing is left to do."""
    action = machine.next_action(time.monotonic())
    if action is None:
        return False
    if isinstance(action, Wait):
        await _until(action.until)
        return True
    try:
        async with asyncio.timeout(action.timeout_s):
            answer = await perform(action.state)
    except TimeoutError:
        message = f"this run stopped waiting for an answer after {action.timeout_s:.1f} s, the end of its own time"
        error = ControlError("timeout", None, message)
        machine.failed(time.monotonic(), error, random.random())  # noqa: S311 - jitter
    except ControlError as error:
        machine.failed(time.monotonic(), error, random.random())  # noqa: S311 - jitter
    else:
        machine.succeeded(time.monotonic(), answer)
    return True


async def leave(machine: Machine, perform: Perform) -> None:
    """Leave, within the machine's own bound; neither a first nor a second Ctrl-C stops this."""

    async def to_the_end() -> None:
        machine.leave(time.monotonic())
        while await step(machine, perform):
            pass

    leaving = asyncio.ensure_future(to_the_end())
    while not leaving.done():
        try:
            await asyncio.shield(leaving)
        except asyncio.CancelledError:
            continue  # the cancellation that ended the run goes on after this


def spare_id() -> str:
    """`preflight-<host>-<random>`: an id that nobody else has."""
    return f"{spare_prefix(platform.node())}-{secrets.token_hex(4)}"


async def _until(moment: float) -> None:
    """Sleep until a moment of time.monotonic(); for ever, if it never comes."""
    if moment == float("inf"):
        await asyncio.Event().wait()
    await asyncio.sleep(moment - time.monotonic())
