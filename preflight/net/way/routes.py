"""The kernel's word on this node's network at one moment: links, rules, tables, neighbours, look-ups and counters.

It only reads. A snapshot takes about 10 ms, most of it for the dumps; a run takes two, and only for a peer in trouble.
"""

import socket
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from ipaddress import ip_network
from typing import Any, Final

from preflight.model.event import Listener, telling
from preflight.model.flow import Flow
from preflight.model.kernel import VRF, NeedsPlatform
from preflight.model.network_state import NetworkState
from preflight.model.overlay import IPNetwork
from preflight.model.routing import Entry, Neighbour, NeighbourState, Range, Rule, RuleAction
from preflight.net.kernel import Kernel
from preflight.net.route_socket import name_of
from preflight.net.way.counters import read_counters
from preflight.net.way.ipsec import read_policies
from preflight.net.way.lookups import Lookups
from preflight.overlay.links import read_links
from preflight.proto.way.route_messages import TYPES

MOST_ENTRIES: Final = 5000
"""Entries of tables that are read; beyond, a dump takes longer than all else, and look-ups still say what counts."""
RTM_F_CLONED: Final = 0x200
RTNH_F_DEAD: Final = 0x1  # an entry whose device only lacks its carrier is still used, unless a sysctl says otherwise
FIB_RULE_INVERT: Final = 0x2
NTF_ROUTER: Final = 0x80
UNSET: Final = 0xFFFFFFFF

ACTIONS: Final[dict[int, RuleAction]] = {
    1: "table",
    2: "goto",
    3: "nop",
    6: "blackhole",
    7: "unreachable",
    8: "prohibit",
}
"""`FR_ACT_…` of linux/fib_rules.h."""
STATES: Final[dict[int, NeighbourState]] = {
    0x00: "none",
    0x01: "incomplete",
    0x02: "reachable",
    0x04: "stale",
    0x08: "delay",
    0x10: "probe",
    0x20: "failed",
    0x40: "noarp",
    0x80: "permanent",
}
"""`NUD_…` of linux/neighbour.h."""


class KernelState:
    """Takes snapshots; the caller takes one before and one after a burst."""

    def __init__(self, listener: Listener | None = None) -> None:
        self._tell = telling(listener, "way.routes")

    async def snapshot(self, leaving: Sequence[Flow] = (), arriving: Sequence[Flow] = ()) -> NetworkState:
        """Everything at one moment.

        leaving: flows that this node sends; an empty source lets the kernel choose one. arriving: flows that come in,
        each by its `interface_in`. Raises NeedsPlatform outside Linux, and OSError where the kernel has no netlink.
        """
        if sys.platform != "linux":
            raise NeedsPlatform("this question to the kernel needs Linux")
        from preflight.netlink import AsyncIPRoute

        began = time.monotonic()
        links = await read_links()
        async with AsyncIPRoute() as netlink:
            rules = [parse_rule(message) for family in _FAMILIES async for message in await _rules(netlink, family)]
            neighbours = [parse_neighbour(message) async for message in await netlink.neigh("dump")]
            queues = [message async for message in await netlink.tc("dump")]
        entries, complete = await _entries()
        with Lookups(frozenset(link.name for link in links if link.kind == VRF)) as lookups:
            state = NetworkState(
                links=links,
                rules=tuple(rules),
                entries=tuple(entries),
                neighbours=tuple(each for each in neighbours if each is not None),
                lookups=tuple(lookups.leaving(flow) for flow in leaving),
                arrivals=tuple(filter(None, (lookups.arriving(flow) for flow in arriving))),
                filters=Kernel().reverse_path_filter(),
                counters=read_counters(queues),
                policies=read_policies(),
                complete=complete,
            )
        self._tell(
            time.monotonic(),
            "snapshot-taken",
            lookups=[str(each) for each in state.lookups],
            refused_arrivals=sum(each.refused for each in state.arrivals),
            entries=len(entries),
            took_ms=(time.monotonic() - began) * 1000,
        )
        return state


_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


async def policy_rules() -> list[Rule]:
    """The rules of policy routing, of both families. Raises OSError where the kernel has no netlink."""
    from preflight.netlink import AsyncIPRoute

    async with AsyncIPRoute() as netlink:
        return [parse_rule(message) for family in _FAMILIES async for message in await _rules(netlink, family)]


async def _rules(netlink: Any, family: int) -> AsyncIterator[Any]:
    found: AsyncIterator[Any] = await netlink.rule("dump", family=family)
    return found


