"""The kernel's VXLAN (RFC 7348), of an interface in the settings: where its packets go, and their overhead."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from preflight.model.kernel import Link
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.overlay.json_types import endpoint
from preflight.overlay.links import read_neighbours
from preflight.overlay.local import LocalError, understood

OVERHEAD_BYTES = 20 + 8 + 8 + 14  # IPv4, UDP, VXLAN's header, the Ethernet header that goes inside
DEFAULT_PORT = 4789
_ANY = "00:00:00:00:00:00"
"""The entry for what no other one is for."""


async def with_far_ends(state: OverlayState, link: Link) -> OverlayState:
    """The state with the overhead, the remote ends of the forwarding table as peers, and those whom this node has met
    in it; unchanged if the interface disappeared.
    """
    from preflight.netlink import AsyncIPRoute, NetlinkError

    try:
        async with AsyncIPRoute() as netlink:
            (message,) = await netlink.link("get", index=link.index)
            entries = [entry async for entry in await netlink.fdb("dump", ifindex=link.index)]
        with understood(link.name):
            ends, own = parse_far_ends(message, entries), parse_source(message)
        met = met_in((await read_neighbours()).get(link.index, {}))
        return replace(state, overhead_bytes=OVERHEAD_BYTES, peers=ends, source=own, met=met)
    except (NetlinkError, OSError, ValueError, LocalError):
        return state


def parse_far_ends(message: Any, entries: Iterable[Any]) -> tuple[OverlayPeer, ...]:
    """RTM_NEWLINK and the RTM_NEWNEIGH of the bridge family: each remote end once, without multicast groups.

    The table does not show which overlay address is behind which remote end: it contains only MAC addresses.
    """
    port = message.get(("linkinfo", "data", "vxlan_port")) or DEFAULT_PORT
    behind: dict[str, dict[str, None]] = {}
    for entry in entries:
        address, hardware = entry.get("dst"), entry.get("lladdr")
        if address and not _nowhere(address):
            known = behind.setdefault(address, {})
            known |= {hardware: None} if hardware and hardware != _ANY else {}
    return tuple(
        OverlayPeer(key=address, endpoint=endpoint(address, port), hardware=tuple(known))
        for address, known in behind.items()
    )


def met_in(neighbours: Mapping[str, str]) -> tuple[str, ...]:
    """One address of each machine among a device's neighbours, which the kernel has by address: of IPv4 if it has one.

    A group of machines has a hardware address of its own too, whose first byte is odd.
    """
    found: dict[str, str] = {}
    for address, hardware in sorted(neighbours.items(), key=lambda each: (ip_address(each[0]).version, each[0])):
        known = ip_address(address)
        if not (known.is_link_local or known.is_multicast or int(hardware[:2], 16) & 1 or known.is_unspecified):
            found.setdefault(hardware, address)
    return tuple(found.values())


def parse_source(message: Any) -> str | None:
    """Of RTM_NEWLINK: the address that was set for the tunnel's own packets; None if the kernel chooses it."""
    data = ("linkinfo", "data")
    found = message.get((*data, "vxlan_local")) or message.get((*data, "vxlan_local6"))
    return str(found) if found and not ip_address(found).is_unspecified else None


def _nowhere(address: str) -> bool:
    known = ip_address(address)
    return known.is_multicast or known.is_unspecified
