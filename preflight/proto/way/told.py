"""What the two ends of WireGuard say of each other, compared: pure. Only this names the key that is wrong.

The peer's responder says only what is about the asker (`peer_tunnel`), to an asker that it knows.
"""

from dataclasses import replace
from ipaddress import ip_address

from preflight.codes import (
    OVERLAY_ALLOWED_IPS,
    OVERLAY_HANDSHAKE_STALE,
    OVERLAY_NO_HANDSHAKE,
    OVERLAY_PRESHARED_KEY,
    Code,
)
from preflight.model.facts import DeathFacts
from preflight.model.overlay import OverlayPeer, OverlayState, Owners
from preflight.model.peer_tunnel import PeerTunnel
from preflight.model.remedy import Remedies, by_hand, look
from preflight.proto.way import session_advice as advice
from preflight.proto.way.behind import may_be_behind
from preflight.proto.way.observation import Death, Observation, PacketClass
from preflight.proto.way.stations import Station
from preflight.proto.way.tunnel_view import TunnelView

_ADDRESS = Station("address")
_HERE, _THERE = Station("session", "sender"), Station("session", "receiver")


def peer_tunnel(state: OverlayState, key: str, address: str) -> PeerTunnel:
    """What this node's tunnel knows of one asker. key: the asker's public key; address: its overlay address."""
    entry = next((peer for peer in state.peers if peer.key == key), None)
    owner = Owners(state.peers).of(address)
    about = PeerTunnel(
        addresses=tuple(str(each.ip) for each in state.addresses if not each.ip.is_link_local),
        interface=state.interface,
        public_key=state.public_key,
        knows_key=entry is not None,
        owner=owner.key if owner is not None else None,
    )
    if entry is None:
        return about
    return replace(
        about,
        knows_key=True,
        allowed=tuple(map(str, entry.addresses)),
        preshared=entry.preshared,
        endpoint=entry.endpoint,
        last_handshake_unix_s=entry.last_handshake_unix_s,
        rx_bytes=entry.rx_bytes,
        tx_bytes=entry.tx_bytes,
    )


def observe_told(view: TunnelView, told: PeerTunnel, by: str) -> tuple[Observation, ...]:
    """What the two tunnels do not share.

    by: how the peer's report came, such as `b by mailbox`. Empty where all fits.
    """
    peer, own_key = view.peer, view.after.public_key
    if view.product != "wireguard" or view.after.unreadable or own_key is None or told.public_key is None:
        return ()
    found = _not_its_address(view, told) or _owner_here(view, told, peer)
    if found is None and peer is not None and _is_behind(view, told, peer):
        found = _owner_behind(view, told, peer)
    elif found is None and peer is not None:
        found = _keys(view, told, peer, own_key) or _owner_there(view, told, own_key) or _shared(view, told, peer)
    return (_said(found, by),) if found is not None else ()


def _not_its_address(view: TunnelView, told: PeerTunnel) -> Observation | None:
    """The address by which this node looks for the peer is not the peer's, and nobody owns it here."""
    if not told.addresses or view.peer is not None or ip_address(view.address) in map(ip_address, told.addresses):
        return None
    message = (
        f"{view.address}, by which this node looks for {view.target}, is not its address: its tunnel has "
        f"{', '.join(told.addresses)}"
    )
    right = min(told.addresses, key=lambda each: (":" in each) != (":" in view.address))
    remedies = by_hand(f"Give {view.target} the address {right} in this node's settings.")
    facts = DeathFacts(address=view.address, answered_from=right)
    return _killed(_ADDRESS, OVERLAY_ALLOWED_IPS, message, facts, remedies, later=True)


def _owner_here(view: TunnelView, told: PeerTunnel, owner: OverlayPeer | None) -> Observation | None:
    """The peer's own key has an entry here, and the address belongs to another one, or to none."""
    entry = next((each for each in view.after.peers if each.key == told.public_key), None)
    if entry is None or (owner is not None and owner.key == entry.key):
        return None
    has = "no peer" if owner is None else f"the peer {owner.key}"
    message = f"{view.target} has the public key {entry.key}, and {view.name} gives its address {view.address} to {has}"
    # Only an entry of just this address may lose it: a wider one still holds the rest.
    exact = owner is not None and any(each.num_addresses == 1 for each in owner.addresses if view.address_in(each))
    taken_from = owner.key if owner is not None and exact else None
    remedies = advice.allow(view.after, entry, view.address, taken_from)
    counts = owner.key if owner is not None else entry.key
    return _killed(_HERE, OVERLAY_ALLOWED_IPS, message, DeathFacts(public_key=counts), remedies)


