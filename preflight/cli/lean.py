"""What this program does not need of its libraries is kept out of it, and its start is not held up by tidying."""

import gc
import sys

UNUSED = ("httpx._main", "sniffio")
"""httpx's own command, with which come pygments and half of rich; httpx does without where it is missing. And what
decides between asyncio and trio: where it is not installed, httpcore searches all places for it in each request."""
LOADING, OBJECTS = 200_000, 20_000
"""How many new objects the collector of circles waits for, while the program is loaded and later. Imports make a
hundred thousand, all of which stay."""


def start() -> None:
    """Called once, before anything heavy is imported."""
    for name in UNUSED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type] # an import of it fails at once (importlib)
    gc.set_threshold(LOADING)
    gc.callbacks.append(_collected)


def loaded() -> None:
    """Called when what stays is there: the collector never looks at it again. Later calls do nothing."""
    if _collected in gc.callbacks:
        gc.callbacks.remove(_collected)
        gc.freeze()
        gc.set_threshold(OBJECTS)


def _collected(phase: str, info: dict[str, int]) -> None:
    """Whatever says nothing is loaded with the first collection at the latest: a server must not collect so rarely."""
    if phase == "stop":
        loaded()


def end() -> None:
    """Called last: the interpreter looks for circles once more when it ends, and the system takes all memory anyway."""
    gc.freeze()
