"""Faults of the network between the tunnel's two ends."""

from preflight.lab import faults
from preflight.lab.axes.setup import Setup
from preflight.lab.part import Part
from preflight.lab.stations import proofs
from preflight.lab.stations.fault import Fault
from preflight.lab.truth import Place, Truth

_LARGE = 1330
"""Bytes of a datagram that fills a tunnel of 1400, and does not fit through a link of 1380."""


def _hole(setup: Setup) -> tuple[Part, ...]:
    return faults.black_hole("a", "b")


def _hole_is(setup: Setup) -> Truth:
    return Truth("mtu.black-hole", "b", "forward", place=Place("packet", "network", "network"), heals="command")


def _hole_excluded(setup: Setup) -> str | None:
    if setup.layout == "hub":
        return "b is not behind this link"
    return "the kernel's VXLAN lets its own packets be fragmented" if setup.product == "vxlan" else None


FAULTS = (
    Fault(
        name="network-large-forward",
        summary="packets above 1380 bytes vanish on the way to b, and nobody says so",
        place=Place("packet", "network", "network"),
        made=_hole,
        expected=_hole_is,
        proof=proofs.large_ones_die("a", "b", _LARGE),
        excluded=_hole_excluded,
    ),
)
