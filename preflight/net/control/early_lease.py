"""A lease that a far control plane grants, renews and releases while other calls wait: its answers take no time."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from preflight.model.control import ControlError
from preflight.proto.control.own_row import State

FAR_S: Final = 0.4
"""How long a join takes from which on the lease is asked for ahead."""
GIVE_BACK_S: Final = 3.0
"""How long a grant under way is waited for, and a lease given back that nobody wants: it ends by itself soon after."""

Ask = Callable[[State, str], Awaitable[str]]
"""`grant`, `renew` or `release` with a lease's id, which a grant gives. Raises ControlError."""


class EarlyLease:
    """Asked for when it is made; `granted`, `renewed` and `released` give the answers once, and then ask again.

    It is released as soon as it is renewed: nobody else wants its scope key, and nothing else is shown by it.
    `end` gives back what `granted` did not hand over.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._id = self._lease_id = ""
        self._releasing = False
        self._grant: asyncio.Task[str] | None = asyncio.ensure_future(self._granted())
        self._renewal: asyncio.Task[ControlError | None] | None = asyncio.ensure_future(self._renewed(self._grant))
        self._release: asyncio.Task[bool | ControlError] | None = asyncio.ensure_future(self._released(self._renewal))

    async def granted(self) -> str:
        """The lease's id. Raises ControlError."""
        grant, self._grant = self._grant, None
        if grant is None:
            return await self._ask(State.GRANT, "")
        try:
            lease_id = await grant
        except BaseException:
            self._renewal = self._release = None  # of that lease
            raise
        self._id = ""
        return lease_id

    async def renewed(self, lease_id: str) -> str:
        """The lease was renewed. Raises ControlError."""
        renewal, self._renewal = self._renewal, None
        if renewal is None or renewal.cancelled():
            return await self._ask(State.RENEW, lease_id)
        if (error := await renewal) is not None:
            raise error
        return ""

    async def released(self, lease_id: str) -> str:
        """The lease was released. Raises ControlError."""
        release, self._release = self._release, None
        answer = False if release is None or release.cancelled() else await release
        if isinstance(answer, ControlError):
            raise answer
        return "" if answer else await self._ask(State.RELEASE, lease_id)

    async def end(self) -> None:
        """Ask nothing more, and give back what was granted to nobody.

        A grant or a release that is under way is waited for: the server would carry it out in any case.
        """
        grant, renewal, release = self._grant, self._renewal, self._release
        self._grant = self._renewal = self._release = None
        if renewal is not None:
            renewal.cancel()
        if release is not None and not self._releasing:
            release.cancel()
        under_way = [each for each in (grant, release) if each is not None]
        if under_way:
            await asyncio.wait(under_way, timeout=GIVE_BACK_S)
        asked = [each for each in (grant, renewal, release) if each is not None]
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        lease_id, self._id = self._id, ""
        if lease_id:
            with suppress(ControlError, TimeoutError):
                async with asyncio.timeout(GIVE_BACK_S):
                    await self._ask(State.RELEASE, lease_id)

    async def _granted(self) -> str:
        self._id = self._lease_id = await self._ask(State.GRANT, "")
        return self._id

    async def _renewed(self, grant: "asyncio.Task[str]") -> ControlError | None:
        """Why the renewal failed; where the grant failed, nothing is renewed."""
        try:
            await self._ask(State.RENEW, await asyncio.shield(grant))
        except ControlError as error:
            return error
        return None

    async def _released(self, renewal: "asyncio.Task[ControlError | None]") -> bool | ControlError:
        """Whether it was asked for, or why it failed; not where the renewal failed, which may be repeated."""
        if await asyncio.shield(renewal) is not None:
            return False
        lease_id = self._lease_id
        self._releasing = True
        try:
            await self._ask(State.RELEASE, lease_id)
        except ControlError as error:
            return error
        finally:
            self._releasing = False
        self._id = ""
        return True
