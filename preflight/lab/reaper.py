"""Takes down the labs of a command that was killed: `python -m preflight.lab.reaper`, started with the command.

It reads from a pipe that only the command holds open, so it learns of every end of it, also by SIGKILL.
"""

import os
import signal
import sys
from functools import cache
from pathlib import Path

from preflight.lab.labs import labs_left_behind
from preflight.lab.processes import clean_environment
from preflight.programs import python_module


@cache
def stand_by() -> None:
    """Start it for this process, once. The pipe stays open as long as the process lives."""
    ours, commands = os.pipe()
    words = python_module("preflight.lab.reaper")
    with Path(os.devnull).open("wb") as nothing:
        os.posix_spawn(
            words[0],
            words,
            clean_environment(os.environ),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, ours, 0),
                (os.POSIX_SPAWN_DUP2, nothing.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, nothing.fileno(), 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE],
        )
    os.close(ours)
    _HELD.append(commands)


_HELD: list[int] = []


def main() -> None:
    """Wait for the end of the command, then remove what it left."""
    sys.stdin.buffer.read()
    labs_left_behind(remove=True)


if __name__ == "__main__":
    main()
