"""Which peer of a WireGuard tunnel owns an address, and whether it can be the right one: pure."""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from preflight.codes import OVERLAY_ALLOWED_IPS
from preflight.model.facts import DeathFacts
from preflight.model.overlay import OverlayPeer, OverlayState, Owners
from preflight.model.remedy import Remedies, by_hand, look
from preflight.proto.tunnel.wireguard import REJECT_AFTER_S, candidates, nobody_has
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.session_advice import allow
from preflight.proto.way.stations import Station
from preflight.proto.way.tunnel_view import TunnelView
from preflight.proto.way.words import counted

_ADDRESS, _SESSION = Station("address"), Station("session", "sender")
_MOST_ASKED = 4
LEAST_PROBE_BYTES = 104
"""What WireGuard counts for the smallest probe of a responder: 44 bytes, with UDP, IPv4 and its own part."""
MOST_TIMES = 3
_DEFAULT_LENGTHS = (0, 1)
"""Lengths of a default route, or of its two halves."""


def observe_owner(view: TunnelView) -> Observation | None:
    """The tunnel gives the address to nobody, or to a peer that cannot have it; None if its owner may be right."""
    owner = view.peer
    if owner is None:
        return _nobody(view)
    return _taken(view, owner) or _given_to_another(view, owner) or _by_default(view, owner)


def may_lack(tunnel: OverlayState, address: str, others: Iterable[str]) -> tuple[str, ...]:
    """Of the peers that may lack an address that nobody has: the first one of its family that each of them has.

    To be asked by an echo: one that answers there lacks no address.
    """
    known = (_own(peer, address) for peer in _without(tunnel, address, others))
    return tuple(own[0] for own in known if own)[:_MOST_ASKED]


def may_be(tunnel: OverlayState, address: str, heard: Iterable[str], now_unix_s: float) -> tuple[str, ...]:
    """Where the peer may be instead: at the addresses of those that are connected, without targets that have answered.

    The control host is among them, for it may be the peer. None where there are too many to ask.
    """
    connected = (
        own[0]
        for peer in _without(tunnel, address, heard)
        if (own := _own(peer, address)) and now_unix_s - (peer.last_handshake_unix_s or 0) < REJECT_AFTER_S
    )
    found = tuple(connected)
    return found if len(found) <= _MOST_ASKED else ()


def _without(tunnel: OverlayState, address: str, others: Iterable[str]) -> tuple[OverlayPeer, ...]:
    """The peers of WireGuard that none of these addresses belongs to; none where somebody has the address itself."""
    if tunnel.product != "wireguard" or Owners(tunnel.peers).of(address) is not None:
        return ()
    return candidates(tunnel, others)


def _own(peer: OverlayPeer, address: str) -> tuple[str, ...]:
    """A peer's own addresses of the family of another one."""
    version = 6 if ":" in address else 4
    return tuple(
        str(each.network_address) for each in peer.addresses if each.num_addresses == 1 and each.version == version
    )


def _nobody(view: TunnelView) -> Observation | None:
    peers = view.after.peers
    if not peers:
        return None
    lacking = candidates(view.after, view.others)
    living = [(peer, own[0]) for peer in lacking if (own := _own(peer, view.address)) and own[0] in view.living]
    if lacking and len(living) == len(lacking):
        return _not_the_address(view, living)
    remedies = by_hand(
        f"Correct the address of {view.target} in this node's settings, or add {view.address} to the AllowedIPs of the "
        f"peer that owns it, on {view.name}."
    )
    key = None
    said = nobody_has(view.after, view.address)
    if len(lacking) == 1 and _lacks(view, lacking[0]):
        key = lacking[0].key
        remedies = allow(view.after, lacking[0], view.address)
        said = f"{view.name} has no peer with {view.address} in its allowed-ips; {key} lacks it"
    return _killed(f"{said}, so it drops packets to {view.target}", key, remedies)


def _lacks(view: TunnelView, peer: OverlayPeer) -> bool:
    """Whether it has no address of the family, or none at which anyone answers: else it may lack nothing."""
    own = _own(peer, view.address)
    return not own or own[0] in view.silent


def _not_the_address(view: TunnelView, living: Sequence[tuple[OverlayPeer, str]]) -> Observation:
    """All that may be the peer answer at an address that the tunnel gives to them: what is wrong is this one.

    The only one of them that answers like a responder of this node's is the peer.
    """
    right = view.answering[0] if len(view.answering) == 1 else None
    others = " and ".join(f"{peer.key} has {own}, which answers" for peer, own in living[:_MOST_ASKED])
    wrong = f"the address of {view.target} in this node's settings is wrong"
    found = f"{wrong}: its responder answers at {right}" if right else f"{wrong}, or its peer is missing here"
    remedies = (
        by_hand(f"Give {view.target} the address {right} in this node's settings.")
        if right
        else look(f"wg show {view.name} allowed-ips   # which peer is {view.target}?", root=True)
    )
    death = Death(
        code=OVERLAY_ALLOWED_IPS,
        message=f"no peer of {view.name} has {view.address}, and {others}: {found}",
        facts=DeathFacts(address=view.address, answered_from=right),
        remedies=remedies,
        later=True,  # packets get into the tunnel, which drops them
    )
    return Observation(station=_ADDRESS, finding="killed", packets="inner", death=death)


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
    """The address belongs to a peer by a wider route only, and another peer owns none of the targets."""
    networks = [each for each in owner.addresses if view.address_in(each)]
    lacking = [each for each in candidates(view.after, view.others) if each.key != owner.key]
    exactly = any(each.num_addresses == 1 for each in networks)
    if not exactly and (sender := _sends(view, lacking)) is not None:
        return _sent_by(view, owner, sender)
    if not lacking or any(each.prefixlen not in _DEFAULT_LENGTHS for each in networks):
        return None
    message = (
        f"{view.name} sends packets for {view.address} to the peer {owner.key}, whose allowed-ips hold everything: "
        f"no other peer has the address itself"
    )
    # Which of them it is, or whether the address really is behind the owner, only the peer can say.
    remedies = look(f"wg show {view.name} allowed-ips   # which peer is {view.target}?", root=True)
    return _killed(message, owner.key, remedies, certain=False)


def _sends(view: TunnelView, lacking: Sequence[OverlayPeer]) -> OverlayPeer | None:
    """Which of these peers the target is: it says that it sent packets, and as much came from this one alone.

    WireGuard drops them then, for their source is not what it has for that peer. One that sends much more is busy with
    something else.
    """
    if view.begun is None or not view.reported_sent:
        return None
    began = {peer.key: peer.rx_bytes or 0 for peer in view.begun.peers}
    least = view.reported_sent * LEAST_PROBE_BYTES
    grown = {peer: (peer.rx_bytes or 0) - began.get(peer.key, peer.rx_bytes or 0) for peer in lacking}
    fitting = [peer for peer, number in grown.items() if number >= least]
    return fitting[0] if len(fitting) == 1 and grown[fitting[0]] <= MOST_TIMES * least else None


def _sent_by(view: TunnelView, owner: OverlayPeer, sender: OverlayPeer) -> Observation:
    message = (
        f"{view.name} sends packets for {view.address} to the peer {owner.key}, whose allowed-ips hold it with "
        f"others; the {counted(view.reported_sent, 'packet')} that {view.target} says it sent came from the peer "
        f"{sender.key}, and were dropped: {sender.key} does not have the address"
    )
    return _killed(message, owner.key, allow(view.after, sender, view.address, owner.key))


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
