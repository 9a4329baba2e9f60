"""Faults on the sending side, inside the tunnel: from the address to the tunnel's session."""

from preflight.lab import faults
from preflight.lab.axes.setup import Setup
from preflight.lab.part import Part
from preflight.lab.stations import proofs
from preflight.lab.stations.fault import Fault
from preflight.lab.truth import Deciding, Place, Truth

_OUTPUT_DROP = "no traffic to b"


def _drop_out(setup: Setup) -> tuple[Part, ...]:
    return (faults.drop_out("a", "b", comment=_OUTPUT_DROP),)


def _drop_out_is(setup: Setup) -> Truth:
    return Truth(
        "host.firewall-drop",
        "b",
        "forward",
        place=Place("packet", "filter-out", "sender"),
        deciding=Deciding("rule_handle", proofs.handle_of("a", _OUTPUT_DROP)),
        heals="command",
        vague=("reach.unreachable", "reach.no-forward"),
    )


FAULTS = (
    Fault(
        name="filter-out-drop",
        summary="a rule in a's own firewall drops what a sends to b through the tunnel",
        place=Place("packet", "filter-out", "sender"),
        made=_drop_out,
        expected=_drop_out_is,
        proof=proofs.dies("a", "b"),
    ),
)
