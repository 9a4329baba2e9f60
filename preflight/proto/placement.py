"""Where an address leads: to this node, into the overlay, or off it."""

from ipaddress import ip_address
from typing import Literal

from preflight.model.overlay import IPNetwork, OverlayState
from preflight.proto.controlurl import ControlUrl

Placement = Literal["loopback", "overlay", "off", "unknown"]

_PREFIXES_SHOWN = 4


def placement(address: str, overlay: OverlayState | None) -> Placement:
    """Where an address leads. Without an overlay, or without knowing its prefixes, nothing is off it: `unknown`."""
    if ip_address(address).is_loopback:
        return "loopback"
    if overlay is None or not _networks(overlay):
        return "unknown"
    return "overlay" if overlay.covers(address) else "off"


def overlay_text(overlay: OverlayState) -> str:
    """The overlay as a message names it: `wg0 (10.66.0.0/24)`."""
    networks = [str(network) for network in _networks(overlay)]
    more = [] if len(networks) <= _PREFIXES_SHOWN else [f"and {len(networks) - _PREFIXES_SHOWN} more"]
    return f"{overlay.interface or overlay.product} ({', '.join([*networks[:_PREFIXES_SHOWN], *more])})"


def overlay_twin(url: ControlUrl, overlay: OverlayState | None) -> str | None:
    """The same URL by overlay address, where the tunnel's endpoint tells that a peer owns the URL's address."""
    if overlay is None:
        return None
    for peer in overlay.peers:
        own = [network for network in peer.addresses if network.num_addresses == 1]
        if own and peer.endpoint and _endpoint_address(peer.endpoint) == url.host:
            address = str(own[0].network_address)
            host = f"[{address}]" if ":" in address else address
            return f"{url.scheme}://{host}:{url.port}{url.path}"
    return None


def _endpoint_address(endpoint: str) -> str:
    return endpoint.rpartition(":")[0].strip("[]")


def _networks(overlay: OverlayState) -> tuple[IPNetwork, ...]:
    networks = [*overlay.prefixes, *(interface.network for interface in overlay.addresses)]
    return tuple(dict.fromkeys(networks))
