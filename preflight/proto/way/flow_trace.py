"""A trace along one flow without I/O: raw packets with a short TTL out, ICMP messages in.

A wave of TTLs leaves at once, and a wave without an answer is the last. Each probe has its own length, which an error
quotes, so that all of them keep the flow's ports: routers that share load by ports then treat them as the flow itself.
"""

from typing import Final

from preflight.model.event import Tell, silent
from preflight.model.flow import Flow
from preflight.model.icmp import Hop, Trace
from preflight.model.outer_error import OuterError
from preflight.model.routing import same_address
from preflight.proto.core import Core, Datagram, Received
from preflight.proto.way.outer_packets import probe, read_error, read_reply

WAVE: Final = 4
MOST_HOPS: Final = 8
"""Three traces of one run, and a second look at three hops of two of them, stay within 30 packets."""
WAIT_S: Final = 0.4
"""For a wave's answers: a router of a path of 200 ms is heard."""
ROUND_TRIPS: Final = 4
"""For a router's answer, in round trips to the destination behind it."""
NEXT_S: Final = 0.12
"""After this long the next wave leaves, if anyone has answered the one before; later answers to it still count."""


class FlowTrace(Core[Trace]):
    """One trace of a flow. first, most: the smallest and the largest TTL. wait_s: for the answers to a wave."""

    result: Trace | None = None

    def __init__(
        self,
        flow: Flow,
        *,
        identifier: int = 0,
        first: int = 1,
        most: int = MOST_HOPS,
        wait_s: float = WAIT_S,
        tell: Tell = silent,
    ) -> None:
        self._flow, self._identifier, self._wait_s, self._tell = flow, identifier, wait_s, tell
        self._first, self._most = first, most
        self._hops: dict[int, Hop] = {}
        self._sent_at: dict[int, float] = {}
        self._end: int | None = None
        """The TTL of the destination, or of the router that refuses."""
        self._before = 0
        self._deadline: float | None = None
        self._next_at = 0.0
        self._error: str | None = None

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """The next wave, once the one before is answered or its time is up."""
        if self.result is not None or self._deadline is not None:
            return []
        first = self._first + len(self._sent_at)
        answered = not self._sent_at or len(self._hops) > self._before
        if self._end is not None or not answered or first > self._most or self._error is not None:
            path = self._path()
            self.result = Trace(path, self._error, stopped=self._end is not None and not path[-1].reached)
            self._tell(now, "concluded", hops=len(self.result.hops), reached=self.result.reached, error=self._error)
            return []
        self._before = len(self._hops)
        wave = range(first, min(first + WAVE, self._most + 1))
        self._sent_at.update(dict.fromkeys(wave, now))
        self._deadline, self._next_at = now + self._wait_s, now + NEXT_S
        self._tell(now, "wave-sent", ttls=list(wave))
        to = (self._flow.destination, 0)
        return [Datagram(probe(self._flow, ttl, length=ttl, identifier=self._identifier), to) for ttl in wave]

    def unsent(self, datagram: Datagram, error: OSError, now: float) -> None:
        """A probe did not leave this host: its own filter, or no route."""
        self._error = error.strerror
        self._deadline = None

    def receive(self, received: Received, now: float) -> None:
        """Take an ICMP message; those about other packets are ignored."""
        sender = received.source[0]
        if self._flow.protocol == "icmp" and (ttl := read_reply(received.data, sender, self._identifier)) is not None:
            self._answered(ttl, sender, now, reached=True, ends=True)
        elif (error := read_error(received.data, sender)) is not None and self._is_mine(error):
            ttl = error.sequence if self._flow.protocol == "icmp" else error.payload_bytes
            reached = not error.expired and same_address(error.offender, self._flow.destination)
            self._answered(ttl or 0, error.offender, now, reached=reached, ends=not error.expired)
        if all(ttl in self._hops for ttl in self._sent_at if self._end is None or ttl <= self._end):
            self._deadline = None

    def is_there(self, ttl: int, rtt_ms: float) -> None:
        """Another flow has reached the destination: no probe goes further, and no answer takes much longer.

        What only this flow lacks then is asked for again, with all patience.
        """
        if self._deadline is None or self._first + len(self._sent_at) <= ttl:
            return
        self._most = self._first + len(self._sent_at) - 1
        soon = max(NEXT_S, ROUND_TRIPS * rtt_ms / 1000)
        self._deadline = min(self._deadline, max(self._sent_at.values()) + soon)

    def _is_mine(self, error: OuterError) -> bool:
        """By destination and ports; the source may be translated on the way, and back in the quote."""
        if not same_address(error.destination, self._flow.destination):
            return False
        if self._flow.protocol == "icmp":
            return error.sequence is not None and error.source_port == self._identifier
        return (error.source_port, error.destination_port) == (self._flow.source_port, self._flow.destination_port)

    def _answered(self, ttl: int, by: str, now: float, *, reached: bool, ends: bool) -> None:
        if ttl not in self._sent_at:
            return
        rtt_ms = (now - self._sent_at[ttl]) * 1000
        self._tell(now, "hop-answered", ttl=ttl, by=by, rtt_ms=rtt_ms, reached=reached)
        self._hops.setdefault(ttl, Hop(ttl, by, rtt_ms, reached))
        if ends:
            self._end = min(ttl, self._end or ttl)

    def get_timer(self) -> float | None:
        """When the wave's time is up; a time that has passed if the next wave is due."""
        if self.result is not None:
            return None
        if self._deadline is None:
            return 0.0
        return min(self._deadline, self._next_at) if self._goes_on() else self._deadline

    def handle_timer(self, now: float) -> None:
        """End the wave if its time is up, or begin the next one in addition."""
        if self._deadline is not None and (now >= self._deadline or (self._goes_on() and now >= self._next_at)):
            self._deadline = None

    def _goes_on(self) -> bool:
        """Whether there is a next wave, for this one has an answer, and not from the end."""
        more = self._first + len(self._sent_at) <= self._most
        return more and self._end is None and len(self._hops) > self._before

    def _path(self) -> tuple[Hop, ...]:
        """The hops from the first on, with gaps where nobody answered; nothing behind the end."""
        last = self._end or max(self._hops, default=0)
        return tuple(self._hops.get(ttl) or Hop(ttl, None) for ttl in range(self._first, last + 1))
