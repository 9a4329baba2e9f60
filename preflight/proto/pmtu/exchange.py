"""What both path-MTU searches share: probes on the wire, what the peer says, ICMP errors, evidence, and the result.

Pure, as the searches are. All sizes are IP packets in bytes, all times seconds of any steady clock.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from math import inf

from preflight.model.event import Tell, silent
from preflight.model.pmtu import OneWay, PathMtu, SearchOutcome
from preflight.model.rejected import ECHOED, FOREIGN, UNSIGNED
from preflight.proto.core import Datagram, Refusal
from preflight.proto.pmtu.budget import Budget
from preflight.proto.pmtu.evidence import SizeEvidence
from preflight.proto.pmtu.probe import Probe
from preflight.proto.pmtu.wire import (
    LARGEST,
    SMALLEST,
    UNKNOWN_COUNT,
    Kind,
    Message,
    decode,
    encode,
    overhead,
    quoted_number,
)

FIRST_TIMEOUT_S = 1.0
SHORTEST_TIMEOUT_S = 0.05
ASKING = frozenset({Kind.HELLO, Kind.PROBE, Kind.REQUEST})
"""Only the asking side sends these: a host that sends one back is not a responder."""
MOST_TELLERS = 16
"""At most this many routers that report a size are named."""
MISFITS = 12
"""After this many measurements that counted other traffic's fragments, the search ignores fragments."""


class RoundTrip:
    """Smoothed round-trip time and its variation (RFC 6298 section 2)."""

    def __init__(self) -> None:
        self.smoothed: float | None = None
        self.variation = 0.0
        self.quickest = inf

    def sample(self, rtt: float) -> None:
        """Take one more measured round trip, seconds."""
        self.quickest = min(self.quickest, rtt)
        if self.smoothed is None:
            self.smoothed, self.variation = rtt, rtt / 2
        else:
            self.variation += (abs(self.smoothed - rtt) - self.variation) / 4
            self.smoothed += (rtt - self.smoothed) / 8

    @property
    def timeout(self) -> float:
        """How long to wait for an answer, seconds."""
        if self.smoothed is None:
            return FIRST_TIMEOUT_S
        return max(SHORTEST_TIMEOUT_S, 2 * self.smoothed + 4 * self.variation)


