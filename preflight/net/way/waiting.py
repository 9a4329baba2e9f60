"""What is waited for once a burst has left: from whom, and the empty packet by which WireGuard confirms data."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from preflight.net.way.tap import Tap
from preflight.proto.way.empty_packet import confirmed_s, due_ns, may_come
from preflight.proto.way.observers import Record, view_of
from preflight.proto.way.tunnel_view import on_the_wire
from preflight.proto.way.verdict import Verdict

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


def endpoints_of(sent: Record) -> frozenset[tuple[str, int]]:
    """Where the owner of the peer's address is, as far as this node knows it."""
    owner = sent.tunnel.remote_for(sent.peer.address)
    if owner is None or not owner.endpoint_address or not owner.endpoint_port:
        return frozenset()
    return frozenset(((owner.endpoint_address, owner.endpoint_port),))


def shows_its_end(sent: Record) -> bool:
    """Whether what the peer sends when it is asked shows from where: VXLAN names both ends, and nothing came by now."""
    report = sent.asked.report if sent.asked is not None else None
    inside = (packet.tunnel for packet in sent.tapped.packets if packet.tunnel is not None)
    came = any(each.inner_source == sent.peer.address for each in inside)
    return sent.carrier == "vxlan" and report is not None and report.sent > 0 and not came
