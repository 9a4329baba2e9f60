"""What the probes of a path-MTU search prove so far, and which sizes to try next: pure, RFC 4821 sections 7.5 and 7.6.

A packet that arrived proves its size. A lost one is evidence against its size only if later packets arrive, and
one loss is never enough: the search ends when a size fails again and again while packets one byte smaller arrive. A
packet that arrives in outer fragments counts against its size in the same way.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from math import log

NEEDED = 4
"""This many failures, while one byte less arrives, settle a search on a path that loses nothing else."""
CHANCE = 1e-6
"""How likely random loss may look like a limit; a path that loses packets needs more failures."""

PADDING = 16
"""WireGuard and most block ciphers pad to 16 bytes."""


class SizeEvidence:
    """Votes by size, in bytes of IP packet. `ceiling` is the largest size in question."""

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.whole: Counter[int] = Counter()
        self.fragmented: Counter[int] = Counter()
        self.lost: Counter[int] = Counter()

    @property
    def largest_passing(self) -> int:
        """The largest size that arrives whole, 0 if none did. Nothing above the ceiling counts."""
        fitting = (size for size in self.whole if size <= self.ceiling and self.passes(size))
        return max(fitting, default=0)

    @property
    def smallest_failing(self) -> int:
        """The smallest larger size with evidence against it; the ceiling + 1 without any."""
        low = self.largest_passing
        failing = (size for size in self.lost.keys() | self.fragmented.keys() if low < size and self.weight(size) > 0)
        return min(failing, default=self.ceiling + 1)

    def weight(self, size: int) -> float:
        """The weight of the evidence against a size; a count of fragments weighs half: it may include other traffic."""
        return self.lost[size] + self.fragmented[size] / 2

    @property
    def narrowed(self) -> bool:
        """Whether nothing is left to try between the two bounds."""
        return self.smallest_failing == self.largest_passing + 1

    @property
    def settled(self) -> bool:
        """Whether the path MTU is known: the ceiling passes, or one byte more fails often enough."""
        low = self.largest_passing
        return low == self.ceiling or (low > 0 and self.narrowed and self.weight(low + 1) >= self.needed)

    @property
    def needed(self) -> float:
        """The weight of evidence that settles the search, from the loss among packets whose size does pass."""
        low = self.largest_passing
        lost = sum(count for size, count in self.lost.items() if size <= low)
        return max(NEEDED, self.needed_if_lossy) if lost > 0 else NEEDED

    @property
    def needed_if_lossy(self) -> float:
        """The weight that settles the search if a path without a loss so far may still lose packets."""
        low = self.largest_passing
        came = sum(count for size, count in self.whole.items() if size <= low)
        lost = sum(count for size, count in self.lost.items() if size <= low)
        return log(CHANCE) / log((lost + 1) / (came + lost + 2))

    def next_sizes(self, room: int, hint: int | None = None) -> tuple[int, ...]:
        """Up to `room` sizes for the next burst, in sending order, the last one known to pass.

        A `hint` (an ICMP error's MTU) is tried against the size one byte larger. Otherwise the open range is cut into
        equal parts; once nothing is left between the two bounds, they alternate.
        """
        low, high = self.largest_passing, min(self.smallest_failing, self.ceiling)
        if hint is not None and low <= hint < high:
            return (hint + 1, hint) * (room // 2)
        if high - low <= 1:
            return (high, low) * (room // 2)
        return (*_cuts(low, high, room - 2), high, low)

    def forget(self) -> None:
        """Start over: the path has changed."""
        for votes in (self.whole, self.fragmented, self.lost):
            votes.clear()

    def forget_fragments(self) -> None:
        """Count everything that arrived as whole: the count of fragments turned out to be useless."""
        self.whole += self.fragmented
        self.fragmented.clear()

    def passes(self, size: int) -> bool:
        """Whether packets of this size arrive, and whole."""
        return self.whole[size] > self.fragmented[size]


def _cuts(low: int, high: int, most: int) -> list[int]:
    """Sizes between two bounds, in equal steps; tunnels that pad have their limit on or just above a PADDING step."""
    step = max(1.0, (high - low) / (most + 1))
    sizes = [low + round(step * part) for part in range(1, most + 1)]
    if step >= PADDING:
        sizes = [size - size % PADDING for size in sizes]
    elif low % PADDING == 0:
        sizes[0] = low + 1
    return sorted({size for size in sizes if low < size < high})


def attribute_fragments(sizes: Iterable[int], fragmented: int) -> tuple[list[int], list[int]] | None:
    """Split the sizes that arrived into those that came whole and those that came in fragments.

    `fragmented` is how many of them the receiver reassembled. These are the largest ones, and all of
    one size or none of it; None if the count does not fit that (other traffic was counted too).
    """
    whole: list[int] = []
    split: list[int] = []
    for _, group in groupby(sorted(sizes, reverse=True)):
        same: Sequence[int] = list(group)
        if len(same) <= fragmented:
            split += same
            fragmented -= len(same)
        elif fragmented:
            return None
        else:
            whole += same
    return None if fragmented else (whole, split)
