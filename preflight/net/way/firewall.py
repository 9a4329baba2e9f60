"""Reads this node's firewall, without a change to it: nftables by netlink, iptables-legacy by its own interface."""

import errno
import socket
import time
from collections.abc import Iterable
from dataclasses import replace

from preflight.model.event import Listener, telling
from preflight.model.flow import Flow
from preflight.net.way.legacy_tables import read_legacy
from preflight.net.way.nfnetlink import CONNTRACK, NFTABLES, ChangedError, Nfnetlink
from preflight.proto.way.netfilter import nftables
from preflight.proto.way.netfilter.attributes import attribute, table
from preflight.proto.way.netfilter.nftables import FAMILIES, Message
from preflight.proto.way.netfilter.ruleset import FilterSnapshot, Ruleset, Tracked
from preflight.proto.way.netfilter.tracking import question, tracked

PRIVILEGE = "only root sees the rules of this node's firewall"
_TRIES = 3
_GET_CONNECTION = 1
_ABSENT = {errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.ENOENT, errno.EAFNOSUPPORT}
"""What a kernel says that lacks nftables or connection tracking."""


class Firewall:
    """Reads only, within milliseconds. Every reading is of the network namespace of the calling thread."""

    def __init__(self, listener: Listener | None = None) -> None:
        self._tell = telling(listener, "way.firewall")

    def snapshot(self, flows: Iterable[Flow] = (), addresses: Iterable[str] = ()) -> FilterSnapshot:
        """The ruleset with its counters, and what connection tracking holds of some flows.

        addresses: this node's own, for what is translated. Never raises: what cannot be read has its reason.
        """
        began = time.monotonic()
        try:
            ruleset, followed = _ruleset(), _connections(flows)
        except PermissionError:
            found = FilterSnapshot(unreadable=PRIVILEGE)
        except (OSError, ValueError) as error:
            found = FilterSnapshot(unreadable=f"this node's firewall could not be read: {error}")
        except ChangedError:
            found = FilterSnapshot(unreadable="this node's firewall keeps changing")
        else:
            found = FilterSnapshot(ruleset=ruleset, tracked=followed, addresses=frozenset(addresses))
        took_ms = (time.monotonic() - began) * 1000
        chains = len(found.ruleset.chains)
        self._tell(time.monotonic(), "firewall-read", chains=chains, unreadable=found.unreadable, took_ms=took_ms)
        return found


def _ruleset() -> Ruleset:
    with Nfnetlink() as netlink:
        messages = _nftables(netlink)
    found = nftables.ruleset_of(messages)
    devices = {name: number for number, name in socket.if_nameindex()}
    return replace(found, chains=(*found.chains, *read_legacy()), devices=devices)


def _nftables(netlink: Nfnetlink) -> list[Message]:
    for left in reversed(range(_TRIES)):
        try:
            return _dumps(netlink)
        except ChangedError:
            if not left:
                raise
        except OSError as error:
            if error.errno in _ABSENT:
                return []
            raise
    raise AssertionError("the last try returns or raises")


def _dumps(netlink: Nfnetlink) -> list[Message]:
    messages = [*netlink.dump(NFTABLES, nftables.GET_CHAIN), *netlink.dump(NFTABLES, nftables.GET_RULE)]
    sets = netlink.dump(NFTABLES, nftables.GET_SET)
    for each in sets:
        found = table(each.data)
        if each.family in FAMILIES:
            which = b"".join(attribute(kind, found[kind]) for kind in (nftables.SET_TABLE, nftables.SET_NAME))
            messages += netlink.dump(NFTABLES, nftables.GET_ELEMENTS, which, each.family)
    return [*messages, *sets]


def _connections(flows: Iterable[Flow]) -> dict[Flow, Tracked | None]:
    followed: dict[Flow, Tracked | None] = {}
    asked = {flow: data for flow in flows if (data := question(flow)) is not None}
    if not asked:
        return followed
    with Nfnetlink() as netlink:
        for flow, data in asked.items():
            family = socket.AF_INET6 if flow.is_ipv6 else socket.AF_INET
            try:
                answer = netlink.one(CONNTRACK, _GET_CONNECTION, data, family)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                continue
            followed[flow] = None if answer is None else tracked(flow, answer.data)
    return followed
