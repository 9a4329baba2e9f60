"""What brings an overlay's interface back, with its addresses and routes; pure."""

from collections.abc import Iterable, Sequence
from functools import partial
from ipaddress import ip_address
from itertools import islice

from preflight.model.fix import LinkAddresses, LinkUp, Route, ServiceRestart, WgQuick
from preflight.model.overlay import WHOLE_BITS, IPInterface, IPNetwork, OverlayState
from preflight.model.remedy import Remedies, by_hand, heal, look
from preflight.proto.tunnel import levers

_MOST_ROUTES = 16


def up_again(state: OverlayState, name: str, members: Sequence[str]) -> Remedies:
    """With its file a WireGuard interface is built again: the kernel forgot its routes when it went down.

    Without one these are the networks of its peers that lie outside its own; a default route may need rules too.
    Tailscale has its routes in another table, and Nebula those behind members: both make them at start.
    """
    if state.product == "wireguard" and state.configured is not None:
        return heal(lambda: WgQuick(interface=name, again=True))
    if state.product == "tailscale":
        return heal(lambda: ServiceRestart(service="tailscaled"))
    if state.product == "nebula" and state.routed:
        return levers.nebula(state, "overlay.daemon-down")
    if not state.addresses and families(state, members) == {6}:
        again = f"Start {name} again by the program that made it: Linux took its IPv6 addresses off when it went down."
        return by_hand(again)
    lost = [each for each in _outside(state, state.addresses) if each.prefixlen > WHOLE_BITS]
    return (*heal(lambda: LinkUp(interface=name)), *_routes(lost, state.addresses, name))


def addresses_of_the_file(state: OverlayState, room: Remedies, otherwise: Remedies) -> Remedies:
    """This node's addresses, if a configuration file has them, and what went with the last one: the routes.

    Those of a default route take more than a line each, and other tables have rules: then the interface is built again.
    A file that makes no routes leaves them to its owner. room: what makes the interface large enough for them, if it is
    not. otherwise: what follows that where no file has addresses.
    """
    file, name = state.configured, state.interface or ""
    if file is None or not file.addresses:
        return (*room, *otherwise) if room else ()
    lost = _outside(state, file.addresses) if file.table != "off" else ()
    if any(each.prefixlen == 0 for each in lost) or (lost and file.table is not None):
        return heal(lambda: WgQuick(interface=name, again=True))
    addresses = tuple(map(str, file.addresses))
    given = heal(lambda: LinkAddresses(interface=name, addresses=addresses))
    return (*room, *given, *_routes(lost, file.addresses, name))


def _routes(lost: Iterable[IPNetwork], own: Sequence[IPInterface], name: str) -> Remedies:
    """A device that goes down loses its IPv6 addresses too, and a route without one does not help."""
    routed = [each for each in lost if any(each.version == one.version for one in own)]
    made = (heal(partial(Route, action="replace", destination=str(each), interface=name)) for each in routed)
    return tuple(each for route in islice(made, _MOST_ROUTES) for each in route)


def _outside(state: OverlayState, own: Sequence[IPInterface]) -> Sequence[IPNetwork]:
    """The networks of its peers that lie outside those of its own addresses: each has a route."""
    networks = [address.network for address in own]
    return [network for peer in state.peers for network in peer.addresses if not _in_any(network, networks)]


def _in_any(network: IPNetwork, others: Iterable[IPNetwork]) -> bool:
    return any(each.version == network.version and network.subnet_of(each) for each in others)  # type: ignore[arg-type]


def families(state: OverlayState, members: Sequence[str]) -> set[int]:
    """The families of what the peers have, by the product or else by the settings."""
    listed: set[int] = {network.version for peer in state.peers for network in peer.addresses}
    return listed or {ip_address(member).version for member in members}


def its_program(interface: str) -> Remedies:
    """Nothing that may be read here says which program makes an interface."""
    return look(
        f"Start the program that makes {interface}: wg-quick up {interface}, systemctl restart openvpn-client@NAME, or "
        "another one",
        root=True,
    )
