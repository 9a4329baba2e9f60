"""Where an address leads: to this node, into the overlay, or off it."""

import json
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import PurePosixPath
from shlex import quote
from typing import Literal

from preflight.model.change import NamedValue
from preflight.model.fix import Environment, Setting
from preflight.model.overlay import IPNetwork, OverlayState
from preflight.model.remedy import Remedies, by_hand, heal
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


def wanted_inside(
    url: ControlUrl, addresses: Sequence[str], overlay: OverlayState | None, source: str | None = None
) -> Remedies:
    """A control URL that leads clients through the tunnel. source: as in `set_url`."""
    known = inside(url, addresses, overlay)
    return set_url(known, source) if known else by_hand(placeholder(str(url.at("OVERLAY-ADDRESS"))))


VARIABLE = "VOX_ORCHESTRATOR_MESH_CONTROL_URL"


def set_url(url: str, source: str | None) -> Remedies:
    """Another control URL, where it comes from now: a stronger source would hide it anywhere else.

    source: an option, a variable, or the settings file, as the settings name it; None: it is set nowhere yet.
    """
    if source is not None and source.startswith("-"):
        return by_hand(f"preflight all {source} {quote(url)}")
    if source is not None and not source.replace("_", "").isupper():
        file = str(PurePosixPath(source))
        remedies = heal(lambda: Setting(file=file, key="control.url", value=url))
        return remedies or by_hand(f"control: {{url: {json.dumps(url)}}}   # in {source}")
    return heal(lambda: Environment(variables=(NamedValue(source or VARIABLE, url),)))


def placeholder(url: str) -> str:
    """The line to paste if the address of the control host is not known."""
    return f"export {VARIABLE}={url}   # the control host's address: run ip -brief address there"


def _networks(overlay: OverlayState) -> tuple[IPNetwork, ...]:
    networks = [*overlay.prefixes, *(interface.network for interface in overlay.addresses)]
    return tuple(dict.fromkeys(networks))
