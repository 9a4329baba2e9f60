"""Who answers HTTP in the place of an address that no host has?

The addresses are those of documentation (RFC 5737, RFC 3849): no network routes them. An answer can only come from
something on the way that takes connections to any address, as captive portals and transparent proxies do.
"""

import asyncio
import socket
import time
from collections.abc import Iterable
from http.client import HTTPException, HTTPResponse

from preflight.model.event import Listener, telling
from preflight.model.flow import Flow
from preflight.model.host_port import bracketed
from preflight.model.overlay import OverlayState
from preflight.model.tcp import Interception
from preflight.net.way.lookups import Lookups
from preflight.proto.control.http import redirect_place
from preflight.proto.way.flows import outer_flow

NOBODY = ("192.0.2.1", "2001:db8::1")
PORT = 80
SO_BINDTODEVICE = 25  # Python has the name on Linux only


async def ask_nobody(
    overlay: OverlayState | None, peers: Iterable[str], timeout_s: float, listener: Listener | None = None
) -> Interception | None:
    """The first answer to `GET /` of such an address; None if there is none, as it should be.

    It is asked by the devices by which the tunnels' own packets leave, past a tunnel that takes everything. peers:
    addresses on the overlay. Nothing secret is sent.
    """
    devices = await asyncio.to_thread(_devices, overlay, tuple(peers))
    asked = [_ask(address, device, timeout_s, listener) for device in devices for address in NOBODY]
    for answer in asyncio.as_completed(asked):
        if (found := await answer) is not None:
            return found
    return None


def _devices(overlay: OverlayState | None, peers: tuple[str, ...]) -> tuple[str, ...]:
    """The devices towards the tunnels' endpoints; where none is known, those towards nobody, without the tunnels."""
    tunnels = overlay.tunnels if overlay is not None else ()
    flows = [outer_flow(tunnel, peer) for tunnel in tunnels for peer in peers]
    inside = {tunnel.interface for tunnel in tunnels}
    with Lookups() as lookups:
        outer = [lookups.leaving(flow).interface for flow in flows if flow is not None]
        plain = [lookups.leaving(Flow(source="", destination=address)).interface for address in NOBODY]
    found = [device for device in outer if device is not None] or [each for each in plain if each is not None]
    return tuple(dict.fromkeys(device for device in found if device not in inside and device != "lo"))


async def _ask(address: str, device: str, timeout_s: float, listener: Listener | None) -> Interception | None:
    tell = telling(listener, "way.nobody", address)
    tell(time.monotonic(), "asked", device=device)
    try:
        status, location = await asyncio.to_thread(_get, address, device, timeout_s)
    except (OSError, HTTPException):
        return None
    tell(time.monotonic(), "answered", status=status)
    return Interception(address, device, status, redirect_place(location) if location else None)


def _get(address: str, device: str, timeout_s: float) -> tuple[int, str | None]:
    """The status of the answer and its `Location`. Raises OSError or HTTPException where there is none.

    The socket is bound before it connects, which HTTP clients do not offer.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as asking:
        asking.settimeout(timeout_s)
        asking.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, device.encode())
        asking.connect((address, PORT))
        asking.sendall(f"GET / HTTP/1.1\r\nHost: {bracketed(address)}\r\nConnection: close\r\n\r\n".encode())
        with HTTPResponse(asking, method="GET") as answer:
            answer.begin()
            return answer.status, answer.headers.get("Location")
