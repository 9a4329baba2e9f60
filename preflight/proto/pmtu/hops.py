"""Behind which hop do large packets vanish? Large and small packets with a short TTL, without I/O.

A hop that answers "time exceeded" to a large packet has received it: a router looks at the TTL before it looks at the
next link's MTU. A hop that answers small packets sent *after* large ones, again and again, and never a large one, has
not: neither random loss nor a limit on its ICMP explains that. All packets go to one port, so that they take one path.
"""

from collections.abc import Iterable

from preflight.model.event import Tell, silent
from preflight.model.pmtu_hops import HopFate, Vanishing
from preflight.proto.core import Core, Datagram, Refusal
from preflight.proto.pmtu.wire import TOKEN_BYTES, overhead

MAX_HOPS = 12
WAVE = 4
"""Hops probed at once: below the burst of six errors that Linux grants one destination (icmp_ratelimit)."""
REFILL_S, REFILLS = 1.0, 3
"""Linux grants one more error after that time: a few times, wait for hops that left a small packet unanswered."""
GRACE_PART = 8
"""By this share of the patience an answer to a large packet may come later than that to the small one sent after it."""

_NUMBER = slice(TOKEN_BYTES, TOKEN_BYTES + 2)


class HopSearch(Core[Vanishing]):
    """One search; its datagrams have a TTL each, its answers are ICMP errors.

    address: where to. small, large: IP packets in bytes, one that arrives there and one that does not. token: eight
    random bytes. patience_s: how long an answer may take, seconds.
    """

    result: Vanishing | None = None

    def __init__(
        self, *, address: str, small: int, large: int, token: bytes, patience_s: float, tell: Tell = silent
    ) -> None:
        self._tell = tell
        self._small, self._large = small, large
        self._headers = overhead(address)
        self._token, self._patience_s = token, patience_s
        self._hops: dict[int, HopFate] = {}
        self._destination: int | None = None
        self._outstanding: set[tuple[int, bool]] = set()
        self._sent: dict[int, tuple[int, bool]] = {}
        self._next_number = self._asked_up_to = 0
        self._deadline: float | None = None
        self._not_before = 0.0
        self._rounds = self._refills = 0
        self._sparing = False

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """The next wave, once the one before is over."""
        if self.result is not None or self._deadline is not None:
            return []
        if now < self._not_before:
            return []
        wave = self._wave()
        if not wave:
            hops = tuple(self._hops[ttl] for ttl in sorted(self._hops))
            self.result = Vanishing(self._small, self._large, hops, self._destination)
            last = self.result.last
            self._tell(now, "concluded", last_ttl=last.ttl if last else None, doubt=self.result.doubt)
            return []
        self._outstanding = set(wave)
        self._deadline = now + self._patience_s
        return [Datagram(self._payload(ttl, large, now), ttl=ttl) for ttl, large in wave]

    def refused(self, refusal: Refusal, now: float) -> None:
        """Take "time exceeded" of a hop, or "port unreachable" of the destination."""
        if refusal.offender is not None and (refusal.time_exceeded or refusal.port_unreachable):
            self._answered(refusal.quoted, refusal.offender, refusal.port_unreachable, now)

    def _answered(self, quoted: bytes, offender: str, at_destination: bool, now: float) -> None:
        if self.result is not None or len(quoted) < _NUMBER.stop or quoted[:TOKEN_BYTES] != self._token:
            return
        probe = self._sent.pop(int.from_bytes(quoted[_NUMBER]), None)
        if probe is None:
            return
        ttl, large = probe
        self._tell(now, "hop-answered", ttl=ttl, large=large, by=offender, destination=at_destination)
        self._outstanding.discard(probe)
        if at_destination:
            self._destination = min(ttl, self._destination or ttl)
            self._hops = {each: hop for each, hop in self._hops.items() if each < self._destination}
        elif self._destination is None or ttl < self._destination:
            self._hops[ttl] = self._hops.get(ttl, HopFate(ttl)).heard_from(offender, large)
        self._shorten(now)

    def get_timer(self) -> float | None:
        """When the wave's time is up, or the next one may go out."""
        if self.result is not None:
            return None
        return self._not_before if self._deadline is None else self._deadline

    def handle_timer(self, now: float) -> None:
        """End the wave if its time is up."""
        if self._deadline is not None and now >= self._deadline:
            self._tell(now, "timer", unanswered=len(self._outstanding))
            self._deadline = None
            self._sparing |= self._rounds > 0 and self._small_missing(self._outstanding)
            if self._sparing and self._refills < REFILLS:
                self._refills += 1
                self._not_before = now + REFILL_S

    def _wave(self) -> list[tuple[int, bool]]:
        """TTLs to probe next, and whether with a large packet; small ones alone come first, to learn who is there."""
        known = self._asked_up_to
        heard = known == 0 or any(ttl > known - WAVE for ttl in self._hops)
        if self._destination is None and known < MAX_HOPS and heard:
            self._asked_up_to = min(known + WAVE, MAX_HOPS)
            return [(ttl, False) for ttl in range(known + 1, self._asked_up_to + 1)]
        reached = max((ttl for ttl, hop in self._hops.items() if hop.large_answers), default=0)
        ahead = sorted(ttl for ttl in self._hops if ttl > reached)[:WAVE]
        if not ahead or self._hops[ahead[0]].exhausted:
            return []
        self._rounds += 1
        for ttl in ahead:
            self._hops[ttl] = self._hops[ttl].tried()
        return [*((ttl, True) for ttl in ahead), *((ttl, False) for ttl in ahead)]

    def _shorten(self, now: float) -> None:
        """Wait less when no small packet is missing: answers to the large ones come soon then, or not at all."""
        if self._deadline is None or self._small_missing(self._outstanding):
            return
        grace_s = self._patience_s / GRACE_PART if self._outstanding else 0.0
        self._deadline = min(self._deadline, now + grace_s)

    def _small_missing(self, outstanding: Iterable[tuple[int, bool]]) -> bool:
        return any(not large and (self._destination is None or ttl < self._destination) for ttl, large in outstanding)

    def _payload(self, ttl: int, large: bool, now: float) -> bytes:
        number = self._next_number
        self._next_number += 1
        self._sent[number] = (ttl, large)
        size = self._large if large else self._small
        self._tell(now, "probe-sent", number=number, ttl=ttl, size_bytes=size)
        length = size - self._headers
        return (self._token + number.to_bytes(2)).ljust(length, b"\0")
