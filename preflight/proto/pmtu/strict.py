"""Datagram path-MTU search exactly as RFC 8899 section 5 says, without I/O: `strict`, the alternative to `fast`.

One probe at a time, so never two within a round trip; MAX_PROBES losses of a size before it counts as too big;
PROBE_TIMER of at least a second. Each loss takes one timer, so a black hole takes ten seconds and more. Beyond the RFC,
the search probes its result until chance can no longer explain it, and a loss counts only if the path still answers.
"""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from preflight.model.pmtu import PathMtu, SearchOutcome
from preflight.proto.core import Core, Datagram, Received, Refusal
from preflight.proto.pmtu.evidence import PADDING
from preflight.proto.pmtu.exchange import Exchange
from preflight.proto.pmtu.probe import Probe
from preflight.proto.pmtu.wire import SMALLEST, Kind

BASE_PLPMTU = 1200
MAX_PROBES = 3
PROBE_TIMER_S, LONGEST_TIMER_S = 1.0, 3.0
"""The least that section 5.1.1 allows; and while the round-trip time is unknown RFC 8085 section 3.1.2 asks for 3 s."""
MAX_RESTARTS = MAX_RENEWALS = 3
SILENT_ROUNDS = 2
"""After this many times MAX_PROBES greetings without an answer, nobody is there."""
MAX_SECONDS = 60.0


class State(StrEnum):
    """The states of section 5.2."""

    DISABLED = "DISABLED"
    BASE = "BASE"
    ERROR = "ERROR"
    SEARCHING = "SEARCHING"
    SEARCH_COMPLETE = "SEARCH_COMPLETE"


class Event(StrEnum):
    """What moves the search from one state to another."""

    CONNECTED = "the peer answers a greeting"
    SILENT = "MAX_PROBES greetings in a row are not answered"
    PASSED = "a probe is acknowledged"
    FAILED = "MAX_PROBES probes of one size in a row are not acknowledged"
    NARROWED = "no size is left between the largest that passes and the smallest that does not"
    OPENED = "a size that had failed passes"
    BLACK_HOLE = "MAX_PROBES probes of the size found so far are not acknowledged"


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.DISABLED, Event.CONNECTED): State.BASE,
    (State.BASE, Event.PASSED): State.SEARCHING,
    (State.BASE, Event.FAILED): State.ERROR,
    (State.ERROR, Event.PASSED): State.SEARCHING,
    (State.ERROR, Event.FAILED): State.DISABLED,
    (State.SEARCHING, Event.NARROWED): State.SEARCH_COMPLETE,
    (State.SEARCH_COMPLETE, Event.OPENED): State.SEARCHING,
    (State.SEARCH_COMPLETE, Event.BLACK_HOLE): State.BASE,
    (State.BASE, Event.SILENT): State.DISABLED,
    (State.ERROR, Event.SILENT): State.DISABLED,
    (State.SEARCHING, Event.SILENT): State.DISABLED,
    (State.SEARCH_COMPLETE, Event.SILENT): State.DISABLED,
}
"""An event that a state does not name leaves it as it is."""

RESTARTS = frozenset({Event.SILENT, Event.BLACK_HOLE})
"""Events after which the search starts over."""


