"""What every path-MTU search shares: its probes on the wire, what the peer tells, ICMP errors, and the result.

Pure, as the searches are. All sizes are IP packets in bytes, all times seconds of any steady clock.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from preflight.model.pmtu import OneWay, PathMtu, SearchOutcome
from preflight.model.rejected import ECHOED, FOREIGN, UNSIGNED
from preflight.proto.pmtu.evidence import Evidence
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
"""What only an asker sends: whoever gives it back is no responder."""
MOST_TELLERS = 16
"""So many routers that tell a size are named."""


@dataclass(slots=True)
class Probe:
    """One packet in the direction that is measured, or one greeting (size SMALLEST)."""

    number: int
    size: int
    greeting: bool = False
    sent_at: float | None = None
    arrived: bool = False
    given_up: bool = False


class RoundTrip:
    """Smoothed round-trip time and its variation (RFC 6298 section 2)."""

    def __init__(self) -> None:
        self.smoothed: float | None = None
        self.variation = 0.0

    def sample(self, rtt: float) -> None:
        """Take one more measured round trip, seconds."""
        if self.smoothed is None:
            self.smoothed, self.variation = rtt, rtt / 2
        else:
            self.variation += (abs(self.smoothed - rtt) - self.variation) / 4
            self.smoothed += (rtt - self.smoothed) / 8

    @property
    def timeout(self) -> float:
        """How long an answer is waited for, seconds."""
        if self.smoothed is None:
            return FIRST_TIMEOUT_S
        return max(SHORTEST_TIMEOUT_S, 2 * self.smoothed + 4 * self.variation)


class FragmentCount:
    """The receiver's count of datagrams that it put together from fragments; it counts all flows and may wrap."""

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
        """How many it became since the mark, as far as that is known."""
        if self._baseline is None or self.latest is None:
            return 0
        return (self.latest - self._baseline) % UNKNOWN_COUNT

    @property
    def untouched(self) -> bool:
        """Whether no fragment has come since the search began."""
        return self.latest == self.first


