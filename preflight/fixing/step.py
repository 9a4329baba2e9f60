"""One command of a fix, what undoes it, and the questions that come before it."""

from collections.abc import Callable
from dataclasses import dataclass

from preflight.model.change import Command

Ask = Callable[[Command], str]
"""The output of a command that only reads. Raises FixError if it fails."""


class FixError(Exception):
    """A fix that cannot be made, or would not be right any more; the text is one clause that says why."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command, and what undoes it. unmade: from the command's output, the commands that undo it.

    None: nothing can.
    """

    command: Command
    unmade: Callable[[str], tuple[Command, ...]] | None


def undone_by(*commands: Command) -> Callable[[str], tuple[Command, ...]]:
    """What undoes a step, whatever its command printed."""
    return lambda output: commands
