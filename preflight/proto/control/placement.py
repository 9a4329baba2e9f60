"""Where an address leads: to this node, into the overlay, or off it."""

import json
import re
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import PurePosixPath
from shlex import quote
from typing import Literal

from preflight.model.change import NamedValue
from preflight.model.fix import Environment, Setting, WorkersLine
from preflight.model.host_port import split_host_port
from preflight.model.kernel import Route
from preflight.model.overlay import WHOLE_BITS, IPNetwork, OverlayState
from preflight.model.remedy import Remedies, by_hand, heal, look, to_try
from preflight.proto.control.url import SERVER_PORT, ControlUrl
from preflight.proto.tunnel.route_advice import by_mark, into_the_overlay, look_at_marks, look_at_route

Placement = Literal["loopback", "overlay", "off", "leak", "unowned", "refused", "unknown"]
"""Where packets for an address go. overlay: into a tunnel in which a peer owns it. off: elsewhere. leak: elsewhere too,
although it is an address of the overlay. unowned: into a tunnel that drops them, for none of its peers owns it.
refused: nowhere, the kernel says. unknown: there is no overlay, or the kernel was not asked, or only root could read
whether a mark leads into it."""

OUTSIDE: tuple[Placement, ...] = ("off", "leak")
"""What is sent there leaves this node outside the overlay."""
PRIVATE: tuple[Placement, ...] = ("loopback", "overlay")
"""What is sent there reaches nobody else."""

_PREFIXES_SHOWN = 4
_IN_FILE = re.compile(r"([\w.]+) in (.+)")
"""A value of a file of the workers, by its name there."""
_MOST_TRIED = 8


def placement(address: str, overlay: OverlayState | None) -> Placement:
    """Where an address leads, by the kernel's word that the overlay's state holds (`Net.with_routes`)."""
    if ip_address(address).is_loopback:
        return "loopback"
    route = overlay.routes.get(address) if overlay is not None else None
    if overlay is None or route is None:
        return "unknown"
    if overlay.covers(address):
        return "overlay"
    if route.doubt is not None and overlay.at(route.doubt.interface) is not None:
        return "unknown"
    if route.error is not None:
        return "refused"
    tunnel = overlay.at(route.interface)
    if tunnel is not None and tunnel.lists_owners and tunnel.owners.prefix(address) is None:
        return "unowned"
    inside = any(each is tunnel for each in overlay.own_tunnels) or route.local
    claimed = any(each.claims(address) >= 0 or _is_next_to(address, each, route) for each in overlay.own_tunnels)
    return "leak" if claimed and not inside else "off"


def _is_next_to(address: str, tunnel: OverlayState, route: Route) -> bool:
    """Whether a router gets what a full tunnel would have, for an address next to this node's own one in the tunnel.

    wg-quick gives a node a network of one address, so where the overlay ends is known by what networks usually are. An
    address in a network of this node's links needs no router, and may be meant to stay outside.
    """
    owned, wanted = tunnel.owners.prefix(address), ip_address(address)
    if owned is None or owned.prefixlen > WHOLE_BITS or route.gateway is None:
        return False
    near = (f"{own.ip}/{_USUAL_LENGTH[own.version]}" for own in tunnel.addresses if own.version == wanted.version)
    return any(wanted in ip_network(network, strict=False) for network in near)


_USUAL_LENGTH = {4: 24, 6: 64}


def unknown_text(route: Route | None) -> str:
    """Why it is not known where packets go. route: the kernel's word."""
    return str(route.doubt) if route is not None and route.doubt is not None else _NO_OVERLAY


_NO_OVERLAY = "no overlay is known here that leads there"


def way_text(address: str, overlay: OverlayState) -> str:
    """What happens to packets for an address that does not lead into the overlay."""
    route = overlay.routes[address]
    if any(each.interface == route.interface for each in overlay.own_tunnels):
        return f"{route.interface} carries {address} only as part of the whole Internet, so its way leads on outside"
    if route.local:
        return f"{address} is this node's own address, and not its overlay address"
    sends = f"the kernel sends packets for {address} to {route.interface}, not into the overlay {overlay_text(overlay)}"
    return f"{sends}{by_mark(route.mark)}"


def astray(address: str, route: Route | None, overlay: OverlayState | None) -> str | None:
    """Why what is sent to an address in clear could be read by others; None if it stays here or in the overlay.

    route: the kernel's word. overlay: with the same word among its routes.
    """
    if ip_address(address).is_loopback or (route is not None and route.local):
        return None
    place = placement(address, overlay)
    if overlay is None or place == "unknown":
        return unknown_text(route)
    return way_text(address, overlay) if place in OUTSIDE else None


def leak(address: str, overlay: OverlayState) -> tuple[str, Remedies]:
    """What to say, and to do, about an overlay address whose packets the kernel sends elsewhere."""
    route, tunnel = overlay.routes[address], overlay.tunnel_for(address)
    message = f"the way there does not go through {tunnel.interface}, which has that address: {route}"
    if route.mark:
        return f"{message}{by_mark(route.mark)}", look_at_marks()
    if overlay.at(route.interface) is not None:
        return message, look_at_route(address)  # another tunnel may be there for a reason
    hidden = overlay.hidden.get(address)
    if hidden is None:
        return message, into_the_overlay(tunnel, address, route.table)
    message += f"; without that route, {hidden.matched} leads there by {tunnel.interface}"
    return message, into_the_overlay(tunnel, address, route.table, gateway=hidden.gateway)


