"""Where an address leads: to this node, into the overlay, or off it."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Literal

from preflight.model.overlay import IPNetwork, OverlayState
from preflight.proto.control.url import ControlUrl

Placement = Literal["loopback", "overlay", "off", "unknown"]

_PREFIXES_SHOWN = 4


def placement(address: str, overlay: OverlayState | None) -> Placement:
    """Where an address leads. `unknown` where there is no overlay, or its prefixes are not known."""
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
    """The URL by overlay address, if the URL's address is the tunnel endpoint of a peer."""
    return inside(url, [url.host], overlay)


def inside(url: ControlUrl, addresses: Sequence[str], overlay: OverlayState | None) -> str | None:
    """The URL by overlay address, if a tunnel ends at one of the URL's addresses."""
    host = host_inside(addresses, overlay)
    return str(url.at(host)) if host else None


def host_inside(addresses: Sequence[str], overlay: OverlayState | None) -> str | None:
    """The first address on the overlay, else that of a peer whose tunnel ends at one of them; without brackets."""
    found = next((address for address in addresses if placement(address, overlay) == "overlay"), None)
    for peer in overlay.peers if overlay is not None and found is None else ():
        own = [network for network in peer.addresses if network.num_addresses == 1]
        if own and peer.endpoint and peer.endpoint_address in addresses:
            found = str(own[0].network_address)
            break
    return found


def wanted_inside(url: ControlUrl, addresses: Sequence[str], overlay: OverlayState | None) -> str:
    """The line to paste that leads a client to the control plane through the tunnel."""
    known = inside(url, addresses, overlay)
    place = known or url.at("OVERLAY-ADDRESS")
    look = "" if known else "   # the control host's address: run ip -brief address there"
    return f"export VOX_ORCHESTRATOR_MESH_CONTROL_URL={place}{look}"


def _networks(overlay: OverlayState) -> tuple[IPNetwork, ...]:
    networks = [*overlay.prefixes, *(interface.network for interface in overlay.addresses)]
    return tuple(dict.fromkeys(networks))
