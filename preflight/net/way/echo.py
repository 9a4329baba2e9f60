"""One ICMP echo to a host: what comes back, and from whom. Needs a raw socket, which also shows refusals."""

import asyncio
import os
from typing import Final

from icmplib import ICMPRequest, ICMPv4Socket, ICMPv6Socket
from icmplib.exceptions import ICMPLibError

from preflight.model.tapped import EchoAnswer

TIMEOUT_S: Final = 0.5
ERRORS_AGAIN_S: Final = 1.1
"""Linux sends one destination an error each second, after the first six, which other checks may have used up."""


async def ask_again(address: str, *, refused: bool) -> EchoAnswer | None:
    """What comes back for an echo to a host that called a port closed.

    It may have used up its errors, and has another one in a second, so that it is asked twice.
    refused: whether the host has said "port unreachable" of an echo before: then it is not asked.
    """
    if refused:
        kind, code = (1, 4) if ":" in address else (3, 3)
        return EchoAnswer(kind=kind, code=code, source=address)
    answer = await ask_echo(address)
    if answer is None:
        await asyncio.sleep(ERRORS_AGAIN_S)
        answer = await ask_echo(address)
    return answer


async def ask_echo(address: str) -> EchoAnswer | None:
    """The first answer to one echo; None if none came in time, or if this process may not open a raw socket."""
    return await asyncio.to_thread(_ask, address)


def _ask(address: str) -> EchoAnswer | None:
    request = ICMPRequest(destination=address, id=int.from_bytes(os.urandom(2)), sequence=1)
    try:
        with (ICMPv6Socket if ":" in address else ICMPv4Socket)() as link:
            link.send(request)
            reply = link.receive(request, TIMEOUT_S)
    except ICMPLibError:
        return None
    return EchoAnswer(kind=reply.type, code=reply.code, source=reply.source)
