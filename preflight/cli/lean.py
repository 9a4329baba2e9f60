"""What this program does not need of its libraries is kept out of it, and its start is not held up by tidying."""

import gc
import sys

UNUSED = ("httpx._main", "sniffio")
"""httpx's own command, with which come pygments and half of rich; httpx does without where it is missing. And what
decides between asyncio and trio: where it is not installed, httpcore searches all places for it in each request."""
OBJECTS = 20_000
"""How many new objects the collector of circles waits for. Imports make a hundred thousand, all of which stay."""


def start() -> None:
    """Called once, before anything heavy is imported."""
    for name in UNUSED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type] # an import of it fails at once (importlib)
    gc.set_threshold(OBJECTS)
