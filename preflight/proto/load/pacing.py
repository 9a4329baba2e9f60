"""When the next datagrams of a UDP flow are due; pure."""

from preflight.proto.load.wire import DATAGRAM_BYTES, Amount

MOST_AT_ONCE = 64
"""Datagrams that leave in a row, however late the sender is: a queue that is full of its burst would lose them."""


class Pacer:
    """Says how many datagrams are due. It never catches up more than `MOST_AT_ONCE`."""

    def __init__(self, amount: Amount, now: float) -> None:
        self._per_s = amount.kbit * 1000 / 8 / DATAGRAM_BYTES
        self._left = amount.bytes // DATAGRAM_BYTES
        self._ends = now + amount.seconds
        self._at = now
        self._due = 1.0

    def due(self, now: float) -> int | None:
        """How many to send now; None: the flow is over."""
        if now >= self._ends or self._left <= 0:
            return None
        self._due = min(self._due + (now - self._at) * self._per_s, float(MOST_AT_ONCE))
        self._at = now
        count = min(int(self._due), self._left)
        self._due -= count
        self._left -= count
        return count
