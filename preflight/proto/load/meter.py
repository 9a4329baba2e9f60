"""Counting what arrives, and how fast once the rate is steady; pure."""

from preflight.model.load import Counted

BEGINNING_S = 1.0
BEGINNING = 0.3
"""What is left out at the beginning, while a sender finds its rate: a second, or this share of a shorter flow."""
_MARK_S = 0.01


class Meter:
    """Counts one flow. `now`: seconds of a steady clock."""

    def __init__(self) -> None:
        self.bytes = 0
        self.packets = 0
        self._first: float | None = None
        self._last = 0.0
        self._marks: list[tuple[float, int]] = []

    def add(self, size: int, now: float) -> None:
        """Bytes have arrived."""
        self.bytes += size
        self.packets += 1
        self._last = now
        if self._first is None:
            self._first = now
        if not self._marks or now - self._marks[-1][0] >= _MARK_S:
            self._marks.append((now, self.bytes))

    def counted(self, overflowed: int = 0) -> Counted:
        """All of it so far. The bytes that came first took a time that is not known, so no rate counts them."""
        if self._first is None:
            return Counted(overflowed=overflowed)
        elapsed = self._last - self._first
        from_s = self._first + min(BEGINNING_S, BEGINNING * elapsed)
        at, before = next(mark for mark in (*self._marks, (self._last, self.bytes)) if mark[0] >= from_s)
        return Counted(self.bytes, self.packets, elapsed, self.bytes - before, self._last - at, overflowed)
