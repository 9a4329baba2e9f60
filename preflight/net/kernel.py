"""Interfaces, routes, reverse-path filter and clock, as the kernel reports them."""

import errno
import os
import time
from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from socket import if_indextoname, if_nametoindex
from typing import Any

from preflight.model.event import Listener, telling
from preflight.model.kernel import MAIN_TABLE, VRF, ClockState, Link, ReversePathFilter, Route
from preflight.model.overlay import IPNetwork
from preflight.net import host_state
from preflight.overlay.links import read_links

RTM_F_LOOKUP_TABLE = 0x1000  # without it the kernel reports every table as the main one
RTM_F_FIB_MATCH = 0x2000
RTN_UNICAST, RTN_LOCAL = 1, 2
RTN_REFUSING = {6: "blackhole route", 7: "unreachable route", 8: "prohibit route"}


class Kernel:
    """Reads only; each method raises NeedsPlatform outside Linux."""

    def __init__(self, listener: Listener | None = None) -> None:
        self._tell = telling(listener, "kernel")

    async def links(self) -> tuple[Link, ...]:
        """All interfaces of this namespace with their addresses."""
        links = await read_links()
        self._tell(time.monotonic(), "links-read", interfaces=[link.name for link in links])
        return links

    async def route_to(self, address: str, *, mark: int = 0, source: str | None = None) -> Route:
        """How a packet to the address would leave now.

        mark: the firewall mark. source: this node's own address. Policy rules look at both.
        """
        return (await self.routes_to([address], mark=mark, source=source))[address]

    async def routes_to(
        self, addresses: Iterable[str], *, mark: int = 0, source: str | None = None
    ) -> dict[str, Route]:
        """`route_to` for many addresses through one netlink socket."""
        host_state.needs_linux()
        from preflight.netlink import AsyncIPRoute

        about = {name: value for name, value in (("mark", mark), ("src", source)) if value}
        async with AsyncIPRoute() as netlink:
            vrf: dict[int, bool] = {}
            routes = {address: await ask_route(netlink, address, about, vrf) for address in addresses}
        for route in routes.values():
            self._tell(time.monotonic(), "route-read", route=str(route), mark=mark, from_source=source)
        return routes

    async def refuses(self, source: str, address: str, interface: str) -> bool:
        """Whether a packet from `source` to this node's own `address` that comes in by `interface` would be dropped.

        That is the reverse-path filter's verdict if the filter is on; the kernel gives it without a packet. Raises
        OSError if there is no such interface.
        """
        host_state.needs_linux()
        from preflight.netlink import AsyncIPRoute, NetlinkError

        refused = False
        async with AsyncIPRoute() as netlink:
            try:
                await netlink.route("get", dst=address, src=source, iif=if_nametoindex(interface))
            except NetlinkError as error:
                # Linux 6.13 and newer report EINVAL for every reason to drop; before, EXDEV meant the filter.
                refused = error.code in (errno.EXDEV, errno.EINVAL)
        self._tell(
            time.monotonic(), "arrival-asked", source=source, address=address, interface=interface, dropped=refused
        )
        return refused

    def reverse_path_filter(self) -> ReversePathFilter:
        """The IPv4 reverse-path filter: per interface `max(all, interface)`, the rule of ip-sysctl."""
        found = host_state.reverse_path_filter()
        self._tell(time.monotonic(), "reverse-path-filter-read", strict_on=found.strict, dropped_packets=found.dropped)
        return found

    def clock(self) -> ClockState:
        """Whether something synchronises the kernel's clock (adjtimex, read-only: needs no privilege)."""
        found = host_state.clock()
        estimated_us = round(found.estimated_error_ms * 1000)
        self._tell(time.monotonic(), "clock-read", synchronised=found.synchronised, estimated_error_us=estimated_us)
        return found

    def runs(self, names: Collection[str]) -> bool:
        """Whether a program of one of these names runs on this machine, as far as this process can see."""
        for path in Path("/proc").glob("[0-9]*/comm"):
            try:
                if path.read_text(encoding="utf-8", errors="replace").strip() in names:
                    return True
            except OSError:
                continue
        return False


async def ask_route(netlink: Any, address: str, about: Mapping[str, Any], vrf: dict[int, bool] | None = None) -> Route:
    """How a packet would leave, asked through a netlink socket. What goes into a VRF is routed again, in its table.

    vrf: by device whether it is one, as far as it was asked for other addresses.
    """
    known = vrf if vrf is not None else {}
    from preflight.netlink import NetlinkError

    try:
        decision, entry = await _asked(netlink, address, about)
        device = decision.get("oif")
        if decision["type"] == RTN_UNICAST and device and device not in known:
            known[device] = await _is_vrf(netlink, device)
        if decision["type"] == RTN_UNICAST and known.get(device):
            decision, entry = await _asked(netlink, address, {**about, "oif": device})
    except NetlinkError as error:
        return Route(address, error=os.strerror(error.code))
    return parse_route(address, decision, entry)


async def _asked(netlink: Any, address: str, about: Mapping[str, Any]) -> tuple[Any, Any]:
    """Two questions: what will be done (source, next hop), and which entry of which table says so."""
    decision, *_ = await netlink.route("get", dst=address, **about)
    entry, *_ = await netlink.route("get", dst=address, flags=RTM_F_FIB_MATCH | RTM_F_LOOKUP_TABLE, **about)
    return decision, entry


async def _is_vrf(netlink: Any, index: int) -> bool:
    link, *_ = await netlink.link("get", index=index)
    return bool(link.get(("linkinfo", "kind")) == VRF)


def parse_route(address: str, decision: Any, entry: Any) -> Route:
    """A Route from two RTM_NEWROUTE messages: what will be done, and the table entry that decided (FIB match)."""
    if decision["type"] in RTN_REFUSING:
        return Route(address, error=RTN_REFUSING[decision["type"]])
    return Route(
        address,
        interface=_name(decision.get("oif")),
        gateway=decision.get("gateway") or (decision.get("via") or {}).get("addr"),
        source=decision.get("prefsrc"),
        matched=_prefix(address, entry),
        table=entry.get("table") or MAIN_TABLE,
        local=decision["type"] == RTN_LOCAL,
    )


def _prefix(address: str, entry: Any) -> IPNetwork:
    default = "0.0.0.0" if ip_address(address).version == 4 else "::"  # noqa: S104 - a prefix, nothing is bound
    return ip_network(f"{entry.get('dst') or default}/{entry['dst_len']}")


def _name(index: int | None) -> str | None:
    try:
        return if_indextoname(index) if index else None
    except OSError:  # gone since the kernel answered
        return None
