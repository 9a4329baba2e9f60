"""The interfaces of this network namespace, from the kernel's rtnetlink, and their part of an overlay's state."""

import sys
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_interface
from typing import Any

from preflight.model.kernel import Link, NeedsPlatform
from preflight.model.overlay import IPInterface, IPNetwork, OverlayState

IFF_UP = 0x1
IFF_LOOPBACK = 0x8
IFF_NOARP = 0x80
IFF_LOWER_UP = 0x10000


async def read_links() -> tuple[Link, ...]:
    """All interfaces with their addresses, in the kernel's order. Raises NeedsPlatform on other systems than Linux."""
    if sys.platform != "linux":
        raise NeedsPlatform("reading the interfaces needs Linux")
    from preflight.netlink import AsyncIPRoute

    async with AsyncIPRoute() as netlink:
        links = [message async for message in await netlink.link("dump")]
        addresses = [message async for message in await netlink.addr("dump")]
    return tuple(parse_link(message, addresses) for message in links)


async def read_neighbours() -> dict[int, dict[str, str]]:
    """The neighbour tables: for each interface index the known hardware addresses by IP address."""
    if sys.platform != "linux":
        raise NeedsPlatform("reading the neighbours needs Linux")
    from preflight.netlink import AsyncIPRoute

    async with AsyncIPRoute() as netlink:
        entries = [entry async for entry in await netlink.neigh("dump")]
    known: dict[int, dict[str, str]] = {}
    for entry in entries:
        if entry.get("dst") and entry.get("lladdr"):
            known.setdefault(entry["ifindex"], {})[entry.get("dst")] = entry.get("lladdr")
    return known


def parse_link(message: Any, addresses: Iterable[Any]) -> Link:
    """One RTM_NEWLINK message with the RTM_NEWADDR messages of all interfaces."""
    index, flags = message["index"], message["flags"]
    return Link(
        index=index,
        name=message.get("ifname"),
        mtu=message.get("mtu") or 0,
        up=bool(flags & IFF_UP),
        carrier=bool(flags & IFF_LOWER_UP),
        kind=message.get(("linkinfo", "kind")),
        loopback=bool(flags & IFF_LOOPBACK),
        addresses=tuple(_interface(address) for address in addresses if address["index"] == index),
        resolves=not flags & (IFF_NOARP | IFF_LOOPBACK),
        hardware=message.get("address"),
    )


def outermost(networks: Iterable[IPNetwork]) -> tuple[IPNetwork, ...]:
    """The networks that are not inside another one, in their order, each once."""
    unique = list(dict.fromkeys(networks))

    def inside(inner: IPNetwork, outer: IPNetwork) -> bool:
        return (
            inner != outer
            and inner.version == outer.version
            and inner.network_address in outer
            and (inner.prefixlen > outer.prefixlen)
        )

    return tuple(network for network in unique if not any(inside(network, other) for other in unique))


def _interface(message: Any) -> IPInterface:
    # On a point-to-point link IFA_ADDRESS is the other side; ours is IFA_LOCAL, which IPv6 has only there.
    own = message.get("local") or message.get("address")
    return ip_interface(f"{own}/{message['prefixlen']}")


def state_of(link: Link, product: str, **more: Any) -> OverlayState:
    """The part of an overlay's state that the kernel knows; `more` is what the product adds.

    Without link-local addresses: no peer uses them.
    """
    addresses = tuple(address for address in link.addresses if not address.is_link_local)
    state = OverlayState(
        product=product,
        interface=link.name,
        up=link.up and link.carrier,
        mtu=link.mtu,
        addresses=addresses,
        prefixes=outermost(address.network for address in addresses),
    )
    if link.kind == "tun" and link.up and not link.carrier:
        state = replace(state, condition="overlay.daemon-down", health=(f"no process serves {link.name}",))
    return replace(state, **more)
