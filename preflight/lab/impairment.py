"""A bad link as a pure queue: packets and a clock in, packets and a deadline out. Percentages are from 0 to 100."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Impairment:
    """What a link does to its packets. Delays in milliseconds; jitter adds up to that much and keeps the order.

    rate_kbit: what it carries, kilobits a second, 0 = no limit; packets that would wait longer than `QUEUE_S` are
    dropped.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss_percent: float = 0.0
    duplication_percent: float = 0.0
    reordering_percent: float = 0.0
    rate_kbit: float = 0.0

    def summary(self) -> str:
        """What is wrong with it, in words."""
        wrong = {field.name: value for field in fields(self) if (value := getattr(self, field.name))}
        parts = [(value, *name.rsplit("_", 1)) for name, value in wrong.items()]
        return ", ".join(f"{value:g} {unit.replace('percent', '%')} {what}" for value, what, unit in parts)


QUEUE_S = 0.2
"""The queue of a slow link, seconds: as large as in common routers."""
HELD_S = 0.05
"""How long a packet waits to be overtaken, seconds."""


class ImpairedLink:
    """One direction of a link. `chance` gives numbers from 0 up to 1; times are seconds of any steady clock."""

    def __init__(self, impairment: Impairment, chance: Callable[[], float]) -> None:
        self._impairment = impairment
        self._chance = chance
        self._due: list[tuple[float, int, bytes]] = []
        self._held: tuple[float, bytes] | None = None
        self._last_due = 0.0
        self._busy_until = 0.0
        self._number = 0

    def accept(self, packet: bytes, now: float) -> None:
        """A packet enters the link."""
        if self._happens(self._impairment.loss_percent):
            return
        sent_at = self._sent_at(len(packet), now)
        if sent_at is None:
            return
        late = self._impairment.delay_ms + self._impairment.jitter_ms * self._chance()
        # A packet behind a slow one comes out together with it: jitter alone never reorders.
        due = self._last_due = max(self._last_due, sent_at + late / 1000)
        if self._held is None and self._happens(self._impairment.reordering_percent):
            self._held = (due + HELD_S, packet)
            return
        self._push(due, packet)
        if self._happens(self._impairment.duplication_percent):
            self._push(due, packet)
        if self._held is not None:
            self._push(due, self._held[1])
            self._held = None

    def _sent_at(self, size: int, now: float) -> float | None:
        """When the last bit of a packet is sent, after those that wait already; None: the queue is full."""
        if self._impairment.rate_kbit <= 0:
            return now
        begins = max(now, self._busy_until)
        if begins - now > QUEUE_S:
            return None
        self._busy_until = begins + size * 8 / (self._impairment.rate_kbit * 1000)
        return self._busy_until

    def leave(self, now: float) -> list[bytes]:
        """The packets that have left the link by now, in order."""
        if self._held is not None and self._held[0] <= now:
            self._push(*self._held)
            self._held = None
        out = []
        while self._due and self._due[0][0] <= now:
            out.append(heapq.heappop(self._due)[2])
        return out

    def deadline(self) -> float | None:
        """When to call again; None: not before the next packet."""
        waiting = [self._due[0][0]] if self._due else []
        return min([*waiting, self._held[0]] if self._held is not None else waiting, default=None)

    def _push(self, due: float, packet: bytes) -> None:
        self._number += 1  # packets with the same time leave in the order in which they came
        heapq.heappush(self._due, (due, self._number, packet))

    def _happens(self, percent: float) -> bool:
        return percent > 0 and self._chance() * 100 < percent


def undiminished(packet: bytes) -> bytes:
    """The IP packet with the TTL restored that routing into the link has used: a bad link is a link, not a router.

    The IPv4 header checksum is updated incrementally (RFC 1624), so that a wrong checksum stays wrong.
    """
    if len(packet) >= 20 and packet[0] >> 4 == 4 and packet[8] < 255:
        checksum = int.from_bytes(packet[10:12]) - 0x0100
        whole = (checksum + 0xFFFF if checksum < 0 else checksum).to_bytes(2)
        return packet[:8] + bytes([packet[8] + 1]) + packet[9:10] + whole + packet[12:]
    if len(packet) >= 40 and packet[0] >> 4 == 6 and packet[7] < 255:
        return packet[:7] + bytes([packet[7] + 1]) + packet[8:]
    return packet
