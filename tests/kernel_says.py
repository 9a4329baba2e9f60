"""What the kernel says of routes, for tests of what follows from it."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_network

from preflight.model.flow import Protocol
from preflight.model.kernel import Route
from preflight.model.overlay import OverlayState

UPLINK = "eth0"


def into(address: str, interface: str | None, prefix: str | None = None) -> Route:
    """A route to an address; prefix: of the entry that decided, else the address alone."""
    return Route(address, interface=interface, source="192.0.2.99", matched=ip_network(prefix or address))


def routed(state: OverlayState, inside: Iterable[str] = (), outside: Iterable[str] = ()) -> OverlayState:
    """The state, once the kernel said that it sends to some addresses by the tunnel and to others by the uplink."""
    own = [str(interface.ip) for interface in state.addresses]
    return replace(
        state,
        routes={
            **{address: into(address, state.interface) for address in inside},
            **{address: into(address, UPLINK, "::/0" if ":" in address else "0.0.0.0/0") for address in outside},
            **{address: replace(into(address, "lo"), local=True) for address in own},
        },
    )


async def by_the_tunnel(
    state: OverlayState | None, addresses: Iterable[str], port: int = 0, protocol: Protocol = "udp"
) -> OverlayState | None:
    """Replaces `ctx.net.with_routes`, with a kernel that sends everything into the tunnel."""
    return None if state is None else routed(state, addresses)
