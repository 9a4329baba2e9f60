"""How much load a responder takes, from whom and when: one flow at a time, a budget of bytes for each hour; pure."""

from dataclasses import dataclass

from preflight.proto.load.wire import Amount, Grant, Request

HOUR_S = 3600.0
LEAST_BYTES = 100_000
"""With less than this left of the hour nothing can be measured, so nothing begins."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most of one flow, whatever its asker wants, and the bytes of all flows in an hour."""

    seconds: float = 15.0
    flow_bytes: int = 250_000_000
    hour_bytes: int = 5_000_000_000
    kbit: int = 1_000_000


class Gate:
    """Gives out flows. The bytes of a flow count from its beginning; what it did not use comes back at its end."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._left = float(limits.hour_bytes)
        self._at = now
        self._running: int | None = None

    def ask(self, request: Request, session: bytes, now: float) -> Grant:
        """What an asker who has shown the key gets. `over` must follow a grant without a refusal."""
        limits = self._limits
        self._left = min(self._left + (now - self._at) * limits.hour_bytes / HOUR_S, float(limits.hour_bytes))
        self._at = now
        if self._running is not None:
            return Grant(Amount(0.0, 0), session, "busy")
        if self._left < LEAST_BYTES:
            return Grant(Amount(0.0, 0), session, "spent")
        wanted = request.amount
        size = min(wanted.bytes, limits.flow_bytes, int(self._left))
        amount = Amount(min(wanted.seconds, limits.seconds), size, min(wanted.kbit, limits.kbit))
        self._running = size
        self._left -= size
        return Grant(amount, session)

    def over(self, used: int) -> None:
        """The flow has ended."""
        if self._running is not None:
            self._left += max(self._running - used, 0)
            self._running = None