class FragmentCount:
    """The receiver's count of datagrams that it reassembled from fragments; it counts all flows and may wrap."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.latest: int | None = None
        self._baseline: int | None = None

    def take(self, count: int | None) -> None:
        """Keep the latest count; answers may come out of order."""
        if self.latest is None:
            self.latest = self.first = count
        elif count is not None and (count - self.latest) % UNKNOWN_COUNT < UNKNOWN_COUNT // 2:
            self.latest = count

    def mark(self) -> None:
        """Count from here on."""
        self._baseline = self.latest

    @property
    def since_mark(self) -> int:
        """How many were reassembled since the mark, if known."""
        if self._baseline is None or self.latest is None:
            return 0
        return (self.latest - self._baseline) % UNKNOWN_COUNT

    @property
    def untouched(self) -> bool:
        """Whether no fragment has come since the search began."""
        return self.latest == self.first


class Exchange:
    """One search's probes and answers in one direction, up to its result.

    address: the peer's, for the size of the headers. ceiling: MTU of the sending interface, bytes; in the reverse
    direction the peer's report replaces it. token: eight random bytes. key: the responders' shared key. reassembled:
    this host's own count of reassembled datagrams, read when an answer comes in the reverse direction; None = unknown.
    budget: the pace of this direction, which all searches of a run share. rtt_s: what other packets needed, if known.
    """

    def __init__(
        self,
        direction: OneWay,
        *,
        address: str,
        ceiling: int,
        token: bytes,
        key: bytes | None = None,
        reassembled: Callable[[], int | None] = lambda: None,
        budget: Budget | None = None,
        rtt_s: float | None = None,
        tell: Tell = silent,
    ) -> None:
        self.result: PathMtu | None = None
        self.budget = budget or Budget()
        self.forward = direction == "forward"
        self.evidence = SizeEvidence(max(SMALLEST, min(ceiling, LARGEST)))
        self.probes: dict[int, Probe] = {}
        self.rtt = RoundTrip()
        if rtt_s is not None:
            self.rtt.sample(rtt_s)
        self.fragments = FragmentCount()
        self.cookie: bytes | None = None
        self.reported: list[int] = []
        self.rounds = 0
        self.tell = tell
        self._reported_by: list[str] = []
        self._rejected: Counter[str] = Counter()
        self._tried_hints: set[int] = set()
        self._direction: OneWay = direction
        self._headers = overhead(address)
        self._token, self._key = token, key
        self._reassembled = reassembled
        self._started: float | None = None
        self._misfits = 0
        self._bounds = (0, 0)

    def begin(self, now: float) -> None:
        """Count the time from the first call on."""
        if self._started is None:
            self._started = now
            self.tell(now, "search-started", ceiling_bytes=self.evidence.ceiling, signed=self._key is not None)

    def elapsed_s(self, now: float) -> float:
        """Seconds since the search began."""
        return now - (now if self._started is None else self._started)

    def probe(self, size: int, greeting: bool = False) -> Probe:
        """A new probe with the next number."""
        probe = Probe(len(self.probes), size, greeting)
        self.probes[probe.number] = probe
        return probe

    def encode_probes(self, probes: Sequence[Probe], now: float) -> Datagram:
        """The datagram that carries one probe, or asks the peer for several."""
        for probe in probes:
            probe.sent_at = now
            kind = "greeting" if probe.greeting else "probe" if self.forward else "request"
            self.tell(now, "probe-sent", number=probe.number, size_bytes=probe.size, kind=kind)
        first = probes[0]
        if first.greeting:
            message = Message(Kind.HELLO, self._token, first.number)
        elif self.forward:
            message = Message(Kind.PROBE, self._token, first.number, size=first.size)
        else:
            sizes = tuple(probe.size for probe in probes)
            message = Message(Kind.REQUEST, self._token, first.number, cookie=self.cookie or b"", sizes=sizes)
        size = first.size if self.forward else SMALLEST
        return Datagram(encode(message, length=size - self._headers, key=self._key))

    def read(self, data: bytes, now: float) -> tuple[Message, Probe] | None:
        """A datagram and the probe that it is about; None if it does not belong to this search, or the search is over.

        Keeps what the datagram says about the peer's host.
        """
        if self.result is not None:
            return None
        message = decode(data, key=self._key)
        probe = self.probes.get(message.number) if message and message.token == self._token else None
        if message is None or probe is None or probe.sent_at is None or message.kind in ASKING:
            reason = self._refusal(data)
            self._rejected[reason] += 1
            self.tell(now, "rejected", reason=reason, size_bytes=len(data))
            return None
        self.fragments.take(message.reassembled if self.forward else self._reassembled())
        if message.kind is Kind.WELCOME:
            self._apply_welcome(message, now)
        return message, probe

    def answered(self, message: Message, probe: Probe, data: bytes, now: float) -> bool:
        """Whether this is the first answer that the probe asked for, of the right size; it is counted then."""
        if probe.arrived or probe.sent_at is None or not self._answers(message, probe, len(data)):
            return False
        probe.arrived, probe.arrived_at = True, now
        rtt_s = now - probe.sent_at
        self.rtt.sample(rtt_s)
        self.tell(now, "probe-answered", number=probe.number, size_bytes=probe.size, rtt_s=rtt_s)
        return True

    def give_up(self, probe: Probe, now: float) -> None:
        """Count a probe as lost: evidence against its size."""
        probe.given_up = True
        self.evidence.lost[probe.size] += 1
        self.tell(now, "probe-lost", number=probe.number, size_bytes=probe.size)

    def _answers(self, message: Message, probe: Probe, payload_bytes: int) -> bool:
        if probe.greeting:
            return message.kind is Kind.WELCOME
        if self.forward:
            return message.kind is Kind.ACK and message.size == probe.size
        return message.kind is Kind.ANSWER and payload_bytes + self._headers == probe.size

    def _refusal(self, data: bytes) -> str:
        """Why a datagram does not belong to this search, in a word of `preflight.model.rejected`."""
        message = decode(data)
        if message is None or message.token != self._token:
            return FOREIGN
        if message.kind in ASKING:
            return ECHOED
        return FOREIGN if self._key is None else UNSIGNED

    def _apply_welcome(self, welcome: Message, now: float) -> None:
        """Take what the peer says about its own side."""
        self.cookie = welcome.cookie
        if self.forward:
            return
        if welcome.device_mtu:
            self.evidence.ceiling = max(SMALLEST, min(welcome.device_mtu, LARGEST))
        if SMALLEST <= welcome.path_mtu < self.evidence.ceiling and welcome.path_mtu not in self.reported:
            self.reported.append(welcome.path_mtu)
            self.tell(now, "peer-knows-path-mtu", mtu_bytes=welcome.path_mtu, ceiling_bytes=self.evidence.ceiling)

    def refused(self, refusal: Refusal, now: float) -> None:
        """Take an entry of the error queue. "Port unreachable" ends the search, unless answers have come before."""
        if refusal.port_unreachable:
            if self.result is None and not self.heard:
                self.finish(SearchOutcome.REFUSED, now)
        elif refusal.too_big and refusal.local:
            self._too_big_here(refusal.mtu, now)
        elif refusal.too_big:
            self._icmp_too_big(refusal, now)

    def _icmp_too_big(self, refusal: Refusal, now: float) -> None:
        """It counts only if it quotes our token and a probe that is missing (RFC 8899 section 4.6.1)."""
        number = quoted_number(refusal.quoted, self._token)
        probe = self.probes.get(number) if number is not None else None
        mtu, source = refusal.mtu, refusal.offender or ""
        believed = probe is not None and not probe.arrived and SMALLEST <= mtu < probe.size
        self.tell(now, "icmp-too-big", mtu_bytes=mtu, by=source, number=number, believed=believed)
        if believed:
            self.reported.append(mtu)
            if source not in self._reported_by and len(self._reported_by) < MOST_TELLERS:
                self._reported_by.append(source)

    def _too_big_here(self, mtu: int, now: float) -> None:
        """This node's own interface refuses packets above `mtu`."""
        self.tell(now, "too-big-here", mtu_bytes=mtu)
        if self.forward:
            self.evidence.ceiling = max(SMALLEST, min(self.evidence.ceiling, mtu))

    def hint(self) -> int | None:
        """A size between the bounds that an ICMP error reported and that no probe has tried for it yet."""
        low, ceiling = self.evidence.largest_passing, self.evidence.ceiling
        hint = next((mtu for mtu in self.reported if low <= mtu < ceiling and mtu not in self._tried_hints), None)
        if hint is not None:
            self._tried_hints.add(hint)
        return hint

    @property
    def heard(self) -> bool:
        """Whether anything was ever answered."""
        return any(probe.arrived for probe in self.probes.values())

    @property
    def counting(self) -> bool:
        """Whether the receiver's count of fragments still says something."""
        return self._misfits < MISFITS

    @property
    def new_fragments(self) -> int:
        """How many datagrams the receiver has reassembled since the mark, if its count says something."""
        return self.fragments.since_mark if self.counting else 0

    def misfit(self, now: float) -> None:
        """A count of fragments does not fit what arrived: other traffic was counted too."""
        self._misfits += 1
        if not self.counting:
            self.evidence.forget_fragments()
            self.tell(now, "fragments-uncountable")

    def tell_bounds(self, now: float) -> None:
        """Emit the two sizes between which the path MTU is, when one has changed."""
        if self.tell is silent:
            return
        bounds = (self.evidence.largest_passing, self.evidence.smallest_failing)
        if bounds != self._bounds:
            self._bounds = bounds
            self.tell(now, "bounds", passes_bytes=bounds[0], fails_bytes=bounds[1])

    def finish(self, outcome: SearchOutcome, now: float) -> None:
        """End the search with this outcome."""
        self.result = result = self._conclude(outcome, now)
        self.tell(
            now,
            "concluded",
            outcome=outcome.value,
            mtu_bytes=result.mtu_bytes,
            ceiling_bytes=result.ceiling_bytes,
            signalled=result.signalled,
            against_next_byte=self.evidence.weight((result.mtu_bytes or 0) + 1),
            vanished_bytes=result.vanished,
            fragmented_bytes=result.fragmented,
            probes=result.probes_sent,
            rounds=result.rounds,
        )

    def _conclude(self, outcome: SearchOutcome, now: float) -> PathMtu:
        evidence = self.evidence
        arrived = evidence.whole.keys() | evidence.fragmented.keys()
        low = evidence.largest_passing
        return PathMtu(
            direction=self._direction,
            outcome=outcome,
            ceiling_bytes=evidence.ceiling,
            mtu_bytes=low or None,
            signalled=low < evidence.ceiling and any(mtu <= low for mtu in self.reported),
            passed=tuple(sorted(size for size in arrived if evidence.passes(size))),
            fragmented=tuple(sorted(size for size in arrived if not evidence.passes(size))),
            vanished=tuple(sorted(size for size in +evidence.lost if size not in arrived)),
            recovered=tuple(sorted(size for size in +evidence.lost if size in arrived)),
            miscounted=not self.counting,
            icmp_from=tuple(self._reported_by),
            probes_sent=sum(probe.sent_at is not None for probe in self.probes.values()),
            rounds=self.rounds,
            rtt_s=self.rtt.smoothed,
            duration_s=self.elapsed_s(now),
            rejected=dict(self._rejected),
        )
