"""Datagram path-MTU search by the letter of RFC 8899 section 5, without I/O: the `strict` sibling of `fast`.

One probe at a time, so never two within a round trip; MAX_PROBES losses of a size before it counts as too big;
PROBE_TIMER of at least a second. It takes a timer for each loss, so a black hole takes ten seconds and more. Beyond the
RFC, the result is probed until chance can no longer explain it, and a loss counts only if the path still answers.
"""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from preflight.model.pmtu import OneWay, PathMtu, SearchOutcome
from preflight.proto.pmtu.evidence import PADDING
from preflight.proto.pmtu.exchange import Exchange, Probe
from preflight.proto.pmtu.wire import SMALLEST, Kind

BASE_PLPMTU = 1200
MAX_PROBES = 3
PROBE_TIMER_S, LONGEST_TIMER_S = 1.0, 3.0
"""The least that section 5.1.1 allows; and while the round-trip time is unknown RFC 8085 section 3.1.2 asks for 3 s."""
MISFITS = 12
"""Probes about which other traffic's fragments leave a doubt, after which fragments are no longer looked at."""
MAX_RESTARTS = MAX_RENEWALS = 3
SILENT_ROUNDS = 2
"""How often MAX_PROBES greetings go unanswered before nobody is there."""
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
    FAILED = "MAX_PROBES probes of one size in a row are not"
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
"""Events after which the search begins anew."""


