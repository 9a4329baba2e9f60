"""Whether answers are slow because something on the way holds back requests that follow each other quickly."""

import asyncio
from typing import TYPE_CHECKING

from preflight.model.control import ControlError, HttpAnswer

if TYPE_CHECKING:
    from preflight.net.control.client import ControlClient

PAUSE_S, ASKED_S = 1.5, 5.0
QUICK, SLOW = 0.3, 0.6
"""Parts of what an answer took before: less than the first after a pause, and more than the second right behind it."""


async def held_back(client: "ControlClient", usual_ms: float) -> HttpAnswer | None:
    """An answer that came quickly after a pause, where the next one took as long again as those before; else nothing.

    nginx does so with `limit_req` and a burst without `nodelay`. The client then asks no faster than that.
    """
    await asyncio.sleep(PAUSE_S)
    try:
        rested = await client.health(timeout_s=ASKED_S)
        pressed = await client.health(timeout_s=ASKED_S)
    except ControlError:
        return None
    if rested.status != pressed.status or rested.rtt_ms > usual_ms * QUICK or pressed.rtt_ms < usual_ms * SLOW:
        return None
    client.pace.limit(usual_ms / 1000)
    return rested
