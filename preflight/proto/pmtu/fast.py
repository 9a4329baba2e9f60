"""Datagram path-MTU search in one direction, without I/O: bursts of sizes that end in known-good packets.

The `fast` search classifies losses as RFC 4821 sections 7.5 and 7.6 do and needs about five round trips; it does not
keep RFC 8899's timers. ICMP errors steer it and tell whether the sender is signalled; they never set the value
(RFC 8899 section 4.6). All sizes are IP packets in bytes, all times seconds of any steady clock.
"""

from collections import deque
from typing import Protocol

from preflight.model.pmtu import OneWay, PathMtu, SearchOutcome
from preflight.proto.pmtu.evidence import attribute_fragments
from preflight.proto.pmtu.exchange import Exchange, Probe
from preflight.proto.pmtu.wire import SMALLEST

BASE = 1280
"""Tried at once beside the ceiling: the least that the overlay must carry (RFC 8200 section 5)."""
ROOM = 8
"""Sizes in a burst, with a greeting less than the ten packets of a new flow's initial window (RFC 6928)."""
PACE_S = 0.0001
LONGEST_TIMEOUT_S = 2.0
SHORTEST_GRACE_S, SHORTEST_DECIDING_GRACE_S = 0.001, 0.003
"""How long, at least, a late answer is waited for after the one that closes a burst."""
SILENT_BURSTS = 3
MISFITS = 12
"""Bursts in which other traffic's fragments were counted, after which fragments are no longer looked at."""
MAX_ROUNDS = 60
MAX_SECONDS = 10.0


class Search(Protocol):
    """What `fast` and `strict` have in common: send what `datagrams_to_send` gives, hand in what comes, call again
    at `get_timer`, until `result`.
    """

    @property
    def result(self) -> PathMtu | None:
        """What was found, once the search is over."""

    @property
    def counts_here(self) -> bool:
        """Whether `receive` wants this host's count of reassembled datagrams; forward it is the peer that counts."""

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """Payloads that are due."""

    def receive(self, data: bytes, now: float, reassembled: int | None = None) -> None:
        """Take a datagram from the peer; whatever does not belong to this search is ignored.

        `reassembled` is this host's count of datagrams put together from fragments, read after this one came; None
        where it is unknown, or not wanted (`counts_here`).
        """

    def icmp_too_big(self, quoted: bytes, mtu: int, source: str) -> None:
        """Take an ICMP "too big" from `source`; it counts only if it quotes our token and a probe that is missing."""

    def too_big_here(self, mtu: int) -> None:
        """This node's own interface refuses packets above `mtu`."""

    def refused(self, now: float) -> None:
        """The peer's kernel says that nobody listens on the port."""

    def get_timer(self) -> float | None:
        """When to call `datagrams_to_send` or `handle_timer` next; None when the search is over."""

    def handle_timer(self, now: float) -> None:
        """Judge what is under way if its time is up."""