class Exchange:
    """One direction's probes and answers. `ceiling`, `token` and `key` as the searches take them."""

    def __init__(self, direction: OneWay, *, address: str, ceiling: int, token: bytes, key: bytes | None) -> None:
        self.forward = direction == "forward"
        self.evidence = Evidence(max(SMALLEST, min(ceiling, LARGEST)))
        self.probes: dict[int, Probe] = {}
        self.rtt = RoundTrip()
        self.fragments = FragmentCount()
        self.cookie: bytes | None = None
        self.told: list[int] = []
        self._told_by: list[str] = []
        self._rejected: Counter[str] = Counter()
        self._tried_hints: set[int] = set()
        self._direction: OneWay = direction
        self._headers = overhead(address)
        self._token, self._key = token, key

    def probe(self, size: int, greeting: bool = False) -> Probe:
        """A new probe with a number of its own."""
        probe = Probe(len(self.probes), size, greeting)
        self.probes[probe.number] = probe
        return probe

    def encode_probes(self, probes: Sequence[Probe], now: float) -> bytes:
        """The datagram that carries a probe, or asks the peer for several."""
        for probe in probes:
            probe.sent_at = now
        first = probes[0]
        if first.greeting:
            message = Message(Kind.HELLO, self._token, first.number)
        elif self.forward:
            message = Message(Kind.PROBE, self._token, first.number, size=first.size)
        else:
            sizes = tuple(probe.size for probe in probes)
            message = Message(Kind.REQUEST, self._token, first.number, cookie=self.cookie or b"", sizes=sizes)
        size = first.size if self.forward else SMALLEST
        return encode(message, length=size - self._headers, key=self._key)

    def read(self, data: bytes, reassembled: int | None) -> tuple[Message, Probe] | None:
        """A datagram and the probe that it is about; None if it does not belong to this search.

        What it tells about the peer's host is kept. `reassembled` is this host's own count of fragments.
        """
        message = decode(data, key=self._key)
        probe = self.probes.get(message.number) if message and message.token == self._token else None
        if message is None or probe is None or probe.sent_at is None or message.kind in ASKING:
            self._rejected[self._refusal(data)] += 1
            return None
        self.fragments.take(message.reassembled if self.forward else reassembled)
        if message.kind is Kind.WELCOME:
            self._heed(message)
        return message, probe

    def _refusal(self, data: bytes) -> str:
        """Why a datagram does not belong to this search, in a word of `preflight.model.rejected`."""
        message = decode(data)
        if message is None or message.token != self._token:
            return FOREIGN
        if message.kind in ASKING:
            return ECHOED
        return FOREIGN if self._key is None else UNSIGNED

    def answers(self, message: Message, probe: Probe, payload_bytes: int) -> bool:
        """Whether this is the answer that the probe asked for, of the right size."""
        if probe.greeting:
            return message.kind is Kind.WELCOME
        if self.forward:
            return message.kind is Kind.ACK and message.size == probe.size
        return message.kind is Kind.ANSWER and payload_bytes + self._headers == probe.size

    def _heed(self, welcome: Message) -> None:
        """Take what the peer tells about its own side."""
        self.cookie = welcome.cookie
        if self.forward:
            return
        if welcome.device_mtu:
            self.evidence.ceiling = max(SMALLEST, min(welcome.device_mtu, LARGEST))
        if SMALLEST <= welcome.path_mtu < self.evidence.ceiling and welcome.path_mtu not in self.told:
            self.told.append(welcome.path_mtu)

    def icmp_too_big(self, quoted: bytes, mtu: int, source: str) -> None:
        """Take an ICMP "too big" from `source`; it counts only if it quotes our token and a probe that is missing."""
        number = quoted_number(quoted, self._token)
        probe = self.probes.get(number) if number is not None else None
        if probe is not None and not probe.arrived and SMALLEST <= mtu < probe.size:
            self.told.append(mtu)
            if source not in self._told_by and len(self._told_by) < MOST_TELLERS:
                self._told_by.append(source)

    def too_big_here(self, mtu: int) -> None:
        """This node's own interface refuses packets above `mtu`."""
        if self.forward:
            self.evidence.ceiling = max(SMALLEST, min(self.evidence.ceiling, mtu))

    def hint(self) -> int | None:
        """A size between the bounds that an ICMP error told and that was not tried for it yet."""
        low, ceiling = self.evidence.largest_passing, self.evidence.ceiling
        hint = next((mtu for mtu in self.told if low <= mtu < ceiling and mtu not in self._tried_hints), None)
        if hint is not None:
            self._tried_hints.add(hint)
        return hint

    @property
    def heard(self) -> bool:
        """Whether anything was ever answered."""
        return any(probe.arrived for probe in self.probes.values())

    def conclude(self, outcome: SearchOutcome, *, rounds: int, duration_s: float, miscounted: bool) -> PathMtu:
        """The result, from all the evidence."""
        evidence = self.evidence
        arrived = evidence.whole.keys() | evidence.fragmented.keys()
        low = evidence.largest_passing
        return PathMtu(
            direction=self._direction,
            outcome=outcome,
            ceiling_bytes=evidence.ceiling,
            mtu_bytes=low or None,
            signalled=low < evidence.ceiling and any(mtu <= low for mtu in self.told),
            passed=tuple(sorted(size for size in arrived if evidence.passes(size))),
            fragmented=tuple(sorted(size for size in arrived if not evidence.passes(size))),
            vanished=tuple(sorted(size for size in +evidence.lost if size not in arrived)),
            recovered=tuple(sorted(size for size in +evidence.lost if size in arrived)),
            miscounted=miscounted,
            icmp_from=tuple(self._told_by),
            probes_sent=sum(probe.sent_at is not None for probe in self.probes.values()),
            rounds=rounds,
            rtt_s=self.rtt.smoothed,
            duration_s=duration_s,
            rejected=dict(self._rejected),
        )