def unowned(address: str, overlay: OverlayState) -> tuple[str, Remedies]:
    """The same about an address that no peer of the tunnel owns into which the kernel sends its packets."""
    interface = overlay.routes[address].interface
    host = f"{address}/{128 if ':' in address else 32}"
    return (
        f"no peer of {interface} has {address} in its allowed-ips, so WireGuard drops packets to it",
        by_hand(f"Add {host} to the AllowedIPs of the peer that owns it, on {interface}."),
    )


def overlay_text(overlay: OverlayState) -> str:
    """The overlay as a message names it: `wg0 (10.66.0.0/24)`."""
    networks = [str(network) for network in _networks(overlay)]
    more = [] if len(networks) <= _PREFIXES_SHOWN else [f"and {len(networks) - _PREFIXES_SHOWN} more"]
    return f"{overlay.interface or overlay.product} ({', '.join([*networks[:_PREFIXES_SHOWN], *more])})"


def inside(url: ControlUrl, addresses: Sequence[str], overlay: OverlayState | None) -> ControlUrl | None:
    """The URL by overlay address, if a tunnel ends at one of the URL's addresses."""
    host = host_inside(addresses, overlay)
    return url.at(host) if host else None


def host_inside(addresses: Sequence[str], overlay: OverlayState | None) -> str | None:
    """The first address on the overlay, else that of a peer whose tunnel ends at one of them; without brackets."""
    found = next((address for address in addresses if placement(address, overlay) == "overlay"), None)
    tunnels = overlay.own_tunnels if overlay is not None and found is None else ()
    for peer in (peer for tunnel in tunnels for peer in tunnel.peers):
        own = [network for network in peer.addresses if network.num_addresses == 1]
        if own and peer.endpoint and peer.endpoint_address in addresses:
            found = str(own[0].network_address)
            break
    return found


def lead_inside(
    url: ControlUrl, twin: ControlUrl | None, overlay: OverlayState | None, source: str | None, *, lives: bool
) -> Remedies:
    """Use the URL that leads through the tunnel. source: as in `set_url`.

    twin: the one that `inside` found for `url`. lives: a control plane answers there. Where none does, the URL alone
    heals nothing: the control plane may not listen on its overlay address.
    """
    if twin is None:
        return by_hand(placeholder(str(url.at(some_address(overlay)))))
    wanted = set_url(str(twin), source)
    if lives:
        return wanted
    sentence = f"No control plane answers at {twin}: let it listen there first, then change the URL."
    return (*look(sentence, where="control host"), *to_try(wanted))


def meant_places(url: ControlUrl, address: str, overlay: OverlayState | None) -> Sequence[ControlUrl]:
    """Where the control plane may be if nobody listens at the URL: at its usual port, or at a member.

    address: the URL's. One of this node itself was copied from the control host, which is a member then.
    """
    if ip_address(address).is_loopback:
        return [url.at(host) for host in members(overlay)]
    return [url.at(url.host, SERVER_PORT)] if url.port != SERVER_PORT else []


def outside_of(url: ControlUrl, address: str, overlay: OverlayState | None) -> ControlUrl | None:
    """The same server at its host's address outside the overlay, as the tunnel to it knows that."""
    tunnel = overlay.tunnel_for(address) if overlay is not None and url.scheme == "http" else None
    peer = tunnel.peer_for(address) if tunnel is not None else None
    if peer is None or not peer.endpoint:
        return None
    try:
        host, _ = split_host_port(peer.endpoint)
        return None if ip_address(host).is_loopback else url.at(host)
    except ValueError:
        return None


def members(overlay: OverlayState | None) -> Sequence[str]:
    """A few of the other members' own addresses."""
    networks = [network for peer in (overlay.peers if overlay else ()) for network in peer.addresses]
    return [str(network.network_address) for network in networks if network.num_addresses == 1][:_MOST_TRIED]


def of_one_member(urls: Sequence[ControlUrl], overlay: OverlayState | None) -> ControlUrl | None:
    """The first of some URLs, if one member has all their addresses: a control plane may listen at several.

    Each name may be of another machine.
    """
    known = [
        (url.host, overlay.peer_for(url.host) if overlay is not None and url.address is not None else None)
        for url in urls
    ]
    owners = {peer.key if peer is not None else host for host, peer in known}
    return urls[0] if len(owners) == 1 else None


def some_address(overlay: OverlayState | None) -> str:
    """A placeholder for the control plane's overlay address; a prefix with one address has no room for it."""
    networks = [interface.network for interface in overlay.addresses] if overlay else []
    prefix = next((network for network in networks if network.num_addresses > 1), None)
    return f"ADDRESS-IN-{prefix}" if prefix else "OVERLAY-ADDRESS"


VARIABLE = "VOX_ORCHESTRATOR_MESH_CONTROL_URL"


def set_url(url: str, source: str | None) -> Remedies:
    """Another control URL, where it comes from now: a stronger source would hide it anywhere else.

    source: an option, a variable, the settings file, or a value in a file of the workers, as the settings name it;
    None: it is set nowhere yet.
    """
    if source is not None and source.startswith("-"):
        return by_hand(f"preflight all {source} {quote(url)}")
    if source is not None and (value := _IN_FILE.fullmatch(source)):
        text = url if value[1].isupper() else f" {json.dumps(url)}"
        line = heal(lambda: WorkersLine(file=value[2], name=value[1], value=url)) if value[1].isupper() else ()
        return line or by_hand(f"{value[1]}{' =' if value[1].islower() else '='}{text}   # in {value[2]}")
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