class PathMtuSearch:
    """One `fast` search, driven as `Search` says.

    address: the peer's, for the size of the headers. ceiling: MTU of the sending interface, bytes; for the reverse
    direction the peer's own word replaces it. token: eight random bytes. key: the responders' shared key.
    """

    def __init__(
        self, direction: OneWay, *, address: str, ceiling: int, token: bytes, key: bytes | None = None
    ) -> None:
        self.result: PathMtu | None = None
        self._exchange = Exchange(direction, address=address, ceiling=ceiling, token=token, key=key)
        self._evidence, self._rtt = self._exchange.evidence, self._exchange.rtt
        self._burst: list[Probe] = []
        self._unsent: deque[list[Probe]] = deque()
        self._started: float | None = None
        self._next_send = self._deadline = 0.0
        self._rounds = self._silent = self._misfits = 0
        self._counting = True
        self._straggled = False

    @property
    def counts_here(self) -> bool:
        """See `Search`."""
        return not self._exchange.forward

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """Payloads that are due; paced, at most ten in a burst."""
        if self.result is not None:
            return []
        if self._started is None:
            self._started = now
        if not self._burst:
            self._plan(now)
        due = []
        while self._unsent and now >= self._next_send:
            due.append(self._exchange.encode_probes(self._unsent.popleft(), now))
            self._next_send += PACE_S
            if not self._unsent:
                self._deadline = now + min(self._rtt.timeout * 2**self._silent, LONGEST_TIMEOUT_S)
        return due

    def receive(self, data: bytes, now: float, reassembled: int | None = None) -> None:
        """See `Search`."""
        read = self._exchange.read(data, reassembled) if self.result is None else None
        if read is None or not self._exchange.answers(*read, len(data)):
            return
        probe = read[1]
        if probe.arrived or probe.sent_at is None:
            return
        probe.arrived = True
        self._silent = 0
        self._rtt.sample(now - probe.sent_at)
        if probe not in self._burst:
            self._late(probe, now)
        elif all(other.arrived for other in self._burst):
            self._close(now)
        elif probe is self._burst[-1]:
            self._deadline = min(self._deadline, now + self._grace())

    def icmp_too_big(self, quoted: bytes, mtu: int, source: str) -> None:
        """See `Search`."""
        self._exchange.icmp_too_big(quoted, mtu, source)

    def too_big_here(self, mtu: int) -> None:
        """See `Search`."""
        self._exchange.too_big_here(mtu)

    def refused(self, now: float) -> None:
        """See `Search`; once answers came it is no verdict."""
        if self.result is None and not self._exchange.heard:
            self._finish(SearchOutcome.REFUSED, now)

    def get_timer(self) -> float | None:
        """See `Search`."""
        if self.result is not None:
            return None
        return self._next_send if self._unsent or not self._burst else self._deadline

    def handle_timer(self, now: float) -> None:
        """Judge the burst if its time is up."""
        if self.result is None and self._burst and not self._unsent and now >= self._deadline:
            self._close(now)

    def _plan(self, now: float) -> None:
        """Lay out the next burst; a datagram carries one probe, or one request for several.

        A greeting comes first, to learn the cookie, the round-trip time and what the peer knows. Later ones go with
        requests, because only the peer learns of ICMP errors on the way here.
        """
        forward = self._exchange.forward
        self._exchange.fragments.mark()
        self._straggled = False
        wanted = [*map(self._exchange.probe, self._sizes())] if self._exchange.cookie is not None else []
        greetings = 0 if forward and wanted else 1 if wanted else 1 + 2 * self._silent
        greeting = [self._exchange.probe(SMALLEST, greeting=True) for _ in range(greetings)]
        self._burst = greeting + wanted
        datagrams = [[probe] for probe in wanted] if forward else [wanted] * bool(wanted)
        self._unsent = deque([[probe] for probe in greeting] + datagrams)
        self._next_send = now

    def _sizes(self) -> tuple[int, ...]:
        evidence = self._evidence
        ceiling = evidence.ceiling
        if evidence.largest_passing == 0 or not (evidence.lost or evidence.fragmented):
            return (*(size for size in (ceiling, BASE, ceiling) if size <= ceiling), SMALLEST)
        return evidence.next_sizes(ROOM, self._exchange.hint())

    def _late(self, probe: Probe, now: float) -> None:
        """It was given up for lost and comes after all."""
        self._straggled = True
        if probe.given_up:
            self._evidence.lost[probe.size] -= 1
        if self._exchange.fragments.untouched:
            self._evidence.whole[probe.size] += 1
        if self._evidence.settled:
            self._finish(SearchOutcome.MEASURED, now)

    def _close(self, now: float) -> None:
        burst, self._burst = self._burst, []
        self._rounds += 1
        if any(probe.arrived for probe in burst):
            self._weigh(burst)
        else:
            self._silent += 1
        heard = self._exchange.heard
        if self._evidence.settled:
            self._finish(SearchOutcome.MEASURED, now)
        elif not heard and self._silent >= SILENT_BURSTS:
            self._finish(SearchOutcome.NO_ANSWER, now)
        elif self._rounds >= MAX_ROUNDS or now - (self._started or now) >= MAX_SECONDS:
            self._finish(SearchOutcome.UNDECIDED if heard else SearchOutcome.NO_ANSWER, now)

    def _weigh(self, burst: list[Probe]) -> None:
        """Turn a burst into evidence; one whose fragments cannot be counted gives none."""
        measured = [probe for probe in burst if not probe.greeting]
        came = [probe for probe in measured if probe.arrived]
        if not came:
            return
        fragments = self._fragments()
        if fragments and (self._straggled or not _only_the_largest_missing(measured)):
            return  # a packet that is missing or late may be among those that were counted
        split = attribute_fragments((probe.size for probe in came), fragments)
        if split is None or SMALLEST in split[1]:
            self._misfits += 1
            if self._misfits == MISFITS:
                self._counting = False
                self._evidence.forget_fragments()
            return
        self._evidence.whole.update(split[0])
        self._evidence.fragmented.update(split[1])
        for probe in measured[: measured.index(came[-1])]:
            if not probe.arrived:
                probe.given_up = True
                self._evidence.lost[probe.size] += 1

    def _grace(self) -> float:
        """Seconds to wait for late answers: too few cost a round in an early burst, in the deciding one the truth."""
        smoothed, variation = self._rtt.smoothed or 0.0, self._rtt.variation
        if self._evidence.narrowed or self._fragments() > 0:
            return max(SHORTEST_DECIDING_GRACE_S, smoothed / 4, 4 * variation)
        return max(SHORTEST_GRACE_S, smoothed / 8, variation)

    def _fragments(self) -> int:
        """How many packets of this burst the receiver put together from fragments, as far as it counts."""
        return self._exchange.fragments.since_mark if self._counting else 0

    def _finish(self, outcome: SearchOutcome, now: float) -> None:
        duration_s = now - (now if self._started is None else self._started)
        self.result = self._exchange.conclude(
            outcome, rounds=self._rounds, duration_s=duration_s, miscounted=not self._counting
        )


def _only_the_largest_missing(probes: list[Probe]) -> bool:
    """Whether what did not arrive is larger than all that did."""
    largest = max(probe.size for probe in probes if probe.arrived)
    return all(probe.arrived or probe.size > largest for probe in probes)
