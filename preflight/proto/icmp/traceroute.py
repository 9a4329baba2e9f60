"""Traceroute by UDP without I/O: datagrams with a short TTL out, ICMP errors about them in.

A wave of TTLs leaves at once; a wave without an answer is the last. Each TTL has its own destination port, which an
ICMP error quotes. The destination answers with "port unreachable", so the probes touch none of its services.
"""

from ipaddress import ip_address
from typing import Final

from preflight.model.event import Tell, silent
from preflight.model.icmp import Hop, Trace
from preflight.proto.core import Core, Datagram, Refusal

FIRST_PORT: Final = 33434
WAVE: Final = 4
"""Below the burst of 6 port-unreachables that Linux grants one destination (icmp_ratelimit)."""
PAYLOAD: Final = b"preflight traceroute"


class Traceroute(Core[Trace]):
    """One trace to a literal address. timeout_s: how long to wait for the answers to a wave, seconds."""

    result: Trace | None = None

    def __init__(self, address: str, *, max_hops: int, timeout_s: float, tell: Tell = silent) -> None:
        self._address = address
        self._destination = str(ip_address(address.partition("%")[0]))
        self._max_hops, self._timeout_s, self._tell = max_hops, timeout_s, tell
        self._hops: dict[int, Hop] = {}
        self._sent_at: dict[int, float] = {}
        self._error: str | None = None
        self._end: int | None = None
        """The TTL at which the trace ends: the destination's, or that of a router without a route."""
        self._before = 0
        self._deadline: float | None = None

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """The next wave, once the one before is answered or its time is up."""
        if self.result is not None or self._deadline is not None:
            return []
        first = len(self._sent_at) + 1
        answered = first == 1 or len(self._hops) > self._before
        if self._end is not None or not answered or first > self._max_hops:
            self.result = Trace(self._path(), self._error)
            self._tell(now, "concluded", hops=len(self.result.hops), reached=self.result.reached, error=self._error)
            return []
        self._before = len(self._hops)
        wave = range(first, min(first + WAVE, self._max_hops + 1))
        self._sent_at.update(dict.fromkeys(wave, now))
        self._deadline = now + self._timeout_s
        self._tell(now, "wave-sent", ttls=list(wave))
        return [Datagram(PAYLOAD, (self._address, FIRST_PORT + ttl), ttl) for ttl in wave]

    def unsent(self, datagram: Datagram, error: OSError, now: float) -> None:
        """A probe did not leave this host."""
        self._error = error.strerror

    def refused(self, refusal: Refusal, now: float) -> None:
        """Keep the first answer to each TTL."""
        ttl = refusal.destination[1] - FIRST_PORT if refusal.destination else 0
        if refusal.local:
            self._error = refusal.reason
        elif refusal.offender is not None and ttl in self._sent_at:
            self._answered(ttl, refusal, refusal.offender, now)
        if all(ttl in self._hops for ttl in self._sent_at if self._end is None or ttl <= self._end):
            self._deadline = None

    def _answered(self, ttl: int, refusal: Refusal, by: str, now: float) -> None:
        rtt_ms = (now - self._sent_at[ttl]) * 1000
        # Its firewall may prohibit the port instead of leaving it closed: it is the destination anyway.
        reached = not refusal.time_exceeded and by == self._destination
        self._tell(now, "hop-answered", ttl=ttl, by=by, rtt_ms=rtt_ms, reached=reached)
        self._hops.setdefault(ttl, Hop(ttl, by, rtt_ms, reached, refusal.interface or None))
        if not refusal.time_exceeded:
            self._end = min(ttl, self._end or ttl)

    def get_timer(self) -> float | None:
        """When the wave's time is up; a time that has passed if the next wave is due."""
        if self.result is not None:
            return None
        return self._deadline if self._deadline is not None else 0.0

    def handle_timer(self, now: float) -> None:
        """End the wave if its time is up."""
        if self._deadline is not None and now >= self._deadline:
            self._tell(now, "timer", unanswered=[ttl for ttl in self._sent_at if ttl not in self._hops])
            self._deadline = None

    def _path(self) -> tuple[Hop, ...]:
        """The hops from the first on, with gaps where nobody answered; nothing after the end."""
        last = self._end or max(self._hops, default=0)
        return tuple(self._hops.get(ttl) or Hop(ttl, None) for ttl in range(1, last + 1))
