"""Which peer of a WireGuard tunnel owns an address, and whether it can be the right one: pure."""

from ipaddress import ip_address

from preflight.codes import OVERLAY_ALLOWED_IPS
from preflight.model.facts import DeathFacts
from preflight.model.overlay import OverlayPeer
from preflight.model.remedy import Remedies, by_hand, look
from preflight.proto.tunnel.wireguard import REJECT_AFTER_S, candidates, nobody_has
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.session_advice import allow
from preflight.proto.way.stations import Station
from preflight.proto.way.tunnel_view import TunnelView

_SESSION = Station("session", "sender")
_DEFAULT_LENGTHS = (0, 1)
"""Lengths of a default route, or of its two halves."""


def observe_owner(view: TunnelView) -> Observation | None:
    """The tunnel gives the address to nobody, or to a peer that cannot have it; None if its owner may be right."""
    owner = view.peer
    if owner is None:
        return _nobody(view)
    return _taken(view, owner) or _given_to_another(view, owner) or _by_default(view, owner)


def _nobody(view: TunnelView) -> Observation | None:
    peers = view.after.peers
    if not peers:
        return None
    lacking = candidates(view.after, view.others)
    remedies = by_hand(f"Add {view.address} to the AllowedIPs of the peer that owns it, on {view.name}.")
    key = None
    said = nobody_has(view.after, view.address)
    if len(lacking) == 1:
        key = lacking[0].key
        remedies = allow(view.after, lacking[0], view.address)
        said = f"{view.name} has no peer with {view.address} in its allowed-ips; {key} lacks it"
    return _killed(f"{said}, so it drops packets to {view.target}", key, remedies)


def _taken(view: TunnelView, owner: OverlayPeer) -> Observation | None:
    """A peer that never connected has the address, and one that lives, or has it in the file too, has no address."""
    if owner.last_handshake_unix_s or owner.rx_bytes:
        return None
    robbed = [peer for peer in view.after.peers if not peer.addresses and (peer.endpoint or peer.rx_bytes)]
    if len(robbed) != 1:
        return None
    if (file := _claimed_twice(view, owner, robbed[0])) is not None:
        return _two_claims(view, owner, robbed[0], file)
    if owner.endpoint is not None:
        return None
    message = (
        f"{view.name} gives {view.address} to the peer {owner.key}, which has no endpoint and never connected; the "
        f"peer {robbed[0].key} at {robbed[0].endpoint} has no address left"
    )
    return _killed(message, owner.key, allow(view.after, robbed[0], view.address, owner.key))


def _given_to_another(view: TunnelView, owner: OverlayPeer) -> Observation | None:
    """A peer with a session has no address, and another target's peer, or one for everything, has this one."""
    everything = any(each.prefixlen in _DEFAULT_LENGTHS for each in owner.addresses)
    of_others = any(ip_address(each) in network for each in view.others for network in owner.addresses)
    if not everything and not of_others:
        return None
    robbed = [each for each in view.after.peers if not each.addresses and _has_session(view, each)]
    if len(robbed) != 1:
        return None
    message = (
        f"{view.name} sends packets for {view.address} to the peer at {owner.endpoint}, "
        f"{'whose allowed-ips hold everything' if everything else 'which has the address of another target'}; the peer "
        f"at {robbed[0].endpoint} has a session and no address: WireGuard gives an address to the last entry that "
        "names it, and to the narrowest"
    )
    return _killed(message, owner.key, allow(view.after, robbed[0], view.address, owner.key))


def _has_session(view: TunnelView, peer: OverlayPeer) -> bool:
    return view.read_ns / 1e9 - (peer.last_handshake_unix_s or 0.0) <= REJECT_AFTER_S


def _claimed_twice(view: TunnelView, owner: OverlayPeer, robbed: OverlayPeer) -> str | None:
    """The configuration file, if it gives the address to both of two peers."""
    file = view.after.configured
    if file is None:
        return None
    claiming = {peer.key for peer in file.peers if any(map(view.address_in, peer.addresses))}
    return file.path if {owner.key, robbed.key} <= claiming else None


def _two_claims(view: TunnelView, owner: OverlayPeer, robbed: OverlayPeer, file: str) -> Observation:
    """Only a session shows that the other one is the right one: only then is its entry changed."""
    message = (
        f"{file} gives {view.address} to two peers, and WireGuard to the last of them, {owner.key}, which never "
        f"connected; the peer {robbed.key} at {robbed.endpoint} has no address left"
    )
    lives = bool(robbed.last_handshake_unix_s)
    by_person = by_hand(f"Keep {view.address} in the AllowedIPs of one peer in {file}, and start {view.name} again.")
    return _killed(message, owner.key, allow(view.after, robbed, view.address, owner.key) if lives else by_person)


def _by_default(view: TunnelView, owner: OverlayPeer) -> Observation | None:
    """The address belongs to a peer by its default route only, and another peer owns none of the targets."""
    networks = [each for each in owner.addresses if view.address_in(each)]
    if any(each.prefixlen not in _DEFAULT_LENGTHS for each in networks):
        return None
    lacking = [each for each in candidates(view.after, view.others) if each.key != owner.key]
    if not lacking:
        return None
    message = (
        f"{view.name} sends packets for {view.address} to the peer {owner.key}, whose allowed-ips hold everything: "
        f"no other peer has the address itself"
    )
    # Which of them it is, or whether the address really is behind the owner, only the peer can say.
    remedies = look(f"wg show {view.name} allowed-ips   # which peer is {view.target}?", root=True)
    return _killed(message, owner.key, remedies, certain=False)


def _killed(message: str, key: str | None, remedies: Remedies, *, certain: bool = True) -> Observation:
    death = Death(
        code=OVERLAY_ALLOWED_IPS,
        message=message,
        facts=DeathFacts(public_key=key),
        remedies=remedies,
        certain=certain,
        later=True,  # an owner may get it, and nobody answers
    )
    return Observation(station=_SESSION, finding="killed", packets="inner", death=death)
