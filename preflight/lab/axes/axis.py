"""What an axis is: named values, and how each is built."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from preflight.lab.part import Part


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an axis. parts: how it is built; nothing for what a plain lab has anyway.

    silent: codes that a run gives on such a set-up although nothing is broken, such as `run.needs-responder`.
    virtual_machine: the kernel of most hosts lacks what it needs, so it is only drawn where `--vm` runs.
    """

    summary: str
    parts: tuple[Part, ...] = ()
    silent: frozenset[str] = frozenset()
    virtual_machine: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """One property of a set-up: the question that it answers, and its values by name, the plain one first."""

    question: str
    values: Mapping[str, Value] = field(default_factory=dict)

    @property
    def plain(self) -> str:
        """The value of a lab that nobody changed."""
        return next(iter(self.values))
