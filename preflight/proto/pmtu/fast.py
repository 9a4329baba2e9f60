"""Datagram path-MTU search in one direction, without I/O: bursts of sizes that end in known-good packets.

The `fast` search classifies losses as RFC 4821 sections 7.5 and 7.6 do. It needs two round trips where all fits and
about four where packets vanish, in reverse one more; it does not keep RFC 8899's timers. ICMP errors only choose which
sizes to try, and show whether the sender is signalled; they never set the value (RFC 8899 section 4.6). All sizes are
IP packets in bytes, all times seconds of any steady clock.
"""

from collections import deque
from collections.abc import Sequence

from preflight.model.pmtu import PathMtu, SearchOutcome
from preflight.proto.core import Core, Datagram, Received, Refusal
from preflight.proto.pmtu.evidence import attribute_fragments
from preflight.proto.pmtu.exchange import Exchange
from preflight.proto.pmtu.probe import Probe
from preflight.proto.pmtu.wire import SMALLEST

BASE = 1280
"""Tried at once, together with the ceiling: the least that the overlay must carry (RFC 8200 section 5)."""
ROOM = 8
"""Sizes in a burst, with a greeting less than the ten packets of a new flow's initial window (RFC 6928)."""
PACE_S = 0.0001
LONGEST_TIMEOUT_S = 2.0
UNKNOWN_LINK_S = 0.4
"""How long, at least, a burst may take until one was answered: nobody knows yet how slow the link is."""
SHORTEST_GRACE_S, SHORTEST_DECIDING_GRACE_S = 0.001, 0.003
"""How long, at least, to wait for a late answer after the one that closes a burst."""
UNHEARD_S = (0.2, 1.0, 2.0)
"""How long, at least, each of the first bursts waits for a peer that has not answered the search yet: other packets may
wait in a queue now, whatever the round trip was before."""
SILENT_BURSTS = len(UNHEARD_S)
MAX_ROUNDS = 60
MAX_SECONDS = 10.0


