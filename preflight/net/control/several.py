"""Do several control planes answer at one URL, with different tokens and nodes, as behind a balancer?"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from preflight.model.control import ControlError, NodeList
from preflight.proto.control.token_text import accepted_once

if TYPE_CHECKING:
    from pydantic import SecretStr

    from preflight.net.control.client import ControlClient

TRIES = 3
"""Of two control planes in turn, the first try finds the other one; where chance decides, one of eight finds none."""


async def says_otherwise(
    new_client: "Callable[[], ControlClient]", token: "SecretStr | None", wanted: Callable[[NodeList], bool]
) -> bool:
    """Whether the list of nodes is as wanted in the answer to any of a few requests, each on another connection.

    Asked after the same client got another answer. A bearer that is accepted once is not used up for it.
    """
    if token is None or accepted_once(token.get_secret_value()):
        return False
    return any(await asyncio.gather(*(_is_wanted(new_client(), token, wanted) for _ in range(TRIES))))


async def lists(new_client: "Callable[[], ControlClient]", token: "SecretStr | None") -> list[NodeList]:
    """The lists of nodes in the answers to a few requests, each on another connection."""
    found: list[NodeList] = []

    def keep(listed: NodeList) -> bool:
        found.append(listed)
        return True

    await says_otherwise(new_client, token, keep)
    return found


async def _is_wanted(client: "ControlClient", token: "SecretStr", wanted: Callable[[NodeList], bool]) -> bool:
    try:
        return wanted(await client.with_token(token).nodes())
    except ControlError:
        return False
    finally:
        await client.aclose()