class StrictPathMtuSearch(Core[PathMtu]):
    """One `strict` search over a new `Exchange`."""

    def __init__(self, exchange: Exchange) -> None:
        self.state = State.DISABLED
        self._exchange = exchange
        self._evidence = exchange.evidence
        self._outstanding: Probe | None = None
        self._suspect: Probe | None = None
        self._deadline = 0.0
        self._testing = self._tested = 0
        self._failures: Counter[int] = Counter()
        self._silent = self._restarts = self._renewals = 0

    @property
    def result(self) -> PathMtu | None:
        """What was found, once the search is over."""
        return self._exchange.result

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """The next probe, once the one before it is answered or given up."""
        if self.result is not None or self._outstanding is not None:
            return []
        exchange = self._exchange
        exchange.begin(now)
        exchange.fragments.mark()
        if self.state is State.DISABLED or self._suspect is not None:
            probe = exchange.probe(SMALLEST, greeting=True)
        else:
            self._testing = self._next_size()
            probe = exchange.probe(self._testing)
        self._outstanding = probe
        known = exchange.rtt.smoothed is not None
        self._deadline = now + (max(PROBE_TIMER_S, exchange.rtt.timeout) if known else LONGEST_TIMER_S)
        exchange.rounds += 1
        return [exchange.encode_probes([probe], now)]

    def receive(self, received: Received, now: float) -> None:
        """Take a datagram from the peer; the search ignores what does not belong to it."""
        exchange = self._exchange
        cookie = exchange.cookie
        read = exchange.read(received.data, now)
        if read is None:
            return
        message, probe = read
        if not exchange.answered(message, probe, received.data, now):
            if message.kind is Kind.WELCOME and message.cookie != cookie:
                self._renew(probe)
            return
        if probe is not self._outstanding:
            self._late(probe, now)
        else:
            self._outstanding = None
            if probe.greeting:
                self._greeted(now)
            else:
                self._weigh(probe.size, now)
        self._go_on(now)

    def refused(self, refusal: Refusal, now: float) -> None:
        """Take an ICMP error: a size that it reports is probed next and never sets the value (section 4.6.2)."""
        self._exchange.refused(refusal, now)

    def get_timer(self) -> float | None:
        """When PROBE_TIMER runs out; a time that has passed if the next probe is due."""
        if self.result is not None:
            return None
        return self._deadline if self._outstanding is not None else 0.0

    def handle_timer(self, now: float) -> None:
        """PROBE_TIMER: give up what is outstanding if its time is up."""
        probe = self._outstanding
        if self.result is not None or probe is None or now < self._deadline:
            return
        self._outstanding = None
        self._exchange.tell(now, "timer", missing=[probe.number])
        if probe.greeting:
            self._exchange.give_up(probe, now)
            self._silent += 1
            if self._silent >= MAX_PROBES:
                self._happened(Event.SILENT, now)
        else:
            self._suspect = probe  # it counts against the size only if the path answers to something small
        self._go_on(now)

    def _next_size(self) -> int:
        evidence = self._evidence
        low, high, ceiling = evidence.largest_passing, evidence.smallest_failing, evidence.ceiling
        if 0 < self._testing <= ceiling:
            return self._testing
        if self.state is State.BASE:
            return min(BASE_PLPMTU, ceiling)
        if self.state is State.ERROR:
            return SMALLEST
        if self.state is State.SEARCH_COMPLETE:
            return low if self._tested == low + 1 else low + 1
        hint = self._exchange.hint()
        if hint is not None and low < hint < high:
            return hint
        if low in self._exchange.reported:
            return low + 1
        return ceiling if high > ceiling else _middle(low, high)

    def _greeted(self, now: float) -> None:
        self._silent = 0
        self._evidence.whole[SMALLEST] += 1
        suspect, self._suspect = self._suspect, None
        if self.state is State.DISABLED:
            self._happened(Event.CONNECTED, now)
        elif suspect is not None:
            self._exchange.give_up(suspect, now)
            self._failed(suspect.size, now)

    def _weigh(self, size: int, now: float) -> None:
        """A probe arrived, whole or in fragments."""
        fragments = self._exchange.new_fragments
        if fragments == 0:
            self._evidence.whole[size] += 1
            self._failures[size] = 0
            if self._evidence.passes(size):
                self._decided(size)
                self._happened(Event.PASSED, now)
        elif fragments == 1:
            self._evidence.fragmented[size] += 1
            self._failed(size, now)
        else:
            self._exchange.misfit(now)

    def _failed(self, size: int, now: float) -> None:
        """One more probe of a size vanished or came in fragments; MAX_PROBES of them in a row decide."""
        self._failures[size] += 1
        if self._failures[size] < MAX_PROBES:
            return
        self._decided(size)
        low = self._evidence.largest_passing
        self._happened(Event.BLACK_HOLE if size == low else Event.FAILED, now)

    def _decided(self, size: int) -> None:
        self._tested, self._testing = size, 0

    def _late(self, probe: Probe, now: float) -> None:
        """The answer to a probe that counted as lost has arrived."""
        self._exchange.tell(now, "probe-late", number=probe.number, size_bytes=probe.size)
        if probe.given_up:
            self._evidence.lost[probe.size] -= 1
        if probe is self._suspect:
            self._suspect = None
        if self._exchange.fragments.untouched:
            self._evidence.whole[probe.size] += 1
            self._failures[probe.size] = 0

    def _renew(self, probe: Probe) -> None:
        """The peer answers a request with a greeting: the cookie was too old. Ask again with the fresh one."""
        if probe is self._outstanding and self._renewals < MAX_RENEWALS:
            self._renewals += 1
            self._outstanding = None

    def _happened(self, event: Event, now: float) -> None:
        """Move along the table."""
        if event is Event.BLACK_HOLE and self.state is State.SEARCH_COMPLETE:
            self._evidence.forget()
        if event in RESTARTS:
            self._restarts += 1
            self._silent, self._testing, self._suspect = 0, 0, None
            self._failures.clear()
        before, self.state = self.state, TRANSITIONS.get((self.state, event), self.state)
        if self.state is not before:
            self._exchange.tell(now, "state", before=before.value, after=self.state.value, because=event.value)

    def _go_on(self, now: float) -> None:
        """Close or reopen the search, and end it when chance cannot explain the result, or time or tries run out."""
        evidence, exchange = self._evidence, self._exchange
        exchange.tell_bounds(now)
        low = evidence.largest_passing
        closed = low > 0 and (low == evidence.ceiling or evidence.narrowed)
        if self.state is State.SEARCHING and closed:
            self._happened(Event.NARROWED, now)
        elif self.state is State.SEARCH_COMPLETE and not closed:
            self._happened(Event.OPENED, now)
        if self.state is State.SEARCH_COMPLETE and self._beyond_chance(low):
            exchange.finish(SearchOutcome.MEASURED, now)
        elif self._restarts >= SILENT_ROUNDS and not exchange.heard:
            exchange.finish(SearchOutcome.NO_ANSWER, now)
        elif self._restarts > MAX_RESTARTS or exchange.elapsed_s(now) >= MAX_SECONDS:
            exchange.finish(SearchOutcome.UNDECIDED, now)

    def _beyond_chance(self, low: int) -> bool:
        evidence = self._evidence
        return low == evidence.ceiling or evidence.weight(low + 1) >= evidence.needed_if_lossy


def _middle(low: int, high: int) -> int:
    """The size to try between two bounds; tunnels that pad have their limit on or just above a PADDING step."""
    middle = (low + high) // 2
    if high - low > 2 * PADDING:
        return middle - middle % PADDING
    return low + 1 if low % PADDING == 0 else middle
