"""Memory limit: all large bodies and answers share one budget."""

from collections.abc import Iterator
from contextlib import contextmanager

from preflight.control.refusal import Refusal

FREE_BYTES = 64 * 1024
"""Memory that every request may use without counting, like a connection's buffers."""
ALLOWANCE_BYTES = 128 * 1024 * 1024


class Share:
    """The memory of one request."""

    def __init__(self, budget: "Budget") -> None:
        self._budget = budget
        self._used = self.held = 0

    def take(self, size: int) -> None:
        """Reserve `size` more bytes. Refuses with 503 while other requests hold too much."""
        self._used += size
        more = max(0, self._used - FREE_BYTES) - self.held
        if more > self._budget.left:
            raise Refusal(503, "too many large requests at once", {"retry-after": "1"})
        self._budget.left -= more
        self.held += more


class Budget:
    """The budget; `left` is its free part, bytes."""

    def __init__(self, allowance: int = ALLOWANCE_BYTES) -> None:
        self.left = allowance

    @contextmanager
    def share(self) -> Iterator[Share]:
        """The share of one request, given back when it is over."""
        share = Share(self)
        try:
            yield share
        finally:
            self.left += share.held
