"""Where the responder listens and whom it serves: reading `ADDRESS[:PORT]` and prefixes, and opening sockets."""

import errno
import socket
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from preflight.model.host_port import join_host_port, split_host_port
from preflight.model.overlay import IPNetwork, OverlayState
from preflight.model.peer import RESPONDER_PORT
from preflight.net import udp


class ResponderError(Exception):
    """The responder cannot start; the text names the thing and says what to do. number: the system's error, if any."""

    def __init__(self, text: str, number: int = 0) -> None:
        super().__init__(text)
        self.number = number


@dataclass(frozen=True, slots=True)
class Place:
    """An address to listen on; port 0 lets the kernel choose."""

    address: IPv4Address | IPv6Address
    port: int = RESPONDER_PORT

    def __str__(self) -> str:
        return join_host_port(str(self.address), self.port)


def read_place(text: str) -> Place:
    """Read `ADDRESS`, `ADDRESS:PORT`, `[V6]` or `[V6]:PORT`. Raises ResponderError."""
    try:
        host, port = split_host_port(text, RESPONDER_PORT)
        return Place(ip_address(host), port)
    except ValueError:
        raise ResponderError(
            f"--bind {text}: expected ADDRESS[:PORT] with a literal address, as 10.66.0.2:862 or [fd66::2]:862"
        ) from None


def read_prefix(text: str) -> IPNetwork:
    """Read a prefix or a single address. Raises ResponderError."""
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError:
        raise ResponderError(f"--allow {text}: expected a prefix or an address, as 10.66.0.0/24 or fd66::2") from None


def overlay_places(state: OverlayState | None, port: int = RESPONDER_PORT) -> list[Place]:
    """The port on the addresses of the overlay. Raises ResponderError without one."""
    addresses = [interface.ip for interface in state.addresses if not interface.is_link_local] if state else []
    if not addresses:
        raise ResponderError("no overlay address found on this node; name the address with --bind ADDRESS[:PORT]")
    return [Place(address, port) for address in addresses]


def overlay_prefixes(state: OverlayState | None) -> list[IPNetwork]:
    """What belongs to the overlay, by its state and by the addresses of its interface."""
    return [*state.prefixes, *(interface.network for interface in state.addresses)] if state else []


def provisioned(
    allow: Iterable[IPNetwork], peers: Iterable[str], overlay: Iterable[IPNetwork], *, keyed: bool
) -> tuple[IPNetwork, ...]:
    """All prefixes that may ask. Raises ResponderError when nobody may, and there is no key to recognise a peer by."""
    prefixes = (*allow, *map(ip_network, peers), *overlay)
    if not prefixes and not keyed:
        raise ResponderError(
            "nobody may ask this responder: give --allow PREFIX, peers in a settings file (--config FILE), "
            "or a shared key (--key-file FILE)"
        )
    return prefixes


def open_all(places: Sequence[Place], *, free_port: bool = False) -> list[socket.socket]:
    """A socket for each place, or none at all. Raises ResponderError.

    free_port: where this user may not open a port, take one that the kernel chooses.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(_open(place, free_port=free_port)) for place in dict.fromkeys(places)]
        stack.pop_all()
    return opened


def _open(place: Place, *, free_port: bool) -> socket.socket:
    try:
        return udp.open_udp(str(place.address), place.port)
    except OSError as error:
        if free_port and place.port and error.errno in (errno.EACCES, errno.EPERM):
            return _open(replace(place, port=0), free_port=False)
        raise ResponderError(_explain(place, error), error.errno or 0) from None


def _explain(place: Place, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"UDP {place} is in use; `ss -lunp 'sport = :{place.port}'` shows by which program; give another --bind"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{place.address} is not an address of this node (yet): bring the overlay up, or give another --bind"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"UDP port {place.port} needs root or CAP_NET_BIND_SERVICE; give a port from 1024 on: "
            f"--bind {Place(place.address, 8620)}"
        )
    return f"cannot listen on UDP {place}: {error.strerror}"
