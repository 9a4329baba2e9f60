"""Routes into a tunnel that narrower ones hide: where packets would go without the entry that decides now. Pure.

Most products do not say which networks are behind their peers, so only the kernel's tables show that an address is one
of the overlay's.
"""

from collections.abc import Collection, Iterator

from preflight.model.flow import Flow
from preflight.model.kernel import Route
from preflight.model.network_state import NetworkState
from preflight.model.overlay import WHOLE_BITS, OverlayState
from preflight.proto.way.fib import decide


def may_hide(overlay: OverlayState, route: Route) -> bool:
    """Whether a route may hide one into the overlay: it leads to a gateway outside, and is not for everything.

    A network of this node's own links is no such route: who is there need not be in the overlay.
    """
    narrow = route.matched is not None and route.matched.prefixlen > WHOLE_BITS
    outside = overlay.at(route.interface) is None and not route.local and route.error is None
    return narrow and outside and route.gateway is not None


def beneath(
    overlay: OverlayState, state: NetworkState, routes: Collection[Route], ends: Collection[str] = ()
) -> Iterator[Route]:
    """The routes that these hide. ends: where tunnels lead; what is for those belongs outside."""
    for route in routes:
        flow = Flow(source=route.source or "", destination=route.address)
        found = decide(state, flow)
        if found.entry is None or found.interface != route.interface or route.address in ends:
            continue
        under = decide(state, flow, without=found.entry).entry
        tunnel = overlay.at(under.interface) if under is not None else None
        if under is None or tunnel is None or tunnel.lists_owners or under.type != "unicast":
            continue
        if under.destination.prefixlen > WHOLE_BITS:
            yield Route(
                route.address,
                under.interface,
                gateway=under.gateway,
                source=under.source,
                matched=under.destination,
                table=under.table,
            )