class PathMtuSearch(Core[PathMtu]):
    """One `fast` search over a new `Exchange`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._evidence, self._rtt = exchange.evidence, exchange.rtt
        self._burst: list[Probe] = []
        self._unsent: deque[list[Probe]] = deque()
        self._next_send = self._deadline = 0.0
        self._paced_s = 0.0
        self._silent = 0
        self._straggled = self._link_shown = False
        self._uncounted: frozenset[int] = frozenset()
        self._until_counted: Sequence[int] = ()

    @property
    def result(self) -> PathMtu | None:
        """What was found, once the search is over."""
        return self._exchange.result

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """Probes that are due; paced, at most ten in a burst."""
        if self.result is not None:
            return []
        self._exchange.begin(now)
        if not self._burst:
            self._plan(now)
        due = []
        while self._unsent and now >= self._next_send:
            due.append(self._exchange.encode_probes(self._unsent.popleft(), now))
            if self._unsent:
                self._reserve(self._next_send + PACE_S, now)
            else:
                self._deadline = now + self._patience_s()
        return due

    def _reserve(self, earliest: float, now: float) -> None:
        """A place for the next datagram, or for the answers that it asks for."""
        size = sum(probe.size for probe in self._unsent[0])
        due: float = max(earliest, self._exchange.budget.due(size, now))
        self._paced_s += max(due - now, 0.0)
        self._next_send = due

    def _patience_s(self) -> float:
        """How long to wait for answers behind the last datagram of a burst."""
        wait_s: float = min(self._rtt.timeout * 2**self._silent, LONGEST_TIMEOUT_S)
        if not self._exchange.heard:
            wait_s = max(wait_s, UNHEARD_S[self._silent])
        unknown = not self._link_shown and not self._exchange.budget.limited
        large = any(not probe.greeting for probe in self._burst)
        return max(wait_s, UNKNOWN_LINK_S) if unknown and large else wait_s

    def receive(self, received: Received, now: float) -> None:
        """Take a datagram from the peer; the search ignores what does not belong to it."""
        read = self._exchange.read(received.data, now)
        if read is None or not self._exchange.answered(*read, received.data, now):
            return
        probe = read[1]
        self._silent = 0
        if probe not in self._burst:
            self._late(probe, now)
        elif all(other.arrived for other in self._burst):
            self._close(now)
        elif probe is self._burst[-1]:
            self._deadline = min(self._deadline, now + self._grace())

    def refused(self, refusal: Refusal, now: float) -> None:
        """Take an ICMP error, or a refusal of this host's own kernel."""
        self._exchange.refused(refusal, now)

    def get_timer(self) -> float | None:
        """When the next probe is due, or the burst's time is up."""
        if self.result is not None:
            return None
        return self._next_send if self._unsent or not self._burst else self._deadline

    def handle_timer(self, now: float) -> None:
        """Judge the burst if its time is up."""
        if self.result is None and self._burst and not self._unsent and now >= self._deadline:
            self._exchange.tell(now, "timer", missing=[probe.number for probe in self._burst if not probe.arrived])
            self._close(now)

    def _plan(self, now: float) -> None:
        """Lay out the next burst; a datagram carries one probe, or one request for several.

        When the peer reads its count for the first time, all of the first burst may be there already: the largest size
        may be lost in it, which shortens the search, but that it came whole is not known yet.

        The first burst begins with a greeting: it fetches the round-trip time, that count, and for requests the cookie
        without which the peer sends nothing large. Later greetings go with requests, because only the peer learns of
        ICMP errors on the way here.
        """
        forward = self._exchange.forward
        self._exchange.fragments.mark()
        self._straggled = False
        may = self._exchange.cookie is not None or (forward and not self._silent)
        wanted = [*map(self._exchange.probe, self._sizes())] if may else []
        greetings = 0 if forward and self._exchange.rounds else 1
        if not wanted:
            greetings = 1 + 2 * self._silent
        if self._exchange.rounds == 0:
            self._uncounted = frozenset(probe.number for probe in wanted if probe.size == self._evidence.ceiling)
        greeting = [self._exchange.probe(SMALLEST, greeting=True) for _ in range(greetings)]
        self._burst = greeting + wanted
        # On a slow link each answer is asked for by itself, so that answers are paced too.
        alone = forward or self._exchange.budget.limited
        datagrams = [[probe] for probe in wanted] if alone else [wanted] * bool(wanted)
        self._unsent = deque([[probe] for probe in greeting] + datagrams)
        self._reserve(now, now)

    def _sizes(self) -> tuple[int, ...]:
        evidence = self._evidence
        ceiling = evidence.ceiling
        if evidence.largest_passing == 0 or not (evidence.lost or evidence.fragmented):
            if self._exchange.rounds == 0:
                return (ceiling, BASE if ceiling > BASE else SMALLEST)
            middle = (BASE,) if evidence.largest_passing == 0 and ceiling >= BASE else ()
            return (ceiling, *middle, ceiling, SMALLEST)
        return evidence.next_sizes(ROOM, self._exchange.hint())

    def _late(self, probe: Probe, now: float) -> None:
        """The answer arrives after its burst has ended."""
        self._straggled = True
        self._exchange.tell(now, "probe-late", number=probe.number, size_bytes=probe.size)
        if probe.given_up:
            self._evidence.lost[probe.size] -= 1
        if self._exchange.fragments.untouched and probe.number not in self._uncounted:
            self._evidence.whole[probe.size] += 1
        if self._evidence.settled:
            self._exchange.finish(SearchOutcome.MEASURED, now)

    def _close(self, now: float) -> None:
        burst, self._burst = self._burst, []
        exchange = self._exchange
        exchange.rounds += 1
        answered = sum(probe.arrived for probe in burst)
        exchange.tell(now, "round-ended", round=exchange.rounds, sent=len(burst), answered=answered)
        if answered:
            self._weigh(burst, now)
            measured = [probe for probe in burst if not probe.greeting]
            exchange.budget.learn(measured, self._evidence.largest_passing, self._rtt.quickest)
        else:
            self._silent += 1
        exchange.tell_bounds(now)
        if self._evidence.settled:
            exchange.finish(SearchOutcome.MEASURED, now)
        elif not exchange.heard and self._silent >= SILENT_BURSTS:
            exchange.finish(SearchOutcome.NO_ANSWER, now)
        elif exchange.rounds >= MAX_ROUNDS or exchange.elapsed_s(now) - self._paced_s >= MAX_SECONDS:
            exchange.finish(SearchOutcome.UNDECIDED if exchange.heard else SearchOutcome.NO_ANSWER, now)

    def _weigh(self, burst: list[Probe], now: float) -> None:
        """Turn a burst into evidence; one whose fragments cannot be counted gives none."""
        measured = [probe for probe in burst if not probe.greeting]
        came = [probe for probe in measured if probe.arrived]
        if not came:
            return
        self._link_shown = True
        fragments = self._exchange.new_fragments
        if fragments and (self._straggled or not _only_the_largest_missing(measured)):
            return  # a packet that is missing or late may be among those that were counted
        counted = (probe.size for probe in came if probe.number not in self._uncounted)
        split = attribute_fragments(counted, fragments)
        if split is None or SMALLEST in split[1]:
            self._exchange.misfit(now)
            return
        self._evidence.whole.update(split[0])
        self._evidence.fragmented.update(split[1])
        self._until_counted = self._recounted(split[0])
        for probe in measured[: measured.index(came[-1])]:
            if not probe.arrived:
                self._exchange.give_up(probe, now)

    def _recounted(self, whole: Sequence[int]) -> Sequence[int]:
        """The sizes that only the first burst has shown to be whole. Its word ends where a later one has its own."""
        if self._exchange.forward and self._exchange.rounds == 1:
            return whole
        votes = self._evidence.whole
        again = [size for size in self._until_counted if votes[size] + self._evidence.fragmented[size] > 1]
        votes.subtract(again)
        return [size for size in self._until_counted if size not in again]

    def _grace(self) -> float:
        """Seconds to wait for late answers: too few cost a round early, and a correct result late in the search."""
        smoothed, variation = self._rtt.smoothed or 0.0, self._rtt.variation
        if self._evidence.narrowed or self._exchange.new_fragments > 0:
            return max(SHORTEST_DECIDING_GRACE_S, smoothed / 4, 4 * variation)
        return max(SHORTEST_GRACE_S, smoothed / 8, variation)


def _only_the_largest_missing(probes: list[Probe]) -> bool:
    """Whether what did not arrive is larger than all that did."""
    largest = max(probe.size for probe in probes if probe.arrived)
    return all(probe.arrived or probe.size > largest for probe in probes)
