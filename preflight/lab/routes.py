"""Wrong routes, and the reverse-path filter."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from preflight.lab.names import ROUTER
from preflight.lab.network import UNDERLAY, index_of, inside, netlink
from preflight.lab.part import Part
from preflight.lab.topology import TUNNEL_PORT, underlay_address

if TYPE_CHECKING:
    from preflight.lab.network import Network


def leaked_route(node: str, peer: str) -> Part:
    """A more specific route sends the peer's overlay address to the underlay."""

    def inject(network: "Network") -> None:
        with netlink(network.names.namespace(node)) as route:
            for family in network.plan.families:
                host = f"{network.plan.address(peer, family)}/{32 if family == 4 else 128}"
                route.route("add", dst=host, gateway=network.plan.gateway(node, family))

    return Part(f"a route on {node} sends {peer}'s overlay address to the underlay", inject=inject)


PUBLIC_ADDRESS = "44.128.0.3"
"""Global unicast, unlike documentation addresses; it exists only in the lab's namespaces."""


def public_endpoint(node: str, of: str) -> Part:
    """`of` has a public address on its underlay, which is the endpoint of the node's tunnel."""

    def inject(network: "Network") -> None:
        with netlink(network.names.namespace(of)) as route:
            route.addr("add", index=index_of(route, UNDERLAY), address=PUBLIC_ADDRESS, prefixlen=32)
        with netlink(network.names.namespace(ROUTER)) as route:
            route.route("add", dst=f"{PUBLIC_ADDRESS}/32", gateway=underlay_address(of, 4))
        peer = ("peer", network.keys[of].public, "endpoint", f"{PUBLIC_ADDRESS}:{TUNNEL_PORT}")
        network.wg(node, "set", network.tunnel_to(node, of), *peer)

    return Part(f"{of} has a public address", inject=inject)


def second_path(node: str, to: str) -> Part:
    """The node sends packets to `to` over the underlay, and the router delivers them: a second path, outside the
    tunnel.
    """

    def inject(network: "Network") -> None:
        leaked_route(node, to).inject(network)
        with netlink(network.names.namespace(ROUTER)) as route:
            for family in network.plan.families:
                host = f"{network.plan.address(to, family)}/{32 if family == 4 else 128}"
                route.route("add", dst=host, gateway=underlay_address(to, family))

    return Part(f"{node} has a second path to {to}", inject=inject)


def reverse_path_filter(node: str, mode: Literal[0, 1, 2]) -> Part:
    """The node's IPv4 reverse-path filter is off (0), strict (1) or loose (2), on all its interfaces."""

    def inject(network: "Network") -> None:
        # A container's uplink is its host's, and so is the filter there.
        for namespace in dict.fromkeys((node, network.plan.outer(node))):
            with inside(network.names.namespace(namespace)):
                # The larger of `all` and the interface's value counts, and the machine sets the latter.
                for setting in Path("/proc/sys/net/ipv4/conf").glob("*/rp_filter"):
                    setting.write_text(str(mode), encoding="ascii")

    return Part(f"the reverse-path filter of {node} is {('off', 'strict', 'loose')[mode]}", inject=inject)
