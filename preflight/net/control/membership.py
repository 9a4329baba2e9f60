"""One membership on the wire: performs what `proto.membership`'s machine asks for, and leaves whatever happens."""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from preflight.net.control.enrolment import spare_id, tell_outcome, to_its_end, write_row
from preflight.net.control.journal import Note
from preflight.net.control.left_behind import take_back
from preflight.proto.control.enroll import Wait
from preflight.proto.control.left_behind import UNRECORDED, sentence
from preflight.proto.control.membership import Answer, Membership, News, State

if TYPE_CHECKING:
    from preflight.net.control.client import ControlClient
    from preflight.settings.load import Settings


class Member:
    """This node as a member of the cluster, from `stay` on until that is told to end; it writes to the cluster."""

    def __init__(
        self, settings: "Settings", client: "ControlClient", interval_s: float, tell: Callable[[News], None]
    ) -> None:
        self._settings = settings
        self._client = client
        self._tell = tell
        self._note = Note(settings, "watch --heartbeat")
        self._machine = Membership(
            node_id=settings.node.id, spare_id=spare_id(), interval_s=interval_s, now=time.monotonic()
        )

    async def stay(self, stop: asyncio.Event) -> None:
        """Join and send heartbeats until `stop` is set, then leave; a cancellation does not keep it from leaving."""
        try:
            ended = asyncio.create_task(stop.wait())
            work = asyncio.create_task(self._tidy_and_work())
            await asyncio.wait((ended, work), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            work.cancel()
            await to_its_end(asyncio.ensure_future(self._leave(work)))
            self._note.end(gone=not self._machine.may_be_listed)

    async def _leave(self, work: "asyncio.Task[None]") -> None:
        await asyncio.wait((work,))
        self._machine.leave(time.monotonic())
        await self._work()

    async def _tidy_and_work(self) -> None:
        """Take back what an earlier member left, so that this one can have its id."""
        for left in await take_back(str(self._settings.control.usable_url), self._client):
            self._tell(News(State.LOOK, sentence(left)))
        await self._work()

    async def _work(self) -> None:
        """Until the machine has nothing more to do."""
        while (action := self._machine.next_action(time.monotonic())) is not None:
            if isinstance(action, Wait):
                await _until(action.until)
            else:
                await tell_outcome(self._machine, self._perform(action.state), action.timeout_s)
            for news in self._machine.news():
                self._tell(news)

    async def _perform(self, state: State) -> Answer:
        identity = self._machine.identity
        if state is State.LOOK:
            return await self._client.nodes()
        if state is State.LEAVE:
            await self._client.leave(identity)
            return None
        scope_id, first = self._settings.control.scope_id, state is State.JOIN
        answer = await write_row(self._client, self._settings, self._note, identity, scope_id, join=first)
        if first and self._note.trouble:
            self._tell(News(state, f"{UNRECORDED}: {self._note.trouble}"))
        return answer


async def _until(moment: float) -> None:
    """Sleep until a moment of time.monotonic(); for ever, if it never comes."""
    if moment == float("inf"):
        await asyncio.Event().wait()
    await asyncio.sleep(moment - time.monotonic())
