"""Whether the machine is quiet: what others do on it while nothing is measured. On a busy one all times are void."""

import time
from pathlib import Path

STAT = Path("/proc/stat")
LOOK_S = 1.0
QUIET = 0.1
"""The most that others may take, as a share of all processors: a quiet desktop or server takes less."""
_IDLE = (3, 4)
"""The fields of proc(5) `cpu` that are nobody's work: idle, iowait."""


def others() -> float:
    """The share of all processors that is taken now, over a second; call it while nothing of ours runs."""
    before = STAT.read_text(encoding="ascii")
    time.sleep(LOOK_S)
    return share(before, STAT.read_text(encoding="ascii"))


def share(before: str, after: str) -> float:
    """The part of the time between two readings of /proc/stat in which a processor worked, or was taken away."""
    first, second = _counts(before), _counts(after)
    spent = [late - early for early, late in zip(first, second, strict=True)]
    whole = sum(spent)
    return 1 - sum(spent[field] for field in _IDLE) / whole if whole else 0.0


def _counts(text: str) -> list[int]:
    """User, nice, system, idle, iowait, irq, softirq, steal: guests are part of user already."""
    name, *fields = text.splitlines()[0].split()
    if name != "cpu":
        raise ValueError("this is not /proc/stat")
    return [int(field) for field in fields[:8]]


def remark(before: float, after: float) -> str | None:
    """A sentence where the machine was busy before or after the measurements."""
    worst = max(before, after)
    if worst <= QUIET:
        return None
    return f"others take {worst:.0%} of this machine's processors: the times are void, ratios and counts may hold"
