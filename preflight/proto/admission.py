"""Who may ask the responder, and how often: pure, with bounded tables, cheap enough for every packet."""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address

MAX_SOURCES = 4096


class Verdict(Enum):
    """ALLOWED: a provisioned source. STRANGER: serve it only if it shows the key. LIMITED: too many packets, drop."""

    ALLOWED = "allowed"
    STRANGER = "stranger"
    LIMITED = "rate-limited"


@dataclass(frozen=True, slots=True)
class Limits:
    """Packets per second of one source. `burst_s`: so much may come at once.

    All provisioned sources together may send twice as many, all strangers together as many as one of them: a flood from
    forged addresses takes nothing from the peers.
    """

    source_per_s: float = 100_000.0
    burst_s: float = 0.2

    def bucket(self, share: float, now: float) -> "TokenBucket":
        """A bucket for `share` times what one source may send."""
        per_s = self.source_per_s * share
        return TokenBucket(per_s, max(per_s * self.burst_s, 10.0), now)


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
        self._sources: OrderedDict[str, tuple[Counter[str], float]] = OrderedDict()
        self.total: Counter[str] = Counter()

    def note(self, address: str, reason: str, now: float) -> None:
        """Count one packet of, or to, this source."""
        self.total[reason] += 1
        counts, _ = self._sources.pop(address, (Counter[str](), now))
        if len(self._sources) >= MAX_SOURCES:
            self._sources.popitem(last=False)
        counts[reason] += 1
        self._sources[address] = (counts, now)

    def recent(self, address: str, since: float) -> Mapping[str, int]:
        """The counts of a source that was last noted at `since` or later."""
        counts, at = self._sources.get(address, (Counter[str](), since))
        return dict(counts) if at >= since else {}

    def last(self, address: str) -> tuple[int, float] | None:
        """How many packets of a source were noted, and when the last one was; None of a source that is not known."""
        noted = self._sources.get(address)
        return (noted[0].total(), noted[1]) if noted else None


class Admission:
    """Judges sources by prefix and rate."""

    def __init__(self, prefixes: Iterable[IPv4Network | IPv6Network], limits: Limits, now: float) -> None:
        self._prefixes = tuple(prefixes)
        self._limits = limits
        self._together = {Verdict.ALLOWED: limits.bucket(2.0, now), Verdict.STRANGER: limits.bucket(1.0, now)}
        self._sources: OrderedDict[str, tuple[TokenBucket, TokenBucket, Verdict]] = OrderedDict()

    def allows(self, address: str) -> bool:
        """Whether the address, as a socket tells it, lies in a provisioned prefix."""
        ip = ip_address(address.partition("%")[0])
        return any(ip.version == prefix.version and ip in prefix for prefix in self._prefixes)

    def judge(self, address: str, now: float) -> Verdict:
        """Judge one packet from `address`."""
        entry = self._sources.get(address)
        if entry is None:
            entry = self._admit(address, now)
        own, together, verdict = entry
        return verdict if own.take(now) and together.take(now) else Verdict.LIMITED

    def _admit(self, address: str, now: float) -> tuple[TokenBucket, TokenBucket, Verdict]:
        """A new entry; the oldest makes room, and is given a full bucket if it comes again."""
        if len(self._sources) >= MAX_SOURCES:
            self._sources.popitem(last=False)
        verdict = Verdict.ALLOWED if self.allows(address) else Verdict.STRANGER
        entry = self._sources[address] = (self._limits.bucket(1.0, now), self._together[verdict], verdict)
        return entry
