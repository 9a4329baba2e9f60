"""Faults on the receiving side, inside the tunnel: from its device to the responder's socket."""

from preflight.lab import faults
from preflight.lab.axes.setup import Setup
from preflight.lab.part import Part
from preflight.lab.stations import proofs
from preflight.lab.stations.fault import Fault
from preflight.lab.truth import Place, Truth


def _drop_in(setup: Setup) -> tuple[Part, ...]:
    return (faults.drop_in("b", "a"),)


def _drop_in_is(setup: Setup) -> Truth:
    # Without a responder nobody at b sees in which direction packets die.
    direction = "forward" if setup.responder == "key" else "round-trip"
    return Truth(
        "reach.no-forward" if direction == "forward" else "reach.unreachable",
        "b",
        direction,
        place=Place("packet", "input", "receiver"),
        heals="command",
        where="peer",
        vague=("reach.unreachable",),
    )


FAULTS = (
    Fault(
        name="input-drop",
        summary="b's firewall drops what comes from a out of the tunnel",
        place=Place("packet", "input", "receiver"),
        made=_drop_in,
        expected=_drop_in_is,
        proof=proofs.dies_behind_the_tap("a", "b"),
    ),
)
