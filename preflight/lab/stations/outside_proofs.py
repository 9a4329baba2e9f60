"""Proofs of what happens to a tunnel's own packets: bursts through the tunnel, and taps on the uplinks.

A burst is larger than whatever else an idle lab sends, so its packets are known by their size on every device, also
encrypted and inside another tunnel.
"""

import json
import secrets
import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Literal

from preflight.lab import probe
from preflight.lab.names import LabError
from preflight.lab.network import UNDERLAY, inside
from preflight.lab.stations.fault import NotThereError
from preflight.lab.stations.outside import HEADERS, Leaving, ip, leaving, links, remote_end, tunnel_to_remote_end
from preflight.lab.topology import prefix_length

if TYPE_CHECKING:
    from preflight.lab.blueprint import Blueprint
    from preflight.lab.network import Network
    from preflight.lab.stations.proofs import Proof

SIZE = 900
"""Bytes of a datagram of a burst: more than any program of an idle lab sends, less than the narrowest link carries."""
COUNT = 3
WAIT_S = 0.4
_ETH_P_ALL = 3
_OUTGOING = 4
_NOBODY = 0x99
_MOST_COPIES = 4


@dataclass(frozen=True, slots=True)
class Tap:
    """Where packets are seen: a device of a node, and whether they leave or come in there."""

    node: str
    device: str
    way: Literal["out", "in"]


@dataclass(frozen=True, slots=True)
class Seen:
    """How many packets of a burst came out of the tunnel, and how many each tap saw."""

    arrived: int
    at: tuple[int, ...] = ()


def burst(
    network: "Network", source: str, target: str, *taps: Tap, size: int = SIZE, count: int = COUNT, pause_s: float = 0.0
) -> Seen:
    """Send datagrams from one member to another through the tunnel, and count them. pause_s: between two of them."""
    address = probe.address_of(network, target)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    token = secrets.token_bytes(16)
    with ExitStack() as stack:
        # Out of the tunnel, and not at a socket: what filters inside the tunnel does not matter here.
        tunnel = Tap(target, tunnel_to_remote_end(network, target), "in")
        receiver = stack.enter_context(opened(network, tunnel))
        open_taps = [stack.enter_context(opened(network, tap)) for tap in taps]
        with inside(network.names.namespace(source)):
            sender = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        for _ in range(count):
            try:
                sender.sendto(token.ljust(size, b"\0"), (address, probe.PORT))
            except OSError:
                continue  # a refusal by the kernel is as good as a loss
            finally:
                time.sleep(pause_s)
        ends = deadline(WAIT_S + network.slack_s)
        return _collect(receiver, token, list(zip(taps, open_taps, strict=True)), size, count, ends)


def opened(network: "Network", tap: Tap) -> socket.socket:
    """A packet socket on the tap's device: it sees IP packets in both directions."""
    with inside(network.names.namespace(tap.node)):
        handle = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        handle.bind((tap.device, _ETH_P_ALL))
    return handle


def _collect(
    receiver: socket.socket, token: bytes, taps: list[tuple[Tap, socket.socket]], size: int, count: int, ends: float
) -> Seen:
    arrived, seen = 0, [0] * len(taps)
    sockets: dict[socket.socket, int] = {handle: number for number, (_, handle) in enumerate(taps)}
    # What came is always read completely, so that copies count too.
    while (waiting := arrived < count or min(seen, default=count) < count) or arrived < _MOST_COPIES * count:
        left = max(0.0, ends - time.monotonic()) if waiting else 0.0
        ready = select.select([receiver, *sockets], [], [], left)[0]
        if not ready:
            break
        for each in ready:
            try:
                data, sender = each.recvfrom(65535)
            except OSError:
                continue  # the device is down, which a tap says once
            if each is receiver:
                arrived += token in data and sender[2] != _OUTGOING
            elif len(data) >= size:
                number = sockets[each]
                seen[number] += (sender[2] == _OUTGOING) == (taps[number][0].way == "out")
    return Seen(arrived, tuple(seen))


def deadline(seconds: float) -> float:
    """This many seconds from now, on time.monotonic()'s clock."""
    return time.monotonic() + seconds


def narrow(plan: "Blueprint") -> int:
    """A length of IP packets that a full tunnel exceeds, and a burst does not."""
    return plan.tunnel_mtu - 40


def nobody(way: Leaving) -> str:
    """An address of the network on an uplink that nobody has."""
    length = prefix_length(6 if ":" in way.source else 4)
    return str(ip_network(f"{way.source}/{length}", strict=False)[_NOBODY])


def leaves(network: "Network", node: str) -> Tap:
    """Where the packets of a node's tunnel leave it or its host, also while it has no route by its uplink."""
    where = network.plan.outer(node)
    try:
        device = leaving(network, node).device
    except LabError:
        return Tap(where, UNDERLAY, "out")
    inner = device.startswith(network.names.tunnel(node))
    return Tap(where, UNDERLAY if inner else device, "out")