async def _entries() -> tuple[list[Entry], bool]:
    """All tables' entries, and whether that is all; a socket for each family, as a dump may be left unread."""
    from preflight.netlink import AsyncIPRoute

    entries: list[Entry] = []
    complete = True
    for family in _FAMILIES:
        room = MOST_ENTRIES
        async with AsyncIPRoute() as netlink:
            async for message in await netlink.route("dump", family=family):
                room -= 1
                if room < 0:
                    complete = False
                    break
                if not message["flags"] & RTM_F_CLONED:
                    entries.append(parse_entry(message))
    return entries, complete


def parse_rule(message: Any) -> Rule:
    """One RTM_NEWRULE message."""
    version = 6 if message["family"] == socket.AF_INET6 else 4
    get = message.get_attr
    suppress = get("FRA_SUPPRESS_PREFIXLEN")
    mark, mask = get("FRA_FWMARK") or 0, get("FRA_FWMASK") or 0
    return Rule(
        version=version,
        priority=get("FRA_PRIORITY") or 0,
        action=ACTIONS.get(message["action"], "nop"),
        table=get("FRA_TABLE") or message["table"],
        source=_selected(get("FRA_SRC"), message["src_len"]),
        destination=_selected(get("FRA_DST"), message["dst_len"]),
        mark=mark,
        mask=mask,
        incoming=get("FRA_IIFNAME"),
        outgoing=get("FRA_OIFNAME"),
        uids=_range(get("FRA_UID_RANGE")),
        protocol=get("FRA_IP_PROTO") or None,
        source_ports=_range(get("FRA_SPORT_RANGE")),
        destination_ports=_range(get("FRA_DPORT_RANGE")),
        traffic_class=message["tos"],
        inverted=bool(message["flags"] & FIB_RULE_INVERT),
        goto=get("FRA_GOTO") or None,
        suppress=None if suppress in (None, UNSET) else suppress,
        l3mdev=bool(get("FRA_L3MDEV")),
    )


def _selected(address: str | None, length: int) -> IPNetwork | None:
    return ip_network(f"{address}/{length}", strict=False) if address else None


def _range(value: str | None) -> Range | None:
    """A range as pyroute2 gives it, `START:END`."""
    start, _, end = (value or "").partition(":")
    return (int(start), int(end)) if end else None


def parse_entry(message: Any) -> Entry:
    """One RTM_NEWROUTE message of a dump."""
    version = 6 if message["family"] == socket.AF_INET6 else 4
    get = message.get_attr
    hops = tuple(_hops(get("RTA_MULTIPATH") or ()))
    device, gateway = hops[0] if hops else (name_of(get("RTA_OIF")), gateway_of(message))
    return Entry(
        version=version,
        table=get("RTA_TABLE") or message["table"],
        destination=network_of(message, version),
        type=TYPES.get(message["type"], "other"),
        interface=device,
        gateway=gateway,
        source=get("RTA_PREFSRC"),
        metric=get("RTA_PRIORITY") or 0,
        from_network=_selected(get("RTA_SRC"), message["src_len"]),
        dead=bool(message["flags"] & RTNH_F_DEAD),
        hops=hops,
    )


def gateway_of(message: Any) -> str | None:
    """The gateway of a route, also one of the other family."""
    via = message.get_attr("RTA_VIA")
    found = message.get_attr("RTA_GATEWAY") or (via["addr"] if via else None)
    return str(found) if found else None


def network_of(message: Any, version: int) -> IPNetwork:
    """The destination of a route."""
    default = "0.0.0.0" if version == 4 else "::"  # noqa: S104 - a prefix, nothing is bound
    return ip_network(f"{message.get_attr('RTA_DST') or default}/{message['dst_len']}")


def _hops(messages: Iterable[Any]) -> Iterator[tuple[str | None, str | None]]:
    for message in messages:
        yield name_of(message["oif"]), gateway_of(message)


def parse_neighbour(message: Any) -> Neighbour | None:
    """One RTM_NEWNEIGH message; None without an address, or for an interface that has gone."""
    name, address = name_of(message["ifindex"]), message.get_attr("NDA_DST")
    if name is None or not address:
        return None
    return Neighbour(
        interface=name,
        address=address,
        state=STATES.get(message["state"], "none"),
        hardware=message.get_attr("NDA_LLADDR"),
        probes=message.get_attr("NDA_PROBES") or 0,
        router=bool(message["flags"] & NTF_ROUTER),
    )
