"""One membership on the wire: performs what `proto.control.membership` asks for, and leaves whatever happens."""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from preflight.net.control.drive import RowCalls, leave, spare_id, step
from preflight.net.control.journal import Note
from preflight.net.control.left_behind import take_back
from preflight.proto.control.left_behind import UNRECORDED, sentence
from preflight.proto.control.membership import Membership, News
from preflight.proto.control.own_row import Answer, OwnRow, State

if TYPE_CHECKING:
    from preflight.net.control.client import ControlClient
    from preflight.settings.load import Settings


class Member:
    """This node as a member of the cluster while `stay` runs; it writes to the cluster."""

    def __init__(
        self, settings: "Settings", client: "ControlClient", interval_s: float, tell: Callable[[News], None]
    ) -> None:
        self._settings = settings
        self._client = client
        self._tell = tell
        self._note = Note(settings, "watch --heartbeat")
        self._row = OwnRow(settings.node.id, spare_id(), settings.control.scope_id)
        self._calls = RowCalls(settings, client, self._row, self._note)
        self._machine = Membership(self._row, interval_s=interval_s, now=time.monotonic())

    async def stay(self, stop: asyncio.Event) -> None:
        """Join and send heartbeats until `stop` is set, then leave; a cancellation does not keep it from leaving."""
        try:
            ended = asyncio.create_task(stop.wait())
            work = asyncio.create_task(self._tidy_and_work())
            await asyncio.wait((ended, work), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            work.cancel()
            await leave(self._machine, self._perform)
            self._tell_news()
            self._note.end(gone=not self._row.may_be_listed)

    async def _tidy_and_work(self) -> None:
        """Remove what an earlier member left, so that this one can have its id; then work."""
        for left in await take_back(str(self._settings.control.usable_url), self._client):
            self._tell(News(State.LOOK, sentence(left)))
        while await step(self._machine, self._perform):
            self._tell_news()

    async def _perform(self, state: State) -> Answer:
        answer = await self._calls.perform(state)
        if state is State.JOIN and self._note.trouble:
            self._tell(News(state, f"{UNRECORDED}: {self._note.trouble}"))
        return answer

    def _tell_news(self) -> None:
        for news in self._machine.news():
            self._tell(news)
