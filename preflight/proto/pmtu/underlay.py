"""Which size provably reached a host that runs nothing of ours: packets to a closed port, without I/O.

The proof is the host's own "port unreachable" that quotes the packet (RFC 792, RFC 4443 section 3.1), so silence and
limits on ICMP errors only make the result smaller. Sizes are IP packets in bytes.
"""

from collections.abc import Iterable

from preflight.model.event import Tell, silent
from preflight.proto.core import Core, Datagram, Refusal
from preflight.proto.pmtu.wire import TOKEN_BYTES, overhead

COARSE, FINE = 4, 3
"""First every fourth size, then the three above the best."""


class RefusedSizes(Core[int]):
    """Finds the largest size from `low` to `high` that the host refused; 0 = none.

    address: the host's, for the size of the headers. token: eight random bytes. patience_s: how long to wait for the
    answers of one step, seconds.
    """

    result: int | None = None

    def __init__(
        self, *, address: str, low: int, high: int, token: bytes, patience_s: float, tell: Tell = silent
    ) -> None:
        self._headers = overhead(address)
        self._high = high
        self._token, self._patience_s, self._tell = token, patience_s, tell
        self._sizes: Iterable[int] = range(low, high + 1, COARSE)
        self._missing: set[int] = set()
        self._best = 0
        self._fine = False
        self._deadline: float | None = None

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """One packet of each size of the next step, once the step before is over."""
        if self.result is not None or self._deadline is not None:
            return []
        self._missing = set(self._sizes)
        if not self._missing:
            self._conclude(now)
            return []
        self._deadline = now + self._patience_s
        self._tell(now, "probes-sent", sizes_bytes=sorted(self._missing))
        return [Datagram(self._start(size).ljust(size - self._headers, b"\0")) for size in sorted(self._missing)]

    def refused(self, refusal: Refusal, now: float) -> None:
        """Take "port unreachable" errors that quote one of the packets."""
        start = refusal.quoted[: TOKEN_BYTES + 2]
        size = int.from_bytes(start[TOKEN_BYTES:])
        if not refusal.port_unreachable or size not in self._missing or start != self._start(size):
            return
        self._missing.discard(size)
        self._best = max(self._best, size)
        self._tell(now, "size-refused", size_bytes=size)
        if not self._missing:
            self._next_step(now)

    def get_timer(self) -> float | None:
        """When the step's time is up; a time that has passed if the next step is due."""
        if self.result is not None:
            return None
        return self._deadline if self._deadline is not None else 0.0

    def handle_timer(self, now: float) -> None:
        """End the step if its time is up."""
        if self._deadline is not None and now >= self._deadline:
            self._next_step(now)

    def _next_step(self, now: float) -> None:
        self._deadline = None
        if self._fine or not self._best:
            self._conclude(now)
        else:
            self._fine = True
            self._sizes = range(self._best + 1, min(self._best + FINE, self._high) + 1)

    def _conclude(self, now: float) -> None:
        self.result = self._best
        self._tell(now, "concluded", size_bytes=self._best)

    def _start(self, size: int) -> bytes:
        return self._token + size.to_bytes(2)
