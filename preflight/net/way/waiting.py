"""How long to wait for what a tunnel sends next: its handshake, an answer, the empty packet that confirms data."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from preflight.model.tapped import TapPacket
from preflight.net.way.tap import Tap
from preflight.proto.way.empty_packet import confirmed_s, due_ns, may_come
from preflight.proto.way.observers import Record, view_of
from preflight.proto.way.tunnel_view import on_the_wire
from preflight.proto.way.verdict import Verdict

_ASKING: Final = ("initiation", "data", "control", "neighbours")
DATA_S: Final = 0.9
"""How long answers to the burst may take to be seen on any device, from its first packet on."""
HANDSHAKE_S: Final = 1.2
"""How long the answer to a handshake may take, and what follows from it."""
RETRY_S: Final = 5.6
"""WireGuard sends its next initiation within this time (REKEY_TIMEOUT is 5 s, with a third of a second of jitter)."""
REKEY_S: Final = 5.0
LOOK_S: Final = 0.1


async def confirmed_or_late(tap: Tap, record: Record, verdicts: Sequence[Verdict]) -> bool:
    """Wait for it until it must have come, 11 s after the run's first packet; whether there is more to read now.

    Only where nothing else has shown what happens to the packets, and the peer has reported nothing.
    """
    reported = record.asked is not None and record.asked.report is not None
    if reported or record.pings or any(each.code is not None for each in verdicts):
        return False
    seen = view_of(record)
    if not may_come(seen, on_the_wire(seen)):
        return False
    while time.time_ns() < due_ns(record.first_sent_ns) and confirmed_s(seen, on_the_wire(seen)) is None:
        await asyncio.sleep(LOOK_S)
        seen = view_of(replace(record, tapped=tap.taken()))
    return True


def asks_for_answer(packet: TapPacket) -> bool:
    """Whether this node's tunnel sent something that needs an answer: its own handshake, or what is inside."""
    return packet.outgoing and packet.tunnel is not None and packet.tunnel.kind in _ASKING


def unanswered_for(asked: Sequence[TapPacket]) -> float | None:
    """How much longer the answers may take, seconds; None if nothing was sent.

    From the first packet on: a busy tunnel sends all the time.
    """
    if not asked:
        return None
    data = [packet for packet in asked if packet.tunnel is not None and packet.tunnel.kind != "initiation"]
    sent, patience_s = (data[0], DATA_S) if data else (asked[0], HANDSHAKE_S)
    return patience_s - (time.time_ns() - sent.received_ns) / 1e9


def may_ask(packets: Iterable[TapPacket], now_ns: int) -> bool:
    """Whether WireGuard would start a handshake of its own for a packet: 5 s after the last it sent, also in answer.

    A peer that calls every five seconds leaves a third of a second for that.
    """
    shakes = (packet for packet in packets if packet.outgoing and packet.tunnel and packet.tunnel.is_handshake)
    sent_ns = [packet.received_ns for packet in shakes]
    return bool(sent_ns) and REKEY_S <= (now_ns - sent_ns[-1]) / 1e9 <= RETRY_S
