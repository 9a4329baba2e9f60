"""Which peer represents the path to the control plane."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address

from preflight.api import CONTROL, Direction, Peer, Result, Status, codes
from preflight.model.facts import ControlTunnelFacts, NameFacts
from preflight.model.overlay import OverlayState
from preflight.proto.tunnel.wireguard import REJECT_AFTER_S
from preflight.settings.load import Settings


def control_host(
    settings: Settings, overlay: OverlayState | None, peers: Sequence[Peer], results: Iterable[Result]
) -> str | None:
    """Target name of the peer whose tunnel leads to the control plane, if known.

    It is the peer that owns one of its addresses. If no peer does and the address is on the overlay, a fault of the
    tunnels to *all* peers also affects the control plane, and the first of them represents it, unless the tunnel to the
    control plane has a known session, or it has accepted a connection.
    """
    results = tuple(results)
    addresses = control_addresses(settings, results)
    owner = next((peer.target for peer in peers if peer.address in addresses), None)
    if owner is not None or overlay is None or not any(_belongs(overlay, address) for address in addresses):
        return owner
    if any(each.check == "control.connect" and each.status is Status.PASS for each in results):
        return None
    ages = (r.facts.tunnel_handshake_age_s for r in results if isinstance(r.facts, ControlTunnelFacts))
    if any(age_s is not None and age_s <= REJECT_AFTER_S for age_s in ages):
        return None
    unread = not any(tunnel.lists_owners for tunnel in overlay.own_tunnels)
    shown_by = ("overlay.session", "reach.icmp") if unread and _untapped(results) else ("overlay.session",)
    behind = not any(_is_near(overlay, address) for address in addresses)
    lost = {id(r) for r in results if _lost(overlay, r, behind=behind)}
    dead = [r.target for r in results if r.status is Status.FAIL and (r.check in shown_by or id(r) in lost)]
    return dead[0] if dead and set(dead) == {peer.target for peer in peers} else None


def _lost(overlay: OverlayState, result: Result, *, behind: bool) -> bool:
    """Whether what left for a peer was lost nobody knows where, in a tunnel that may have one remote end for all.

    Where only one direction is dead, the peer lives, and what is dead is on the way that all of them share.
    behind: the control plane is outside the tunnel's own network: it needs a member that hands on, as the peer may.
    """
    one_end = not any(tunnel.lists_owners or tunnel.peers for tunnel in overlay.own_tunnels)
    found = (codes.REACH_NO_FORWARD, codes.REACH_NO_REVERSE, *((codes.REACH_UNREACHABLE,) if behind else ()))
    return one_end and result.check == "way.packet" and result.code in found and result.station is None


def _untapped(results: Iterable[Result]) -> bool:
    """Whether nobody saw even what this node sent: then a dead tunnel without sessions is known by silence alone."""
    seen = (each for result in results for each in result.observations if each.finding == "seen")
    return not any(each.station.id == "tunnel" for each in seen)


def sharing_its_way(
    settings: Settings, overlay: OverlayState | None, peers: Sequence[Peer], results: Iterable[Result]
) -> frozenset[str]:
    """Targets of the peers to whom packets take the same tunnel as to the control plane: a hub, or a LAN behind a peer.

    Where nobody may read whose tunnel it is, large packets that vanish on the way to every peer vanish on a part of the
    way that all share.
    """
    results = tuple(results)
    addresses = control_addresses(settings, results)
    if overlay is None:
        return frozenset()
    ends = {end for address in addresses if (end := _end(overlay, address)) is not None}
    shared = frozenset(peer.target for peer in peers if _end(overlay, peer.address) in ends)
    holes = {r.target for r in results if r.code is codes.MTU_BLACK_HOLE and r.status is Status.FAIL}
    targets = frozenset(peer.target for peer in peers)
    unread = not any(tunnel.lists_owners for tunnel in overlay.own_tunnels)
    if unread and targets <= holes and any(_belongs(overlay, address) for address in addresses):
        return targets
    return shared


def behind_one_end(
    settings: Settings, overlay: OverlayState | None, peers: Sequence[Peer], results: Iterable[Result]
) -> Mapping[str, str]:
    """Targets whose tunnel has one remote end, each with the peer that represents it, where none of them answers.

    That is the first that is in the tunnel's own network, as the remote end itself is, else the first of them. Where
    one of them answers, what kills packets to the others is behind the remote end. The control plane is one of them if
    it accepts no connection either.
    """
    if overlay is None:
        return {}
    results = tuple(results)
    answering = _answering(results)
    groups: dict[tuple[str | None, str | None], list[Peer]] = {}
    for peer in peers:
        if (end := _end(overlay, peer.address)) is not None:
            groups.setdefault(end, []).append(peer)
    ends = {_end(overlay, address) for address in control_addresses(settings, results)}
    found: dict[str, str] = {}
    for end, group in groups.items():
        if answering.isdisjoint(each.target for each in group):
            near = (each for each in group if _is_near(overlay, each.address))
            first = next(near, group[0]).target
            found |= {each.target: first for each in group if each.target != first}
            # A host with several addresses may be silent at one of them only.
            found |= {CONTROL: first} if ends == {end} else {}
    return found


def _answering(results: Iterable[Result]) -> set[str]:
    """The targets to which packets pass and from which they come back."""
    passed = [each for each in results if each.status is Status.PASS]
    echoed = {each.target for each in passed if each.check == "reach.icmp"}
    there, back = (
        {each.target for each in passed if each.check == "reach.udp" and each.direction is direction}
        for direction in (Direction.FORWARD, Direction.REVERSE)
    )
    return echoed | (there & back)


def _is_near(overlay: OverlayState, address: str) -> bool:
    wanted = ip_address(address)
    return any(wanted in own.network for own in overlay.tunnel_for(address).addresses)


def _end(overlay: OverlayState, address: str) -> tuple[str | None, str | None] | None:
    """The tunnel and its remote end to which packets for an address go; None if no peer of a tunnel owns it.

    A tunnel that has one remote end does not say who that is.
    """
    tunnel = overlay.tunnel_for(address)
    owner = tunnel.peer_for(address)
    if owner is None:
        return (tunnel.interface, None) if tunnel.one_end and tunnel.claims(address) >= 0 else None
    return tunnel.interface, owner.key


def control_addresses(settings: Settings, results: Iterable[Result]) -> set[str]:
    """The addresses of the control plane: in its URL, and those that its name was resolved to."""
    url = settings.control.usable_url
    addresses = {url.host} if url is not None and url.address is not None else set()
    for result in results:
        if isinstance(result.facts, NameFacts):
            addresses |= set(result.facts.addresses)
    return addresses


def _belongs(overlay: OverlayState, address: str) -> bool:
    """Whether it is an address of the overlay, also if packets for it leave another way now."""
    return overlay.covers(address) or any(tunnel.claims(address) >= 0 for tunnel in overlay.own_tunnels)
