"""What is waited for once a burst has left: the errors of who refuses it, and WireGuard's empty packet."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from preflight.model.peer import Peer
from preflight.model.tapped import TapPacket
from preflight.net.way.echo import ERRORS_AGAIN_S, ask_echo
from preflight.net.way.tap import Tap
from preflight.proto.way.empty_packet import confirmed_s, due_ns, worth_waiting
from preflight.proto.way.observers import Record, view_of
from preflight.proto.way.patience import error_s, last_data_ns, refused
from preflight.proto.way.tunnel_view import on_the_wire
from preflight.proto.way.verdict import Verdict

if TYPE_CHECKING:
    from preflight.net.stamp.path import PathProbes

LOOK_S: Final = 0.1
INTERVAL_S: Final = 0.02


async def confirmed_or_late(tap: Tap, record: Record, verdicts: Sequence[Verdict]) -> bool:
    """Wait for it until it must have come, 11 s after the run's first packet; whether there is more to read now.

    Only where nothing else has shown what happens to the packets, and the peer has reported nothing.
    """
    reported = record.asked is not None and record.asked.report is not None
    if reported or record.pings or any(each.code is not None for each in verdicts):
        return False
    seen = view_of(record)
    if not worth_waiting(seen, on_the_wire(seen)):
        return False
    while time.time_ns() < due_ns(record.first_sent_ns) and confirmed_s(seen, on_the_wire(seen)) is None:
        await asyncio.sleep(LOOK_S)
        seen = view_of(replace(record, tapped=tap.taken()))
        if not worth_waiting(seen, on_the_wire(seen)):
            break
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


def with_rules_of(record: Record, first: Record) -> Record:
    """With the rules as they were right after the burst, too: other packets move their counters later."""
    return replace(record, after=replace(record.after, rules=first.after.rules), later_rules=record.after.rules)


def with_answers_of(record: Record, later: Iterable[TapPacket]) -> Record:
    """With who answered for the peer's address outside, from any end, since the record was made."""
    seen = set(record.tapped.packets)
    came = (
        each for each in later if each.tunnel is not None and each.tunnel.kind == "neighbours" and not each.outgoing
    )
    return replace(
        record,
        tapped=replace(record.tapped, packets=(*record.tapped.packets, *(each for each in came if each not in seen))),
    )


class Refusals:
    """Asks for the error of who refuses a peer's packets, and may have used up its errors. path: sends a packet."""

    def __init__(self, path: "PathProbes") -> None:
        self._path, self._one, self._due_s = path, asyncio.Lock(), 0.0

    async def asked_for(self, peer: Peer, tap: Tap, to: frozenset[tuple[str, int]]) -> bool:
        """Send once more where data left and no error came; whether it did.

        What else comes in says nothing of what this node sends. One peer after another: a gateway that refuses several
        has one error a second for this node.
        """
        tapped = tap.taken()
        last_ns = last_data_ns(tapped.packets, to)
        if last_ns is None or refused(tapped.packets, to):
            return False
        if tapped.errors_since_ns and last_ns - tapped.errors_since_ns >= ERRORS_AGAIN_S * 1e9:
            return False  # meanwhile there was an error for this node to have, and it heard none at all
        await asyncio.sleep(max(0.0, ERRORS_AGAIN_S - (time.time_ns() - last_ns) / 1e9))
        async with self._one:
            await asyncio.sleep(max(0.0, self._due_s - time.monotonic()))
            began, echo = time.monotonic(), asyncio.create_task(_round_trip_s(to))
            await self._path.stamp(peer, count=1, interval_s=INTERVAL_S, timeout_s=INTERVAL_S)
            self._due_s = time.monotonic() + ERRORS_AGAIN_S
        while time.monotonic() - began < error_s(echo.result() if echo.done() else None):
            await asyncio.sleep(LOOK_S)
            if refused(tap.taken().packets, to):
                break
        echo.cancel()
        return True


async def _round_trip_s(to: frozenset[tuple[str, int]]) -> float | None:
    """How long the only host there takes to answer an echo, if it does: no error on the way to it takes much longer."""
    hosts, began = {address for address, _ in to}, time.monotonic()
    if len(hosts) != 1:
        return None
    echo = await ask_echo(hosts.pop())
    return time.monotonic() - began if echo is not None and echo.replies else None