def _is_behind(view: TunnelView, told: PeerTunnel, owner: OverlayPeer) -> bool:
    """Whether the owner of its address is another machine, which hands packets on: neither end has the other's key."""
    strangers = told.public_key != owner.key and not told.knows_key
    return strangers and may_be_behind(view.after, view.address)


def _owner_behind(view: TunnelView, told: PeerTunnel, owner: OverlayPeer) -> Observation | None:
    """The peer takes this node's packets from the one that hands them on, if that one has this node's address there."""
    if told.owner is not None or not _own(view):
        return None
    message = (
        f"the tunnel of {view.target} gives this node's address {_own(view)[0]} to no peer, not even to the one that "
        f"hands packets on, as {owner.key} does for {view.name}: it drops what comes from here"
    )
    line = f"wg show {told.interface} allowed-ips   # on {view.target}: who hands packets on must have {_own(view)[0]}"
    remedies = look(line, where="peer", host=view.target, root=True)
    return _killed(_THERE, OVERLAY_ALLOWED_IPS, message, DeathFacts(public_key=owner.key), remedies)


def _keys(view: TunnelView, told: PeerTunnel, peer: OverlayPeer, own_key: str) -> Observation | None:
    code = OVERLAY_NO_HANDSHAKE if view.never else OVERLAY_HANDSHAKE_STALE
    if told.public_key != peer.key and told.public_key is not None:
        message = (
            f"{view.name} knows {view.target} by the public key {peer.key}, and its tunnel has the key "
            f"{told.public_key}"
        )
        facts = DeathFacts(public_key=told.public_key, mismatch="public key")
        return _killed(_THERE, code, message, facts, advice.renew_here(view.after, peer, told.public_key, view.target))
    if not told.knows_key:
        instead = f"; it has {told.owner} for this node's address" if told.owner is not None else ""
        message = f"the tunnel of {view.target} has no peer with this node's public key {own_key}{instead}"
        facts = DeathFacts(public_key=own_key, mismatch="public key")
        return _killed(_THERE, code, message, facts, advice.renew_there(told, own_key, _own(view), view.target))
    return None


def _owner_there(view: TunnelView, told: PeerTunnel, own_key: str) -> Observation | None:
    if told.owner == own_key or not _own(view):
        return None
    has = "no peer" if told.owner is None else f"the peer {told.owner}"
    message = (
        f"the tunnel of {view.target} gives this node's address {_own(view)[0]} to {has}, and not to this node's key "
        f"{own_key}: it drops what comes from here"
    )
    remedies = advice.allow_there(told, own_key, _own(view)[0], view.target, owner=told.owner)
    return _killed(_THERE, OVERLAY_ALLOWED_IPS, message, DeathFacts(public_key=told.owner or own_key), remedies)


def _shared(view: TunnelView, told: PeerTunnel, peer: OverlayPeer) -> Observation | None:
    if told.preshared is None or peer.preshared is None or told.preshared == peer.preshared:
        return None
    one, other = ("this node", view.target) if peer.preshared else (view.target, "this node")
    message = f"{one} has a preshared key for the tunnel to {other}, and {other} has none"
    remedies = advice.drop_preshared_key(view.after, peer, view.address, view.target, there=told.preshared)
    return _killed(_THERE, OVERLAY_PRESHARED_KEY, message, DeathFacts(mismatch="preshared key"), remedies)


def _own(view: TunnelView) -> tuple[str, ...]:
    """This node's overlay addresses, that of the target's family first."""
    wanted = ":" in view.address
    own = [str(each.ip) for each in view.after.addresses if not each.ip.is_link_local]
    return tuple(sorted(own, key=lambda each: (":" in each) != wanted))


def _killed(
    station: Station, code: Code, message: str, facts: DeathFacts, remedies: Remedies, *, later: bool = False
) -> Observation:
    death = Death(code=code, message=message, facts=facts, remedies=remedies, later=later)
    packets: PacketClass = "inner" if code is OVERLAY_ALLOWED_IPS else "handshake"
    return Observation(station=station, finding="killed", packets=packets, death=death)


def _said(found: Observation, by: str) -> Observation:
    return Observation(station=found.station, finding=found.finding, by=by, packets=found.packets, death=found.death)
