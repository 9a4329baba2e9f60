"""How fast the probes of a run may leave in one direction: no more than the path was shown to carry; pure.

A burst that a slow link spreads out shows what that link carries (RFC 8085 section 3.1). From then on all searches of a
run share that rate, because their peers share an uplink. Times are seconds, sizes bytes of IP packet.
"""

from collections.abc import Sequence

from preflight.proto.pmtu.probe import Probe

NOTICED_S = 0.002
"""A burst that was spread out by less than this met no slow link: hosts are late by as much."""
BURST_BYTES = 12_000
"""Eight full packets: what a search sends at most before it looks."""
HEADROOM = 1.25
"""By how much the pace is slower than what the link carries, for headers of the tunnel and for others' packets."""
SLOWEST_S_PER_BYTE = 2e-4
"""40 kbit/s: a search at less would not end."""
QUICKEST_S_PER_BYTE = 1e-8
"""800 Mbit/s: a link that has shown to be quick is not taken for a slow one when a host is late again."""
IN_FLIGHT_S = 0.4
"""For how long the bursts of the searches that run at one time may fill the link."""


class Budget:
    """The pace of one direction, by the quickest burst so far: a host may be late with any of them.

    Once packets that fit were lost at it, it only becomes slower.
    """

    def __init__(self) -> None:
        self.s_per_byte = 0.0
        self._lost = False
        self._free_at = 0.0

    @property
    def limited(self) -> bool:
        """Whether a slow link has been seen."""
        return self.s_per_byte > 0

    def due(self, size: int, now: float) -> float:
        """When packets of this size may leave; their place is taken."""
        due = max(self._free_at, now)
        self._free_at = due + size * self.s_per_byte
        return due

    def at_once(self, most: int) -> int:
        """How many searches may run at one time."""
        burst_s = BURST_BYTES * self.s_per_byte
        return most if burst_s * most <= IN_FLIGHT_S else max(1, int(IN_FLIGHT_S / burst_s))

    def learn(self, burst: Sequence[Probe], largest_passing: int, quickest_s: float) -> None:
        """Take what a whole burst shows. largest_passing: smaller packets too are lost by a full queue or by chance.

        quickest_s: the shortest round trip so far.
        """
        first = lead(burst, quickest_s)
        if first is None:
            return
        late_s, size = first
        seen = max(spread(burst) or 0.0, late_s / size if late_s >= NOTICED_S else 0.0)
        if not self.limited:
            self.s_per_byte = min(HEADROOM * seen, SLOWEST_S_PER_BYTE)
        elif any(not probe.arrived and probe.size <= largest_passing for probe in burst):
            self._lost = True
            self.s_per_byte = min(max(2 * self.s_per_byte, seen), SLOWEST_S_PER_BYTE)
        elif not self._lost:
            self.s_per_byte = max(min(self.s_per_byte, HEADROOM * late_s / size), QUICKEST_S_PER_BYTE)


def spread(burst: Sequence[Probe]) -> float | None:
    """Seconds that the path took for each byte of a burst; None if it did not spread the burst out.

    From the first that arrived to the last, in the order of sending. What was lost between them counts: it may have
    been lost behind the slow link.
    """
    came = [number for number, probe in enumerate(burst) if probe.arrived]
    if len(came) < 2:
        return None
    first, last = burst[came[0]], burst[came[-1]]
    if first.sent_at is None or last.sent_at is None:
        return None
    took_s, sent_s = last.arrived_at - first.arrived_at, last.sent_at - first.sent_at
    if took_s - sent_s < NOTICED_S:
        return None
    return took_s / sum(probe.size for probe in burst[came[0] + 1 : came[-1] + 1])


def lead(burst: Sequence[Probe], quickest_s: float) -> tuple[float, int] | None:
    """By how many seconds the first packet that arrived was later than the shortest round trip, and the bytes up to it.

    A short queue loses the end of a burst, so that what arrives last says nothing of what was lost before it.
    """
    for number, probe in enumerate(burst):
        if probe.arrived and probe.sent_at is not None:
            late_s = probe.arrived_at - probe.sent_at - quickest_s
            return max(late_s, 0.0), sum(each.size for each in burst[: number + 1])
    return None