def comes_in(network: "Network", node: str) -> Tap:
    """Where the packets of a node's tunnel come in."""
    return Tap(network.plan.outer(node), UNDERLAY, "in")


def _uplinks(network: "Network", source: str) -> tuple[Tap, Tap]:
    """Where packets of a's or b's tunnel leave, and where they come in at the remote end."""
    return leaves(network, source), comes_in(network, remote_end(network.plan, source))


def dies_before_the_wire(source: str, target: str) -> "Proof":
    """Nothing of a burst leaves the source's uplink."""

    def prove(network: "Network") -> None:
        (out,) = burst(network, source, target, _uplinks(network, source)[0]).at
        if out:
            raise NotThereError(f"the tunnel's packets leave {source}")

    return prove


def dies_on_the_way(source: str, target: str) -> "Proof":
    """A burst leaves the source's uplink, and does not come in at the remote end."""

    def prove(network: "Network") -> None:
        out, came = burst(network, source, target, *_uplinks(network, source)).at
        if not out or came:
            raise NotThereError(f"{out} packets of the tunnel leave {source}, and {came} come in at its remote end")

    return prove


def dies_between(source: str, target: str) -> "Proof":
    """A burst passes one end of a's way to its remote end, in this direction, and does not come in at the other."""

    def prove(network: "Network") -> None:
        end = remote_end(network.plan)
        there = Tap(network.plan.outer(end), UNDERLAY, "out")
        first, last = (
            (leaves(network, "a"), comes_in(network, end)) if source == "a" else (there, comes_in(network, "a"))
        )
        out, came = burst(network, source, target, first, last).at
        if not out or came:
            raise NotThereError(f"{out} packets from {source} leave one end, and {came} come in at the other")

    return prove


def dies_behind_the_wire(source: str, target: str) -> "Proof":
    """A burst comes in at the remote end, and nothing of it comes out of the tunnel there."""

    def prove(network: "Network") -> None:
        seen = burst(network, source, target, _uplinks(network, source)[1])
        if not seen.at[0] or seen.arrived:
            raise NotThereError(
                f"{seen.at[0]} packets come in at {source}'s remote end, and {seen.arrived} get through"
            )

    return prove


def dies(source: str, target: str) -> "Proof":
    """Nothing of a burst arrives."""

    def prove(network: "Network") -> None:
        if burst(network, source, target).arrived:
            raise NotThereError(f"datagrams from {source} reach {target}")

    return prove


def large_ones_die(source: str, target: str) -> "Proof":
    """A burst arrives, and one of datagrams that fill the tunnel does not."""

    def prove(network: "Network") -> None:
        passes(source, target)(network)
        if burst(network, source, target, size=network.plan.tunnel_mtu - HEADERS).arrived:
            raise NotThereError(f"large datagrams from {source} reach {target}")

    return prove


def passes(source: str, target: str) -> "Proof":
    """A burst arrives: this direction is whole."""

    def prove(network: "Network") -> None:
        if not burst(network, source, target).arrived:
            raise NotThereError(f"nothing from {source} reaches {target}")

    return prove


def all_of(*proofs: "Proof") -> "Proof":
    """Each of these holds."""

    def prove(network: "Network") -> None:
        for each in proofs:
            each(network)

    return prove


def look_up(node: str, right: Callable[[dict[str, str]], bool]) -> "Proof":
    """The kernel's look-up for the tunnel's endpoint is what the fault says; refusals have no `dev`."""

    def prove(network: "Network") -> None:
        try:
            found = leaving(network, node)
            route = {"dev": found.device, "gateway": found.gateway}
        except LabError as error:
            route = {"error": str(error)}
        if not right(route):
            raise NotThereError(f"{node}'s route to its remote end: {route}")

    return prove


def never_shook_hands(node: str) -> "Proof":
    """The node's WireGuard has no session with its remote end, and never had one."""

    def prove(network: "Network") -> None:
        key = network.keys[remote_end(network.plan, node)].public
        lines = network.wg(node, "show", tunnel_to_remote_end(network, node), "latest-handshakes").splitlines()
        if f"{key}\t0" not in lines:
            raise NotThereError(f"{node} has had a session with its remote end")

    return prove


def uplink_lacks(node: str, flag: Literal["UP", "LOWER_UP"]) -> "Proof":
    """The node's uplink is down (`UP`), or has no carrier (`LOWER_UP`) although it is up."""

    def prove(network: "Network") -> None:
        flags = links(network, node)[UNDERLAY]["flags"]
        if flag in flags or (flag == "LOWER_UP" and "UP" not in flags):
            raise NotThereError(f"{node}'s uplink is {', '.join(flags)}")

    return prove


def static_gateway(node: str) -> "Proof":
    """The neighbour by which the node sends has an entry that never changes."""

    def prove(network: "Network") -> None:
        way = leaving(network, node)
        found = json.loads(ip(network, node, "-j", "neigh", "show", "to", way.gateway or way.address))
        if not any("PERMANENT" in entry["state"] for entry in found):
            raise NotThereError(f"{node} has no static neighbour entry: {found}")

    return prove
