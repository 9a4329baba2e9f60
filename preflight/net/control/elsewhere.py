"""Where else a control plane may answer when `/health` is not its own: its API, or the path behind a prefix."""

from typing import TYPE_CHECKING

from preflight.model.control import ControlError, HttpAnswer
from preflight.proto.control.answerer import BACKEND, OWN
from preflight.proto.control.populi import HEALTHY, LIST_ROUTE, LOOKED_AT_BYTES, is_populi

if TYPE_CHECKING:
    from preflight.net.control.client import ControlClient

ASKED_S = 5.0
SAMPLES = 2
_ANSWERED_ITSELF = (200, 204, 401, 403, 404, 405, *BACKEND)
"""How gateways answer what they do not hand on, or hand to a server that is dead."""


async def past_health(client: "ControlClient", health: HttpAnswer | ControlError | None) -> tuple[HttpAnswer, ...]:
    """Answers of a control plane's API without a bearer, where only `/health` is answered by another server."""
    if not isinstance(health, HttpAnswer) or is_populi(health) or health.status not in _ANSWERED_ITSELF:
        return ()
    found = []
    try:
        for _ in range(SAMPLES):
            found.append(await client.send("GET", LIST_ROUTE, timeout_s=ASKED_S, most_bytes=LOOKED_AT_BYTES))
            if not (is_populi(found[-1]) and found[-1].status in OWN) or found[-1].kept:
                return ()
    except ControlError:
        return ()
    return tuple(found)


async def keeps_a_slash(client: "ControlClient") -> bool:
    """Whether a gateway takes the URL's prefix away and not the slash behind it.

    Then a control plane is healthy where the prefix is followed by no slash at all.
    """
    try:
        answer = await client.send("GET", "health", timeout_s=ASKED_S)
    except ControlError:
        return False
    return is_populi(answer) and answer.status == HEALTHY
