"""The overlay's addresses, its shape, and how a's routes lead into it."""

from dataclasses import replace
from socket import AF_INET, AF_INET6

from preflight.lab.axes.axis import Axis, Value
from preflight.lab.blueprint import Blueprint
from preflight.lab.network import UNDERLAY, Network, netlink
from preflight.lab.part import Part, planned
from preflight.lab.topology import TOPOLOGIES

SHARED_RANGE = {4: "100.64.66.0/24", 6: "fd66::/64"}
"""An overlay in the shared address space of carriers (RFC 6598)."""


def _hub(plan: Blueprint) -> Blueprint:
    return replace(plan, topology=replace(TOPOLOGIES["hub"], control_node=plan.topology.control_node))


def _wider(network: Network) -> None:
    """Routes for ranges that contain the overlay's prefixes, by the gateway of a's default route."""
    with netlink(network.names.namespace("a")) as route:
        for family in network.plan.families:
            own = network.plan.prefixes[family]
            wide = next(wide for start, wide in _RANGES.items() if own.startswith(start))
            (default, *_) = route.get_default_routes(family=AF_INET if family == 4 else AF_INET6)
            route.route("add", dst=wide, gateway=default.get("gateway"))


_RANGES = {"10.": "10.0.0.0/8", "100.64.": "100.64.0.0/10", "fd": "fd00::/8"}
"""The ranges that the overlays of a lab are from, by how their prefixes begin."""


def _send_on(network: Network) -> None:
    """The exit forwards what comes out of the tunnel to the rest of the world, under its own address."""
    member = network.plan.exit
    network.forward(member)
    inner = ((family, network.plan.prefixes[family]) for family in network.plan.families)
    rules = (f"{'ip' if family == 4 else 'ip6'} saddr {prefix}" for family, prefix in inner)
    network.nft(member, *(f'postrouting {rule} oifname "{UNDERLAY}" masquerade' for rule in rules))


_EXIT = Part("a member sends on what a has for the rest of the world", tunnels=_send_on)


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
            "hub": Value("a and b reach each other through c only", (Part("c is the hub", shape=_hub, loopback=True),)),
        },
    ),
    "routes": Axis(
        "How do a's routes lead into the overlay?",
        {
            "subnet": Value("the overlay's prefix is on the interface"),
            "host": Value("a /32, and a route for each peer", (planned("a has a /32", routes="host"),)),
            "default": Value(
                "a default route with a mark", (planned("all goes into the tunnel", routes="default"), _EXIT)
            ),
            "halves": Value("two half-default routes", (planned("two halves of all", routes="halves"), _EXIT)),
            "per-peer": Value("a tunnel for each peer", (planned("a tunnel for each peer", routes="per-peer"),)),
            "wider": Value("next to a wider route by the LAN's gateway", (Part("a wider route", tunnels=_wider),)),
        },
    ),
    "others": Axis(
        "Does the tunnel have peers that are offline?",
        {
            "none": Value("no"),
            "offline": Value("three", (planned("three peers are offline", offline=3),)),
            "many-offline": Value("forty", (planned("forty peers are offline", offline=40),)),
        },
    ),
}
