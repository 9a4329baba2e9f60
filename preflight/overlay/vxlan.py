"""The kernel's VXLAN (RFC 7348), of an interface in the settings: where its packets go, and their overhead."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from preflight.model.kernel import Link
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.overlay.json_types import endpoint
from preflight.overlay.local import LocalError, understood

OVERHEAD_BYTES = 20 + 8 + 8 + 14  # IPv4, UDP, VXLAN's header, the Ethernet header that goes inside
DEFAULT_PORT = 4789


async def with_far_ends(state: OverlayState, link: Link) -> OverlayState:
    """The state with the overhead, and the remote ends of the forwarding table as peers; unchanged if the interface
    disappeared.
    """
    from preflight.netlink import AsyncIPRoute, NetlinkError

    try:
        async with AsyncIPRoute() as netlink:
            (message,) = await netlink.link("get", index=link.index)
            entries = [entry async for entry in await netlink.fdb("dump", ifindex=link.index)]
        with understood(link.name):
            return replace(state, overhead_bytes=OVERHEAD_BYTES, peers=parse_far_ends(message, entries))
    except (NetlinkError, OSError, ValueError, LocalError):
        return state


def parse_far_ends(message: Any, entries: Iterable[Any]) -> tuple[OverlayPeer, ...]:
    """RTM_NEWLINK and the RTM_NEWNEIGH of the bridge family: each remote end once, without multicast groups.

    The table does not show which overlay address is behind which remote end: it contains only MAC addresses.
    """
    port = message.get(("linkinfo", "data", "vxlan_port")) or DEFAULT_PORT
    addresses = dict.fromkeys(entry.get("dst") for entry in entries)
    remotes = [address for address in addresses if address and not _nowhere(address)]
    return tuple(OverlayPeer(key=address, endpoint=endpoint(address, port)) for address in remotes)


def _nowhere(address: str) -> bool:
    known = ip_address(address)
    return known.is_multicast or known.is_unspecified
