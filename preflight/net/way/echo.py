"""One ICMP echo to a host: what comes back, and from whom. Needs a raw socket, which also shows refusals."""

import asyncio
import os
from typing import Final

from icmplib import ICMPRequest, ICMPv4Socket, ICMPv6Socket
from icmplib.exceptions import ICMPLibError

from preflight.model.tapped import EchoAnswer

TIMEOUT_S: Final = 0.5


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
