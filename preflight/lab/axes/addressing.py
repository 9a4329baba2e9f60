"""The overlay's addresses, its shape, and how a's routes lead into it."""

from dataclasses import replace

from preflight.lab.axes.axis import Axis, Value
from preflight.lab.blueprint import Blueprint
from preflight.lab.part import Part, planned
from preflight.lab.topology import TOPOLOGIES

SHARED_RANGE = {4: "100.64.66.0/24", 6: "fd66::/64"}
"""An overlay in the shared address space of carriers (RFC 6598)."""


def _hub(plan: Blueprint) -> Blueprint:
    return replace(plan, topology=replace(TOPOLOGIES["hub"], control_node=plan.topology.control_node))


AXES = {
    "addresses": Axis(
        "From which range are the overlay's IPv4 addresses?",
        {
            "private": Value("10.66.0.0/24"),
            "shared": Value("100.64.66.0/24", (planned("an overlay in 100.64.0.0/10", prefixes=SHARED_RANGE),)),
        },
    ),
    "layout": Axis(
        "Which members talk directly?",
        {
            "mesh": Value("all"),
            "hub": Value("a and b reach each other through c only", (Part("c is the hub", shape=_hub),)),
        },
    ),
    "routes": Axis(
        "How do a's routes lead into the overlay?",
        {"subnet": Value("the overlay's prefix is on the interface")},
    ),
    "others": Axis(
        "Does the tunnel have peers that are offline?",
        {"none": Value("no")},
    ),
}
