"""Where the responder listens and whom it serves: reading `ADDRESS[:PORT]` and prefixes, and opening sockets."""

import errno
import socket
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from preflight.model.overlay import OverlayState
from preflight.net import udp

DEFAULT_PORT = 862  # RFC 8762 section 4.1

IPNetwork = IPv4Network | IPv6Network


class ResponderError(Exception):
    """The responder cannot start; the text names the thing and says what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """An address to listen on; port 0 lets the kernel choose."""

    address: IPv4Address | IPv6Address
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        return place_text(str(self.address), self.port)


def place_text(address: str, port: int) -> str:
    """`ADDRESS:PORT`, an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def read_place(text: str) -> Place:
    """Read `ADDRESS`, `ADDRESS:PORT`, `[V6]` or `[V6]:PORT`. Raises ResponderError."""
    host, port = text, str(DEFAULT_PORT)
    if text.startswith("["):
        host, closing, rest = text[1:].partition("]")
        port = rest[1:] if rest.startswith(":") else port if closing and not rest else ""
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address, number = ip_address(host), int(port) if port.isascii() and port.isdigit() else -1
    except ValueError:
        number = -1
    if not 0 <= number <= 65535:
        raise ResponderError(
            f"--bind {text}: expected ADDRESS[:PORT] with a literal address, as 10.66.0.2:862 or [fd66::2]:862"
        )
    return Place(address, number)


def read_prefix(text: str) -> IPNetwork:
    """Read a prefix or a single address. Raises ResponderError."""
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError:
        raise ResponderError(f"--allow {text}: expected a prefix or an address, as 10.66.0.0/24 or fd66::2") from None


def overlay_places(state: OverlayState | None, port: int = DEFAULT_PORT) -> list[Place]:
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


def open_all(places: Sequence[Place]) -> list[socket.socket]:
    """A socket for each place, or none at all. Raises ResponderError."""
    with ExitStack() as stack:
        opened = [stack.enter_context(_open(place)) for place in dict.fromkeys(places)]
        stack.pop_all()
    return opened


def _open(place: Place) -> socket.socket:
    try:
        return udp.open_udp(str(place.address), place.port)
    except OSError as error:
        raise ResponderError(_explain(place, error)) from None


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
