"""After the control plane refused this node's bearer: does it accept another text, or the same one a moment later?"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import SecretStr

from preflight.model.control import ControlError
from preflight.model.token import Better, HeldToken
from preflight.net.control.several import says_otherwise
from preflight.proto.control.token_text import accepted_once, decoded
from preflight.settings.tokens import differing

if TYPE_CHECKING:
    from preflight.net.control.client import ControlClient


class OtherBearer:
    """Asks once in a run. bearers: the one that won first. new_client: makes the same client on new connections.

    Other programs of this node send the hidden ones to the same control plane anyway.
    """

    def __init__(
        self, client: "ControlClient", bearers: Sequence[HeldToken], new_client: "Callable[[], ControlClient]"
    ) -> None:
        self._client = client
        self._bearers = bearers
        self._new_client = new_client
        self._alone = asyncio.Lock()
        self._found: list[Better | None] = []

    async def accepted(self) -> Better | None:
        """What is accepted in the place of the bearer that won."""
        async with self._alone:
            if not self._found:
                self._found = [await self._look()]
        return self._found[0]

    async def _look(self) -> Better | None:
        used = next(iter(self._bearers), None)
        if used is None or used.value is None:
            return None
        if await says_otherwise(self._new_client, used.value, lambda _: True):
            return Better(used, used, "again")
        for held in differing(self._bearers):
            if await self._is_good(held):
                return Better(used, held, "hidden")
        plain = decoded(used.value.get_secret_value())
        inside = replace(used, value=SecretStr(plain)) if plain is not None else None
        return Better(used, inside, "decoded") if inside is not None and await self._is_good(inside) else None

    async def _is_good(self, held: HeldToken) -> bool:
        """One that is accepted once is not used up for a look."""
        if held.value is None or accepted_once(held.value.get_secret_value()):
            return False
        try:
            await self._client.with_token(held.value).nodes()
        except ControlError:
            return False
        return True
