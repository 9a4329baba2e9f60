"""A lease that a far control plane grants and renews while it answers heartbeats: its answers take no time."""

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
    """Asked for when it is made; `granted` and `renewed` give the answers once, and then ask again.

    `end` gives back what `granted` did not hand over.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._id = ""
        self._grant: asyncio.Task[str] | None = asyncio.ensure_future(self._granted())
        self._renewal: asyncio.Task[ControlError | None] | None = asyncio.ensure_future(self._renewed(self._grant))

    async def granted(self) -> str:
        """The lease's id. Raises ControlError."""
        grant, self._grant = self._grant, None
        if grant is None:
            return await self._ask(State.GRANT, "")
        try:
            lease_id = await grant
        except BaseException:
            self._renewal = None  # of that lease
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

    async def end(self) -> None:
        """Ask nothing more, and give back what was granted to nobody.

        A grant that is under way is waited for: the server would carry it out in any case.
        """
        grant, renewal = self._grant, self._renewal
        self._grant = self._renewal = None
        if renewal is not None:
            renewal.cancel()
        if grant is not None:
            await asyncio.wait({grant}, timeout=GIVE_BACK_S)
            grant.cancel()
        await asyncio.gather(*filter(None, (renewal, grant)), return_exceptions=True)
        lease_id, self._id = self._id, ""
        if lease_id:
            with suppress(ControlError, TimeoutError):
                async with asyncio.timeout(GIVE_BACK_S):
                    await self._ask(State.RELEASE, lease_id)

    async def _granted(self) -> str:
        self._id = await self._ask(State.GRANT, "")
        return self._id

    async def _renewed(self, grant: "asyncio.Task[str]") -> ControlError | None:
        """Why the renewal failed; where the grant failed, nothing is renewed."""
        try:
            await self._ask(State.RENEW, await asyncio.shield(grant))
        except ControlError as error:
            return error
        return None
