"""What a fault is: how it is made on a set-up, how it proves that it is there, and what is true then."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from preflight.lab.axes.setup import Setup
from preflight.lab.names import LabError
from preflight.lab.part import Part
from preflight.lab.truth import Place, Truth

if TYPE_CHECKING:
    from preflight.lab.network import Network


class NotThereError(LabError):
    """A fault was made and has no effect: the lab is wrong, not the report."""


def anywhere(setup: Setup) -> str | None:
    """For a fault that every set-up can have."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of failure.

    name: unique, `station-what` in the words of the station. place: where it strikes, also where nothing dies.
    made: the parts that make it on a set-up. expected: what is true then.
    proof: raises NotThereError unless the network shows, without the product, that the fault is really there; it runs
    when everything is built. excluded: why a set-up cannot have it; None if it can.
    alone: it hides what another fault does, so it is never one of two. drowns: it lets little pass, so it hides what
    takes many packets to find on the same way.
    """

    name: str
    summary: str
    place: Place
    made: Callable[[Setup], tuple[Part, ...]]
    expected: Callable[[Setup], Truth]
    proof: "Callable[[Network], None]"
    excluded: Callable[[Setup], str | None] = anywhere
    alone: bool = False
    drowns: bool = False
