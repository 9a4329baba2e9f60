"""Datagram path-MTU search in one direction, without I/O: bursts of sizes that end in known-good packets.

The `fast` search classifies losses as RFC 4821 sections 7.5 and 7.6 do and needs about five round trips; it does not
keep RFC 8899's timers. ICMP errors steer it and tell whether the sender is signalled; they never set the value
(RFC 8899 section 4.6). All sizes are IP packets in bytes, all times seconds of any steady clock.
"""

from collections import deque
from dataclasses import dataclass

from preflight.model.pmtu import OneWay, PathMtu, SearchOutcome
from preflight.proto.pmtu_evidence import Evidence, attribute_fragments
from preflight.proto.probe import (
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

BASE = 1280
"""Tried at once beside the ceiling: the least that the overlay must carry (RFC 8200 section 5)."""
ROOM = 8
"""Sizes in a burst, with a greeting less than the ten packets of a new flow's initial window (RFC 6928)."""
PACE_S = 0.0001
FIRST_TIMEOUT_S = 1.0
SHORTEST_TIMEOUT_S = 0.05
LONGEST_TIMEOUT_S = 2.0
SHORTEST_GRACE_S, SHORTEST_DECIDING_GRACE_S = 0.001, 0.003
"""How long, at least, a late answer is waited for after the one that closes a burst."""
SILENT_BURSTS = 3
MISFITS = 12
"""Bursts in which other traffic's fragments were counted, after which fragments are no longer looked at."""
MAX_ROUNDS = 60
MAX_SECONDS = 10.0


@dataclass(slots=True)
class _Probe:
    """One packet in the direction that is measured, or one greeting (size SMALLEST)."""

    number: int
    size: int
    greeting: bool = False
    sent_at: float | None = None
    arrived: bool = False
    given_up: bool = False


class _RoundTrip:
    """Smoothed round-trip time and its variation (RFC 6298 section 2)."""

    def __init__(self) -> None:
        self.smoothed: float | None = None
        self.variation = 0.0

    def sample(self, rtt: float) -> None:
        if self.smoothed is None:
            self.smoothed, self.variation = rtt, rtt / 2
        else:
            self.variation += (abs(self.smoothed - rtt) - self.variation) / 4
            self.smoothed += (rtt - self.smoothed) / 8

    @property
    def timeout(self) -> float:
        if self.smoothed is None:
            return FIRST_TIMEOUT_S
        return max(SHORTEST_TIMEOUT_S, 2 * self.smoothed + 4 * self.variation)

    def grace(self, deciding: bool) -> float:
        # A packet given up too soon in an early burst costs a round at most, in the deciding one the right answer.
        smoothed = self.smoothed or 0.0
        if deciding:
            return max(SHORTEST_DECIDING_GRACE_S, smoothed / 4, 4 * self.variation)
        return max(SHORTEST_GRACE_S, smoothed / 8, self.variation)


class PathMtuSearch:
    """One search. Send what `datagrams_to_send` gives, hand in what comes, call again at `get_timer`, until `result`.

    address: the peer's, for the size of the headers. ceiling: MTU of the sending interface, bytes; for the reverse
    direction the peer's own word replaces it. token: eight random bytes. key: the responders' shared key.
    """

    def __init__(
        self, direction: OneWay, *, address: str, ceiling: int, token: bytes, key: bytes | None = None
    ) -> None:
        self.result: PathMtu | None = None
        self._forward = direction == "forward"
        self._direction: OneWay = direction
        self._headers = overhead(address)
        self._token, self._key = token, key
        self._evidence = Evidence(max(SMALLEST, min(ceiling, LARGEST)))
        self._probes: dict[int, _Probe] = {}
        self._burst: list[_Probe] = []
        self._unsent: deque[list[_Probe]] = deque()
        self._rtt = _RoundTrip()
        self._started: float | None = None
        self._next_send = self._deadline = 0.0
        self._rounds = self._silent = self._misfits = 0
        self._counting = True
        self._straggled = False
        self._first_count: int | None = None
        self._reassembled: int | None = None
        self._baseline: int | None = None
        self._cookie: bytes | None = None
        self._told: list[int] = []
        self._told_by: list[str] = []
        self._tried_hints: set[int] = set()

    @property
    def counts_here(self) -> bool:
        """Whether `receive` wants this host's count of reassembled datagrams; forward it is the peer that counts."""
        return not self._forward

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
            due.append(self._shoot(self._unsent.popleft(), now))
            self._next_send += PACE_S
            if not self._unsent:
                self._deadline = now + min(self._rtt.timeout * 2**self._silent, LONGEST_TIMEOUT_S)
        return due

    def receive(self, data: bytes, now: float, reassembled: int | None = None) -> None:
        """Take a datagram from the peer; whatever does not belong to this search is ignored.

        `reassembled` is this host's count of datagrams put together from fragments, read after this one came; None
        where it is unknown, or not wanted (`counts_here`).
        """
        message = decode(data, key=self._key)
        probe = self._probes.get(message.number) if message and message.token == self._token else None
        if self.result is not None or message is None or probe is None or probe.sent_at is None:
            return
        self._count(message.reassembled if self._forward else reassembled)
        if message.kind is Kind.WELCOME:
            self._heed(message)
        if not self._answers(message, probe, len(data) + self._headers) or probe.arrived:
            return
        probe.arrived = True
        self._silent = 0
        self._rtt.sample(now - probe.sent_at)
        if probe not in self._burst:
            self._late(probe, now)
        elif all(other.arrived for other in self._burst):
            self._close(now)
        elif probe is self._burst[-1]:
            self._deadline = min(self._deadline, now + self._rtt.grace(self._deciding))

    def icmp_too_big(self, quoted: bytes, mtu: int, source: str) -> None:
        """Take an ICMP "too big" from `source`; it counts only if it quotes our token and a probe that is missing."""
        number = quoted_number(quoted, self._token)
        probe = self._probes.get(number) if number is not None else None
        if probe is not None and not probe.arrived and SMALLEST <= mtu < probe.size:
            self._told.append(mtu)
            if source not in self._told_by:
                self._told_by.append(source)

    def too_big_here(self, mtu: int) -> None:
        """This node's own interface refuses packets above `mtu`."""
        if self._forward:
            self._evidence.ceiling = max(SMALLEST, min(self._evidence.ceiling, mtu))

    def refused(self, now: float) -> None:
        """The peer's kernel says that nobody listens on the port."""
        if self.result is None and not any(probe.arrived for probe in self._probes.values()):
            self._finish(SearchOutcome.REFUSED, now)

    def get_timer(self) -> float | None:
        """When to call `datagrams_to_send` or `handle_timer` next; None when the search is over."""
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
        self._baseline, self._straggled = self._reassembled, False
        wanted = [*map(self._probe, self._sizes())] if self._cookie is not None else []
        greetings = 0 if self._forward and wanted else 1 if wanted else 1 + 2 * self._silent
        greeting = [self._probe(SMALLEST, greeting=True) for _ in range(greetings)]
        self._burst = greeting + wanted
        datagrams = [[probe] for probe in wanted] if self._forward else [wanted] * bool(wanted)
        self._unsent = deque([[probe] for probe in greeting] + datagrams)
        self._next_send = now

    def _sizes(self) -> tuple[int, ...]:
        evidence = self._evidence
        low, ceiling = evidence.largest_passing, evidence.ceiling
        if low == 0 or not (evidence.lost or evidence.fragmented):
            return (*(size for size in (ceiling, BASE, ceiling) if size <= ceiling), SMALLEST)
        hint = next((mtu for mtu in self._told if low <= mtu < ceiling and mtu not in self._tried_hints), None)
        if hint is not None:
            self._tried_hints.add(hint)
        return evidence.next_sizes(ROOM, hint)

    def _probe(self, size: int, greeting: bool = False) -> _Probe:
        probe = _Probe(len(self._probes), size, greeting)
        self._probes[probe.number] = probe
        return probe

    def _shoot(self, probes: list[_Probe], now: float) -> bytes:
        for probe in probes:
            probe.sent_at = now
        first = probes[0]
        if first.greeting:
            message = Message(Kind.HELLO, self._token, first.number)
        elif self._forward:
            message = Message(Kind.PROBE, self._token, first.number, size=first.size)
        else:
            sizes = tuple(probe.size for probe in probes)
            message = Message(Kind.REQUEST, self._token, first.number, cookie=self._cookie or b"", sizes=sizes)
        size = first.size if self._forward else SMALLEST
        return encode(message, length=size - self._headers, key=self._key)

    def _answers(self, message: Message, probe: _Probe, arrived_bytes: int) -> bool:
        """Whether this is the answer that the probe asked for, of the right size."""
        if probe.greeting:
            return message.kind is Kind.WELCOME
        if self._forward:
            return message.kind is Kind.ACK and message.size == probe.size
        return message.kind is Kind.ANSWER and arrived_bytes == probe.size

    def _count(self, reassembled: int | None) -> None:
        """Keep the receiver's latest count of reassembled datagrams; answers may come out of order."""
        known = self._reassembled
        if known is None:
            self._reassembled = self._first_count = reassembled
        elif reassembled is not None and (reassembled - known) % UNKNOWN_COUNT < UNKNOWN_COUNT // 2:
            self._reassembled = reassembled

    def _heed(self, welcome: Message) -> None:
        """Take what the peer tells about its own side."""
        self._cookie = welcome.cookie
        if self._forward:
            return
        if welcome.device_mtu:
            self._evidence.ceiling = max(SMALLEST, min(welcome.device_mtu, LARGEST))
        if SMALLEST <= welcome.path_mtu < self._evidence.ceiling and welcome.path_mtu not in self._told:
            self._told.append(welcome.path_mtu)

    def _late(self, probe: _Probe, now: float) -> None:
        """It was given up for lost and comes after all."""
        self._straggled = True
        if probe.given_up:
            self._evidence.lost[probe.size] -= 1
        if self._reassembled == self._first_count:
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
        heard = any(probe.arrived for probe in self._probes.values())
        if self._evidence.settled:
            self._finish(SearchOutcome.MEASURED, now)
        elif not heard and self._silent >= SILENT_BURSTS:
            self._finish(SearchOutcome.NO_ANSWER, now)
        elif self._rounds >= MAX_ROUNDS or now - (self._started or now) >= MAX_SECONDS:
            self._finish(SearchOutcome.UNDECIDED if heard else SearchOutcome.NO_ANSWER, now)

    def _weigh(self, burst: list[_Probe]) -> None:
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

    @property
    def _deciding(self) -> bool:
        """Whether a packet that is given up too soon could lead to a wrong result."""
        return self._evidence.narrowed or self._fragments() > 0

    def _fragments(self) -> int:
        """How many packets of the burst just closed the receiver put together from fragments, as far as it counts."""
        if not self._counting or self._baseline is None or self._reassembled is None:
            return 0
        return (self._reassembled - self._baseline) % UNKNOWN_COUNT

    def _finish(self, outcome: SearchOutcome, now: float) -> None:
        evidence = self._evidence
        arrived = evidence.whole.keys() | evidence.fragmented.keys()
        low = evidence.largest_passing
        self.result = PathMtu(
            direction=self._direction,
            outcome=outcome,
            ceiling_bytes=evidence.ceiling,
            mtu_bytes=low or None,
            signalled=low < evidence.ceiling and any(mtu <= low for mtu in self._told),
            passed=tuple(sorted(size for size in arrived if evidence.passes(size))),
            fragmented=tuple(sorted(size for size in arrived if not evidence.passes(size))),
            vanished=tuple(sorted(size for size in +evidence.lost if size not in arrived)),
            recovered=tuple(sorted(size for size in +evidence.lost if size in arrived)),
            miscounted=not self._counting,
            icmp_from=tuple(self._told_by),
            probes_sent=sum(probe.sent_at is not None for probe in self._probes.values()),
            rounds=self._rounds,
            rtt_s=self._rtt.smoothed,
            duration_s=now - (now if self._started is None else self._started),
        )


def _only_the_largest_missing(probes: list[_Probe]) -> bool:
    """Whether what did not arrive is larger than all that did."""
    largest = max(probe.size for probe in probes if probe.arrived)
    return all(probe.arrived or probe.size > largest for probe in probes)
