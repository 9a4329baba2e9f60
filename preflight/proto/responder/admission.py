"""Who may ask the responder, and how often: pure, with bounded tables, cheap enough for every packet."""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Address, IPv6Network

MAX_SOURCES = 4096
SOURCE_PER_S = 1500
"""What one source may send by default. As measured, one core of a busy machine answers 10 000 of the most expensive
packets (signed, with TLVs) in a second, or 25 000 unsigned ones. All sources together get five times this (see
`Limits`), three quarters of the 10 000: the rest is for dropping what exceeds it, for the mailbox and for hellos."""


class Verdict(Enum):
    """ALLOWED: a provisioned source. STRANGER: serve it only if it shows the key. LIMITED: too many packets, drop."""

    ALLOWED = "allowed"
    STRANGER = "stranger"
    LIMITED = "rate-limited"


@dataclass(frozen=True, slots=True)
class Limits:
    """Packets per second of one source; `burst_s`: what may come at once, in seconds of this rate.

    Each kind of source has its share, and takes nothing from the kinds named before it: quiet peers, quiet strangers
    that showed the key, sources that send more than quiet ones, new peers, and strangers.
    """

    source_per_s: float = SOURCE_PER_S
    burst_s: float = 0.2

    def bucket(self, share: float, now: float, burst_s: float | None = None) -> "TokenBucket":
        """A bucket for `share` times what one source may send."""
        per_s = self.source_per_s * share
        return TokenBucket(per_s, max(per_s * (burst_s or self.burst_s), 10.0), now)


QUIET, QUIET_BURST_S = 1 / 4, 1.0
"""Share of its rate up to which a source is quiet, and the burst of such a source: a measurement needs less."""
BUSY_S = 10.0
"""How long a source that sent more than a quiet one counts as busy."""
QUIET_PEERS, QUIET_PROVEN, BUSY, NEWCOMERS, STRANGERS = 2.0, 1.0, 1.0, 0.5, 0.5
"""What all sources of a kind may send together, as multiples of the rate of one source."""


class TokenBucket:
    """Grants `per_s` tokens a second and up to `burst` at once. `now` is in seconds of a steady clock."""

    __slots__ = ("_at", "_burst", "_per_s", "_tokens")

    def __init__(self, per_s: float, burst: float, now: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        tokens = min(self._tokens + (now - self._at) * self._per_s, self._burst)
        self._at = now
        if tokens < 1.0:
            self._tokens = tokens
            return False
        self._tokens = tokens - 1.0
        return True


class Ledger:
    """Counts by source and reason, of the sources that were noted last; `total` of all by reason."""

    def __init__(self) -> None:
        self._sources: OrderedDict[str, tuple[dict[str, int], float]] = OrderedDict()
        self.total: Counter[str] = Counter()

    def note(self, address: str, reason: str, now: float, count: int = 1) -> None:
        """Count packets of, or to, this source."""
        self.total[reason] += count
        noted = self._sources.pop(address, None)
        counts = noted[0] if noted else {}
        if len(self._sources) >= MAX_SOURCES:
            self._sources.popitem(last=False)
        counts[reason] = counts.get(reason, 0) + count
        self._sources[address] = (counts, now)

    def counts(self, address: str) -> Mapping[str, int]:
        """The counts of a source, if it is remembered."""
        noted = self._sources.get(address)
        return noted[0] if noted else {}

    def recent(self, address: str, since: float) -> Mapping[str, int]:
        """The counts of a source that was last noted at `since` or later."""
        noted = self._sources.get(address)
        return dict(noted[0]) if noted and noted[1] >= since else {}

    def last(self, address: str) -> tuple[int, float] | None:
        """How many packets of a source were noted, and when the last one came; None for an unknown source."""
        noted = self._sources.get(address)
        return (sum(noted[0].values()), noted[1]) if noted else None


class _Source:
    """A source that is remembered."""

    __slots__ = ("_busy_until", "_quiet", "own", "verdict")

    def __init__(self, verdict: Verdict, limits: Limits, now: float) -> None:
        self.verdict = verdict
        self.own = limits.bucket(1.0, now)
        self._quiet = limits.bucket(QUIET, now, QUIET_BURST_S)
        self._busy_until = now

    def busy(self, now: float) -> bool:
        """Whether it sends, or sent recently, more than a quiet source; call it for each packet."""
        if now >= self._busy_until and not self._quiet.take(now):
            self._busy_until = now + BUSY_S
        return now < self._busy_until


class Admission:
    """Judges sources by prefix and rate.

    It remembers provisioned sources that it has let in, and strangers that have shown the key. All others it judges by
    their address alone.
    """

    def __init__(self, prefixes: Iterable[IPv4Network | IPv6Network], limits: Limits, now: float) -> None:
        self._prefixes = tuple(
            (prefix.version, int(prefix.network_address), int(prefix.netmask)) for prefix in prefixes
        )
        self._limits = limits
        self._quiet = {
            Verdict.ALLOWED: limits.bucket(QUIET_PEERS, now),
            Verdict.STRANGER: limits.bucket(QUIET_PROVEN, now),
        }
        self._busy = limits.bucket(BUSY, now)
        self._newcomers = limits.bucket(NEWCOMERS, now)
        self._strangers = limits.bucket(STRANGERS, now)
        self._sources: OrderedDict[str, _Source] = OrderedDict()

    def allows(self, address: str) -> bool:
        """Whether a provisioned prefix covers the address, as a socket gives it."""
        version, number = _number(address)
        return any(version == family and number & mask == network for family, network, mask in self._prefixes)

    def judge(self, address: str, now: float) -> Verdict:
        """Judge one packet from `address`."""
        source = self._sources.get(address)
        if source is None:
            return self._meet(address, now)
        self._sources.move_to_end(address)
        if not source.own.take(now):
            return Verdict.LIMITED
        shared = self._busy if source.busy(now) else self._quiet[source.verdict]
        return source.verdict if shared.take(now) else Verdict.LIMITED

    def proven(self, address: str, now: float) -> None:
        """A stranger showed the key: from now on it is judged among the peers."""
        if address not in self._sources:
            self._remember(address, Verdict.STRANGER, now)

    def _meet(self, address: str, now: float) -> Verdict:
        if not self.allows(address):
            return Verdict.STRANGER if self._strangers.take(now) else Verdict.LIMITED
        if not self._newcomers.take(now):
            return Verdict.LIMITED
        self._remember(address, Verdict.ALLOWED, now).own.take(now)
        return Verdict.ALLOWED

    def _remember(self, address: str, verdict: Verdict, now: float) -> _Source:
        """If the table is full, forget the source that was silent for longest; it counts as new if it comes again."""
        if len(self._sources) >= MAX_SOURCES:
            self._sources.popitem(last=False)
        source = self._sources[address] = _Source(verdict, self._limits, now)
        return source


def _number(address: str) -> tuple[int, int]:
    """Version and value of an address. `ip_address` takes ten times as long: too long for a flood of forged ones."""
    if ":" in address:
        return 6, int(IPv6Address(address.partition("%")[0]))
    return 4, int.from_bytes(bytes(map(int, address.split("."))), "big")
