"""Another bearer of this node, in a place that a stronger one hides: would the control plane accept that one?"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from preflight.model.control import ControlError
from preflight.model.token import HeldToken
from preflight.proto.control.token_text import accepted_once
from preflight.settings.tokens import differing

if TYPE_CHECKING:
    from preflight.net.control.client import ControlClient


class OtherBearer:
    """Asks once in a run, after the control plane refused the bearer that won. bearers: that one first.

    Other programs of this node send the hidden ones to the same control plane anyway.
    """

    def __init__(self, client: "ControlClient", bearers: Sequence[HeldToken]) -> None:
        self._client = client
        self._bearers = bearers
        self._alone = asyncio.Lock()
        self._found: list[HeldToken | None] = []

    async def accepted(self) -> tuple[HeldToken, HeldToken] | None:
        """The bearer that won, and the first hidden one that gets the list of nodes."""
        async with self._alone:
            if not self._found:
                self._found = [await self._look()]
        (other,) = self._found
        return None if other is None else (self._bearers[0], other)

    async def _look(self) -> HeldToken | None:
        for held in differing(self._bearers):
            # One that is accepted once is not used up for a look.
            if held.value is None or accepted_once(held.value.get_secret_value()):
                continue
            try:
                await self._client.with_token(held.value).nodes()
            except ControlError:
                continue
            return held
        return None
