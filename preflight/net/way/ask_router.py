"""Ask a neighbour whether it is a router for an address: a packet that may pass one machine only, sent to it alone.

A router looks for the way before it counts the TTL down, so its "TTL expired" says that it has a way to the address.
Any other host drops the packet silently. The packet is a trace's: short, and of zeros.
"""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from preflight.model.event import Listener, telling
from preflight.model.flow import Flow
from preflight.model.routing import Neighbour, same_address
from preflight.net.raw_icmp import open_raw_icmp
from preflight.net.udp import family_of, waiting
from preflight.proto.way.neighbour_question import IPV4, IPV6, packed_hardware
from preflight.proto.way.outer_packets import on_the_link, probe, read_error

ANSWER_S: Final = 0.4
LOOK_S: Final = 0.02
MOST: Final = 4
"""Neighbours that are asked; a link with more has other ways to find its router."""


class RouterQuestions:
    """Asks neighbours on Ethernet links of this namespace."""

    def __init__(self, listener: Listener | None = None) -> None:
        self._tell = telling(listener, "way.ask_router")

    async def ask(self, neighbours: Sequence[Neighbour], flow: Flow) -> tuple[Neighbour, ...]:
        """Those of the neighbours that would send the flow on.

        flow: the tunnel's own packets, with a source that this node has on the link. Raises PermissionError without
        CAP_NET_RAW, and OSError where a link is down or gone.
        """
        asked = [each for each in neighbours[:MOST] if each.hardware]
        if not asked or not flow.source:
            return ()
        with open_raw_icmp(family_of(flow.destination)) as errors:
            for number, neighbour in enumerate(asked, 1):
                _send(neighbour, on_the_link(probe(flow, 1, length=number)))
            return await self._answers(errors, asked, flow)

    async def _answers(self, errors: socket.socket, asked: Sequence[Neighbour], flow: Flow) -> tuple[Neighbour, ...]:
        found: dict[str, Neighbour] = {}
        loop = asyncio.get_running_loop()
        end = loop.time() + ANSWER_S
        while len(found) < len(asked) and loop.time() < end:
            for message in waiting(errors):
                error = read_error(message.data, message.source[0])
                if error is None or not error.expired or not same_address(error.destination, flow.destination):
                    continue
                number = error.payload_bytes or 0
                if 1 <= number <= len(asked):
                    # A router may answer from another of its addresses: the number says whom it was sent to.
                    found[asked[number - 1].address] = asked[number - 1]
            await asyncio.sleep(LOOK_S)
        self._tell(loop.time(), "asked", neighbours=[each.address for each in asked], routers=list(found))
        return tuple(found.values())


def _send(neighbour: Neighbour, packet: bytes) -> None:
    """Past the kernel's routes, to this neighbour's hardware address."""
    protocol = IPV6 if ":" in neighbour.address else IPV4
    with suppress(ValueError):
        to = packed_hardware(neighbour.hardware or "")
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0) as link:
            link.sendto(packet, (neighbour.interface, protocol, 0, 0, to))
