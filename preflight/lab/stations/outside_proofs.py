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
from typing import TYPE_CHECKING, Literal

from preflight.lab import probe
from preflight.lab.names import LabError
from preflight.lab.network import UNDERLAY, inside
from preflight.lab.stations.fault import NotThereError
from preflight.lab.stations.outside import ip, leaving, links, remote_end

if TYPE_CHECKING:
    from preflight.lab.network import Network
    from preflight.lab.stations.proofs import Proof

SIZE = 900
"""Bytes of a datagram of a burst: more than any program of an idle lab sends, less than the narrowest link carries."""
COUNT = 3
WAIT_S = 0.4
_ETH_P_ALL = 3
_OUTGOING = 4


@dataclass(frozen=True, slots=True)
class Tap:
    """Where packets are seen: a device of a node, and whether they leave or come in there."""

    node: str
    device: str
    way: Literal["out", "in"]


@dataclass(frozen=True, slots=True)
class Seen:
    """How many packets of a burst reached the socket, and how many each tap saw."""

    arrived: int
    at: tuple[int, ...] = ()


def burst(network: "Network", source: str, target: str, *taps: Tap, size: int = SIZE, count: int = COUNT) -> Seen:
    """Send datagrams from one member to another through the tunnel, and count them."""
    address = probe.address_of(network, target)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    token = secrets.token_bytes(16)
    with ExitStack() as stack:
        with inside(network.names.namespace(target)):
            receiver = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        receiver.bind(("", probe.PORT))
        opened = [stack.enter_context(_open(network, tap)) for tap in taps]
        with inside(network.names.namespace(source)):
            sender = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        for _ in range(count):
            try:
                sender.sendto(token.ljust(size, b"\0"), (address, probe.PORT))
            except OSError:
                continue  # a refusal by the kernel is as good as a loss
        return _collect(receiver, token, list(zip(taps, opened, strict=True)), size, count)


def _open(network: "Network", tap: Tap) -> socket.socket:
    with inside(network.names.namespace(tap.node)):
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        opened.bind((tap.device, _ETH_P_ALL))
    return opened


def _collect(
    receiver: socket.socket, token: bytes, taps: list[tuple[Tap, socket.socket]], size: int, count: int
) -> Seen:
    arrived, seen = 0, [0] * len(taps)
    sockets: dict[socket.socket, int] = {opened: number for number, (_, opened) in enumerate(taps)}
    deadline = time.monotonic() + WAIT_S
    while arrived < count or min(seen, default=count) < count:
        ready = select.select([receiver, *sockets], [], [], max(0.0, deadline - time.monotonic()))[0]
        if not ready:
            break
        for each in ready:
            try:
                data, sender = each.recvfrom(65535)
            except OSError:
                continue  # the device is down, which a tap says once
            if each is receiver:
                arrived += data.startswith(token)
            elif len(data) >= size:
                number = sockets[each]
                seen[number] += (sender[2] == _OUTGOING) == (taps[number][0].way == "out")
    return Seen(arrived, tuple(seen))


def _uplinks(network: "Network", source: str) -> tuple[Tap, Tap]:
    """Where packets of a's or b's tunnel leave, and where they come in at the remote end."""
    far = remote_end(network.plan, source)
    # The devices that the remote end and the source use for each other: both ends' tunnels go the same way.
    return Tap(source, device_of(network, source), "out"), Tap(far, device_of(network, far, source), "in")


def device_of(network: "Network", node: str, to: str = "") -> str:
    """The uplink of a node, also while it has no route by it. to: the remote end that counts, if not its own."""
    if node == "c" or (to and remote_end(network.plan, node) != to):
        return UNDERLAY
    try:
        device = leaving(network, node).device
    except LabError:
        return UNDERLAY
    return UNDERLAY if device.startswith(network.names.tunnel(node)) else device


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


def dies_behind_the_wire(source: str, target: str) -> "Proof":
    """A burst comes in at the remote end, and nothing of it comes out of the tunnel there."""

    def prove(network: "Network") -> None:
        seen = burst(network, source, target, _uplinks(network, source)[1])
        if not seen.at[0] or seen.arrived:
            raise NotThereError(
                f"{seen.at[0]} packets come in at {source}'s remote end, and {seen.arrived} get through"
            )

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
        lines = network.wg(node, "show", network.names.tunnel(node), "latest-handshakes").splitlines()
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