class StrictPathMtuSearch:
    """One `strict` search, driven as `preflight.proto.pmtu.fast.Search` says, with the arguments of `PathMtuSearch`."""

    def __init__(
        self, direction: OneWay, *, address: str, ceiling: int, token: bytes, key: bytes | None = None
    ) -> None:
        self.result: PathMtu | None = None
        self.state = State.DISABLED
        self._exchange = Exchange(direction, address=address, ceiling=ceiling, token=token, key=key)
        self._evidence = self._exchange.evidence
        self._outstanding: Probe | None = None
        self._suspect: Probe | None = None
        self._deadline = 0.0
        self._started: float | None = None
        self._testing = self._tested = 0
        self._failures: Counter[int] = Counter()
        self._rounds = self._silent = self._restarts = self._renewals = self._misfits = 0

    @property
    def counts_here(self) -> bool:
        """See `Search`."""
        return not self._exchange.forward

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """The next probe, once the one before it is answered or given up."""
        if self.result is not None or self._outstanding is not None:
            return []
        if self._started is None:
            self._started = now
        exchange = self._exchange
        exchange.fragments.mark()
        if self.state is State.DISABLED or self._suspect is not None:
            probe = exchange.probe(SMALLEST, greeting=True)
        else:
            self._testing = self._next_size()
            probe = exchange.probe(self._testing)
        self._outstanding = probe
        known = exchange.rtt.smoothed is not None
        self._deadline = now + (max(PROBE_TIMER_S, exchange.rtt.timeout) if known else LONGEST_TIMER_S)
        self._rounds += 1
        return [exchange.encode_probes([probe], now)]

    def receive(self, data: bytes, now: float, reassembled: int | None = None) -> None:
        """See `Search`."""
        cookie = self._exchange.cookie
        read = self._exchange.read(data, reassembled) if self.result is None else None
        if read is None:
            return
        message, probe = read
        if not self._exchange.answers(message, probe, len(data)):
            if message.kind is Kind.WELCOME and message.cookie != cookie:
                self._renew(probe)
            return
        if probe.arrived or probe.sent_at is None:
            return
        probe.arrived = True
        self._exchange.rtt.sample(now - probe.sent_at)
        if probe is not self._outstanding:
            self._late(probe)
        else:
            self._outstanding = None
            self._greeted() if probe.greeting else self._weigh(probe.size)
        self._go_on(now)

    def icmp_too_big(self, quoted: bytes, mtu: int, source: str) -> None:
        """See `Search`. What it tells is probed next and never sets the value (section 4.6.2)."""
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
        return self._deadline if self._outstanding is not None else 0.0

    def handle_timer(self, now: float) -> None:
        """PROBE_TIMER: give up what is outstanding if its time is up."""
        probe = self._outstanding
        if self.result is not None or probe is None or now < self._deadline:
            return
        self._outstanding = None
        if probe.greeting:
            probe.given_up = True
            self._evidence.lost[SMALLEST] += 1
            self._silent += 1
            if self._silent >= MAX_PROBES:
                self._happened(Event.SILENT)
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
        if low in self._exchange.told:
            return low + 1
        return ceiling if high > ceiling else _middle(low, high)

    def _greeted(self) -> None:
        self._silent = 0
        self._evidence.whole[SMALLEST] += 1
        suspect, self._suspect = self._suspect, None
        if self.state is State.DISABLED:
            self._happened(Event.CONNECTED)
        elif suspect is not None:
            suspect.given_up = True
            self._evidence.lost[suspect.size] += 1
            self._failed(suspect.size)

    def _weigh(self, size: int) -> None:
        """A probe arrived, whole or in fragments."""
        fragments = self._exchange.fragments.since_mark if self._counting else 0
        if fragments == 0:
            self._evidence.whole[size] += 1
            self._failures[size] = 0
            if self._evidence.passes(size):
                self._decided(size)
                self._happened(Event.PASSED)
        elif fragments == 1:
            self._evidence.fragmented[size] += 1
            self._failed(size)
        else:
            self._misfits += 1
            if not self._counting:
                self._evidence.forget_fragments()

    def _failed(self, size: int) -> None:
        """One more probe of a size vanished or came in fragments; MAX_PROBES of them in a row decide."""
        self._failures[size] += 1
        if self._failures[size] < MAX_PROBES:
            return
        self._decided(size)
        low = self._evidence.largest_passing
        self._happened(Event.BLACK_HOLE if size == low else Event.FAILED)

    def _decided(self, size: int) -> None:
        self._tested, self._testing = size, 0

    def _late(self, probe: Probe) -> None:
        """It was taken for lost and comes after all."""
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

    def _happened(self, event: Event) -> None:
        """Move along the table."""
        if event is Event.BLACK_HOLE and self.state is State.SEARCH_COMPLETE:
            self._evidence.forget()
        if event in RESTARTS:
            self._restarts += 1
            self._silent, self._testing, self._suspect = 0, 0, None
            self._failures.clear()
        self.state = TRANSITIONS.get((self.state, event), self.state)

    def _go_on(self, now: float) -> None:
        """Close or reopen the search, and end it when the answer is beyond chance or out of reach."""
        evidence = self._evidence
        low = evidence.largest_passing
        closed = low > 0 and (low == evidence.ceiling or evidence.narrowed)
        if self.state is State.SEARCHING and closed:
            self._happened(Event.NARROWED)
        elif self.state is State.SEARCH_COMPLETE and not closed:
            self._happened(Event.OPENED)
        elapsed_s = now - (now if self._started is None else self._started)
        if self.state is State.SEARCH_COMPLETE and self._beyond_chance(low):
            self._finish(SearchOutcome.MEASURED, now)
        elif self._restarts >= SILENT_ROUNDS and not self._exchange.heard:
            self._finish(SearchOutcome.NO_ANSWER, now)
        elif self._restarts > MAX_RESTARTS or elapsed_s >= MAX_SECONDS:
            self._finish(SearchOutcome.UNDECIDED, now)

    def _beyond_chance(self, low: int) -> bool:
        evidence = self._evidence
        return low == evidence.ceiling or evidence.weight(low + 1) >= evidence.needed_if_lossy

    @property
    def _counting(self) -> bool:
        """Whether the receiver's count of fragments still says something."""
        return self._misfits < MISFITS

    def _finish(self, outcome: SearchOutcome, now: float) -> None:
        duration_s = now - (now if self._started is None else self._started)
        self.result = self._exchange.conclude(
            outcome, rounds=self._rounds, duration_s=duration_s, miscounted=not self._counting
        )


def _middle(low: int, high: int) -> int:
    """The size to try between two bounds; tunnels that pad have their limit on or just above a PADDING step."""
    middle = (low + high) // 2
    if high - low > 2 * PADDING:
        return middle - middle % PADDING
    return low + 1 if low % PADDING == 0 else middle
