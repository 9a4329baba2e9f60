"""Ask a link who has an address: one small broadcast, repeated twice where nobody answers.

Setting the state of the kernel's own entry to probing asks too, and finds a dead gateway only after 3.1 s, needs
CAP_NET_ADMIN, and changes the kernel's table. This question changes nothing there, needs CAP_NET_RAW, shows *all* that
answer, and every host of the link gets such questions all the time.
"""

import asyncio
import socket
import time
from contextlib import suppress
from typing import Final

from preflight.model.event import Listener, telling
from preflight.model.kernel import Link
from preflight.model.routing import Asked
from preflight.net import bpf
from preflight.net.bpf import attach_filter
from preflight.proto.way.neighbour_question import ARP, IPV6, answer, question

ASK_AGAIN_S: Final = 0.3
QUESTIONS: Final = 3
ANSWER_S: Final = 1.1
"""After the last question. The kernel asks once a second (RFC 4861 section 10): a machine that was just plugged in
answers late.
"""
OTHERS_S: Final = 0.1
"""After the first answer: how long others may take, where all that answer are wanted."""
_BYTES = 2048
_FILTERS: Final = {
    ARP: [
        (bpf.LOAD_HALF, 0, 0, 6),
        (bpf.EQUAL, 0, 1, 2),
        (bpf.RETURN, 0, 0, bpf.WHOLE),
        (bpf.RETURN, 0, 0, bpf.DROP),
    ],
    IPV6: [
        (bpf.LOAD_BYTE, 0, 0, 6),
        (bpf.EQUAL, 0, 3, socket.IPPROTO_ICMPV6),
        (bpf.LOAD_BYTE, 0, 0, 40),
        (bpf.EQUAL, 0, 1, 136),
        (bpf.RETURN, 0, 0, bpf.WHOLE),
        (bpf.RETURN, 0, 0, bpf.DROP),
    ],
}
"""Replies of ARP; advertisements of neighbours, behind a header of IPv6 without options."""


class NeighbourQuestions:
    """Asks on Ethernet links of this namespace."""

    def __init__(self, listener: Listener | None = None) -> None:
        self._tell = telling(listener, "way.ask_neighbour")

    async def ask(self, link: Link, address: str, *, every: bool = False) -> Asked | None:
        """Who answers for an address on a link; None where the link has no Ethernet address.

        every: wait for a second answer too, which means that two have it. Raises PermissionError without CAP_NET_RAW,
        and OSError where the link is down or gone.
        """
        if link.hardware is None or not link.resolves:
            return None
        try:
            protocol, to, packet = question(address, _own(link, address), link.hardware)
        except ValueError:
            return None
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        with socket.socket(socket.AF_PACKET, kind, socket.htons(protocol)) as asking:
            attach_filter(asking, _FILTERS[protocol])
            asking.bind((link.name, protocol))
            hardware = await self._answers(asking, (link, address, protocol, to, packet), every)
        others = tuple(each for each in hardware if each != link.hardware)
        self._tell(time.monotonic(), "asked", interface=link.name, address=address, answers=others)
        return Asked(interface=link.name, address=address, hardware=others)

    async def _answers(
        self, asking: socket.socket, asked: tuple[Link, str, int, bytes, bytes], every: bool
    ) -> tuple[str, ...]:
        link, address, protocol, to, packet = asked
        found: dict[str, None] = {}
        for number in range(1, QUESTIONS + 1):
            asking.sendto(packet, (link.name, protocol, 0, 0, to))
            with suppress(TimeoutError):
                async with asyncio.timeout(ASK_AGAIN_S if number < QUESTIONS else ANSWER_S):
                    found[await _next_answer(asking, address)] = None
            if found:
                break
        if found and every:
            with suppress(TimeoutError):
                async with asyncio.timeout(OTHERS_S):
                    while True:
                        found[await _next_answer(asking, address)] = None
        return tuple(found)


async def _next_answer(asking: socket.socket, address: str) -> str:
    loop = asyncio.get_running_loop()
    while True:
        packet, sender = await loop.sock_recvfrom(asking, _BYTES)
        if sender[2] != socket.PACKET_OUTGOING and (found := answer(packet, bytes(sender[4]), address)) is not None:
            return found


def _own(link: Link, address: str) -> str | None:
    """This node's address on the link, from which it asks; None for a question about that address itself."""
    if link.has(address):
        return None
    version = 6 if ":" in address else 4
    fitting = [each.ip for each in link.addresses if each.version == version]
    near = [ip for ip in fitting if not ip.is_link_local or version == 6]
    return str(near[0]) if near else None
