"""Where a peer is instead, whose address nobody has: asks the tunnel's peers at the addresses that they have.

A few echoes, and two packets to each responder; only where the tunnel of WireGuard gives the address to nobody.
"""

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from preflight.net.way.echo import ask_echo
from preflight.proto.way.observers import Record
from preflight.proto.way.owners import may_be, may_lack

if TYPE_CHECKING:
    from preflight.net.stamp.path import PathProbes

COUNT: Final = 2
INTERVAL_S: Final = 0.02
ANSWER_S: Final = 0.5


async def with_living(record: Record, path: "PathProbes") -> Record:
    """The record with those that answer at the address that the tunnel gives to them; without a change else."""
    asked = may_lack(record.tunnel, record.peer.address, record.others)
    if not asked or record.stats.answered:
        return record
    elsewhere = may_be(record.tunnel, record.peer.address, record.heard, time.time())
    echoes, answers = await asyncio.gather(
        asyncio.gather(*map(ask_echo, asked)),
        asyncio.gather(*(_answers(record, path, each) for each in elsewhere)),
    )
    living = frozenset(each for each, echo in zip(asked, echoes, strict=True) if echo is not None and echo.replies)
    answering = tuple(each for each, answer in zip(elsewhere, answers, strict=True) if answer)
    return replace(record, living=living, silent=frozenset(asked) - living, answering=answering)


async def _answers(record: Record, path: "PathProbes", address: str) -> bool:
    """Whether a responder with this node's key answers there."""
    peer = replace(record.peer, address=address)
    stats = await path.stamp(peer, count=COUNT, interval_s=INTERVAL_S, timeout_s=ANSWER_S)
    return bool(stats.answered)
