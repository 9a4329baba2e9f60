"""One kind of failure at either end of a way: a's own, which a sees itself, and b's, of which it sees the effects."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from preflight.lab.axes.setup import Setup
from preflight.lab.part import Part
from preflight.lab.stations.fault import Fault
from preflight.lab.stations.outside import own_uplink
from preflight.lab.truth import Place, Truth

if TYPE_CHECKING:
    from preflight.lab.network import Network
    from preflight.lab.stations.proofs import Proof

Told = TypeVar("Told")
OTHER = {"a": "b", "b": "a"}
_RECEIVING = ("prerouting-outer", "rp-outer", "input-outer", "socket-outer")
"""The stations of what comes to a tunnel's own port."""


def on_both_sides(
    station: str,
    what: str,
    summary: str,
    *,
    step: "Callable[[Network, str], None]",
    expected: Callable[[Setup, str], Truth],
    proof: "Callable[[str], Proof]",
    excluded: Callable[[Setup, str], str | None] = own_uplink,
    nodes: str = "ab",
    alone: str = "",
) -> tuple[Fault, ...]:
    """The fault `STATION-what` of a tunnel's own packets at a, and at b, called `STATION-what-b`.

    Each function gets the node that has it. summary: with `{node}` and `{other}`. nodes: only one of them, where the
    other end cannot have it. alone: where it hides what another fault does, because nothing of a gets anywhere.
    """
    name, place = f"{station}-{what}", Place("packet", station, "receiver" if station in _RECEIVING else "sender")
    return tuple(
        Fault(
            name=name if node == "a" else f"{name}-{node}",
            summary=(said := summary.format(node=node, other=OTHER[node])),
            place=place,
            made=partial(_made, said, step, node),
            expected=partial(_on, expected, node),
            proof=proof(node),
            excluded=partial(_on, excluded, node),
            alone=node in alone,
        )
        for node in nodes
    )


def _made(summary: str, step: "Callable[[Network, str], None]", node: str, setup: Setup) -> tuple[Part, ...]:
    return (Part(summary, inject=lambda network: step(network, node)),)


def _on(told: Callable[[Setup, str], Told], node: str, setup: Setup) -> Told:
    return told(setup, node)
