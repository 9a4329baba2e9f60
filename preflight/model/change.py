"""What all fixes have in common: the lines to paste and the command lines are built from the same words."""

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pydantic import ConfigDict

STRICT: "ConfigDict" = {"revalidate_instances": "always", "strict": True, "extra": "forbid"}
"""How a fix is read back: every parameter has its type already, and no other is there."""

REVALIDATED: "ConfigDict" = {"revalidate_instances": "always"}
"""For what checks of other packages fill: each instance is validated again."""

Command = tuple[str, ...]
"""A program's name and its arguments."""


class Change:
    """One fix. needs_root: only root can make the change. stays: its command runs until it is stopped.

    asks: a word of its commands is known only to the host where it is made; they have a name in capitals in its place.
    """

    __slots__ = ()
    needs_root: ClassVar[bool] = True
    stays: ClassVar[bool] = False
    asks: ClassVar[bool] = False

    @property
    def commands(self) -> tuple[Command, ...]:
        """The command lines that make the change, in their order; none if no command makes it."""
        return self._commands()

    @property
    def lines(self) -> tuple[str, ...]:
        """What a person pastes."""
        return self._lines()

    def _commands(self) -> tuple[Command, ...]:
        return ()

    def _lines(self) -> tuple[str, ...]:
        return tuple(map(shlex.join, self._commands()))


@dataclass(frozen=True, slots=True)
class NamedValue:
    """A name and its value, as text."""

    __pydantic_config__ = STRICT

    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}={self.value}"
