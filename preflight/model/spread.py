"""How a number is spread over many packets: a histogram and its quantiles, as the evidence of a result holds them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from preflight.model.path import percentile

BINS = 24
LEAST = 20
"""Of fewer values there is no distribution to show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """counts: of equal bins of `bin_ms` from `from_ms` to the 99th percentile; the last one has what is above too."""

    from_ms: float
    bin_ms: float
    counts: tuple[int, ...]
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


def spread(values_ms: Sequence[float]) -> Spread | None:
    """The distribution of times; None of too few."""
    if len(values_ms) < LEAST:
        return None
    least, top = min(values_ms), percentile(values_ms, 99)
    width = (top - least) / BINS
    counts = [0] * BINS
    for value in values_ms:
        counts[min(int((value - least) / width), BINS - 1) if width > 0 else 0] += 1
    p50, p95 = (round(percentile(values_ms, percent), 3) for percent in (50, 95))
    return Spread(
        from_ms=round(least, 3),
        bin_ms=round(width, 5),
        counts=tuple(counts),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=round(top, 3),
        max_ms=round(max(values_ms), 3),
    )


def as_data(known: Spread) -> dict[str, float | list[int]]:
    """The distribution as the evidence of a result holds it."""
    return {**asdict(known), "counts": list(known.counts)}
