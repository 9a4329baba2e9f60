"""WireGuard's session with the peer, judged by its own state and by what can be read on the wire without keys: pure.

Its counters count what it authenticated and nothing else. Who has the other's public key, and who has not, shows in the
first MAC of a handshake; the index in an answer shows which question it answers.
"""

from collections.abc import Callable, Iterator
from typing import Final

from preflight.codes import (
    OVERLAY_ENDPOINT_ANSWERS_ELSEWHERE,
    OVERLAY_HANDSHAKE_STALE,
    OVERLAY_NO_HANDSHAKE,
    OVERLAY_PRESHARED_KEY,
    OVERLAY_WRONG_SOURCE,
    Code,
)
from preflight.model.facts import DeathFacts
from preflight.model.host_port import join_host_port
from preflight.model.overlay import OverlayPeer
from preflight.model.remedy import Remedies, by_hand, look
from preflight.model.tapped import TapPacket
from preflight.proto.tunnel.advice import give_endpoint
from preflight.proto.way import session_advice as advice
from preflight.proto.way.observation import Death, Observation, PacketClass
from preflight.proto.way.owners import observe_owner
from preflight.proto.way.patience import crossed
from preflight.proto.way.stations import Station
from preflight.proto.way.tunnel_view import OnTheWire, TunnelView, inside, messages, on_the_wire, settled

HERE_OUT, HERE_IN = Station("session", "sender"), Station("session", "receiver")
"""This node's own session: where packets leave, and where those of the peer come in."""
THERE = Station("session", "receiver")
"""The peer's session, on the way to it."""
THEIRS_OUT = Station("session", "sender")
"""The same on the way back: what the peer sends enters it there."""
_SHAKES: Final = ("initiation", "response", "cookie")
_LEAST_SHARE = 2
INITIATION_BYTES: Final = 148
ANSWERED_NS: Final = 1_000_000_000
"""What the peer would answer has come by then."""


def observe_session(view: TunnelView) -> tuple[Observation, ...]:
    """What kills the burst in the session of either end; empty where that cannot be known from here.

    Only for WireGuard, and only where the burst was not answered. Silence after an initiation is never explained: the
    peer's key, its clock and the path look the same from here.
    """
    if view.product != "wireguard" or view.after.unreadable or view.burst.answered:
        return ()
    peer = view.peer
    owner = observe_owner(view)
    if owner is not None:
        return (owner,)
    if peer is None or view.tapped.blind is not None:
        return ()
    wire = on_the_wire(view)
    found = (rule(view, peer, wire) for rule in _RULES)
    known = tuple(each for each in found if each is not None and (view.filters_read or not _of_arrivals(each)))
    return known[:1] or tuple(_hears_nothing(view, wire))


def observe_its_session(view: TunnelView) -> tuple[Observation, ...]:
    """That WireGuard at the peer has nothing to encrypt with, so that it sends nothing, even when it is asked.

    No session is alive, or this node began it and its first data never came there: the one that answers a handshake may
    use the session only after data of the other side (WireGuard paper, section 5.4.6).
    """
    known = view.product == "wireguard" and not view.after.unreadable and not view.burst.answered
    if not known or view.peer is None or (view.alive and not view.only_handshakes):
        return ()
    reason = f"{view.target} has no session to send with"
    if view.alive:
        reason = f"{view.target} may not send before something of {view.name} has come there, and has sent no data yet"
    return (Observation(station=THEIRS_OUT, finding="blind", direction="reverse", reason=reason),)


def _of_arrivals(observation: Observation) -> bool:
    """Whether it is about what a tap saw come in: a firewall that nobody could read lies before the session."""
    return observation.direction == "reverse"


def _no_endpoint(view: TunnelView, peer: OverlayPeer, wire: OnTheWire) -> Observation | None:
    if view.endpoints:
        return None
    ever = "and the peer has not connected" if view.never else "and it lost the one that it had"
    message = f"{view.name} has no endpoint for {view.target} (peer {peer.key}), {ever}"
    return _here_out(_code(view), message, DeathFacts(public_key=peer.key), give_endpoint(view.name, peer))


def _preshared(view: TunnelView, peer: OverlayPeer, wire: OnTheWire) -> Observation | None:
    """Answers to this node's own questions come in, and WireGuard does not count them.

    The peer could read the question, so it has this node's public key and this node has its. An answer is made with the
    preshared key too, and nothing else in it can be wrong. A node under load asks for a cookie first, which shows.
    """
    answers = [each for each in settled(view, wire.into) if _answers_us(each, wire) and not _crossed(each, wire)]
    # The peer's own calls are accepted and counted: a preshared key is only in the answer.
    calls = sum(_is(each, "initiation") for each in (*wire.into, *wire.elsewhere))
    accepted = view.received > calls * INITIATION_BYTES
    if not answers or accepted or view.shook_hands or messages(wire.out, "cookie"):
        return None
    own = {True: "this node has one for it", False: "this node has none for it, so the peer has one"}
    known = own.get(bool(peer.preshared)) if peer.preshared is not None else "it is on one side only, or differs"
    message = (
        f"{view.target} answers the handshake from {view.endpoint} ({len(answers)} of 92 bytes), and {view.name} "
        f"accepts none although the public keys fit: the preshared key is on one side only, or is another ({known})"
    )
    return _here_in(
        OVERLAY_PRESHARED_KEY,
        message,
        DeathFacts(mismatch="preshared key", public_key=peer.key),
        advice.drop_preshared_key(view.after, peer, view.address, view.target),
    )


def _answers_us(packet: TapPacket, wire: OnTheWire) -> bool:
    """Whether a packet is the answer to an initiation that left during the burst."""
    tunnel = packet.tunnel
    if tunnel is None or tunnel.kind != "response" or tunnel.greets is False:
        return False
    return _question(packet, wire) is not None


def _question(answer: TapPacket, wire: OnTheWire) -> TapPacket | None:
    """The initiation of this node that an answer is to."""
    index = answer.tunnel.receiver if answer.tunnel is not None else None
    asked = (each for each in wire.out if _is(each, "initiation") and each.received_ns <= answer.received_ns)
    return next((each for each in asked if each.tunnel is not None and each.tunnel.sender == index), None)


def _crossed(answer: TapPacket, wire: OnTheWire) -> bool:
    """Whether the peer called between a question and its answer, which proves nothing then."""
    question = _question(answer, wire)
    return question is not None and crossed(question, (*wire.into, *wire.elsewhere))


def _elsewhere(view: TunnelView, peer: OverlayPeer, wire: OnTheWire) -> Observation | None:
    """Answers to this node's own questions come from another address, and are not accepted.

    WireGuard itself would take them, and follow: something before it lets only the endpoint in.
    """
    answers = [each for each in settled(view, wire.elsewhere) if _answers_us(each, wire)]
    if not answers or view.received or view.shook_hands:
        return None
    origin = answers[0].source
    message = (
        f"the answers of {view.target} come from {origin}, and not from its endpoint {view.endpoint}; nothing of them "
        f"gets to {view.name}"
    )
    remedies = advice.answer_from_endpoint(view.target, view.endpoint)
    facts = DeathFacts(answered_from=origin, endpoint=view.endpoint)
    return _here_in(OVERLAY_ENDPOINT_ANSWERS_ELSEWHERE, message, facts, remedies, certain=False)


def _calls_unanswered(view: TunnelView, peer: OverlayPeer, wire: OnTheWire) -> Observation | None:
    """The peer's initiations come in and get no answer: this tunnel does not know the key, or the peer has an old one.

    Its own clock may also have gone back, where the peer has a key that fits.
    """
    calls = [each for each in settled(view, (*wire.into, *wire.elsewhere)) if _is(each, "initiation")]
    if not calls or view.received or messages(wire.out, "response", "cookie"):
        return None
    call = calls[0]
    ours = call.remote in view.endpoints
    origin = join_host_port(call.source, call.source_port or 0)
    greets = call.tunnel.greets if call.tunnel else None
    own_key = view.after.public_key
    if ours and greets is False and own_key is not None:
        message = (
            f"{view.target} calls from {origin} with another public key for this node than its own, {own_key}, so "
            f"{view.name} does not answer"
        )
        if view.alive:
            message += f", and {view.target} had the right one at the last handshake: it may have two entries"
        remedies = by_hand(f"On {view.target}, give the peer entry of this node the key {own_key}.", where="peer")
        facts = DeathFacts(public_key=own_key, mismatch="public key")
        return _here_in(_code(view), message, facts, remedies, certain=not view.alive)
    if not ours or greets is not True:
        return None
    message = (
        f"{view.target} calls from {origin} and has this node's public key, and {view.name} does not accept the call: "
        f"the key of {view.target} is not {peer.key} any more, or its clock went back"
    )
    remedies = look(
        f"wg show all public-key   # on {view.target}: is it {peer.key}?",
        f"date -u   # here and on {view.target}: do the clocks agree?",
        where="peer",
        host=view.target,
    )
    facts = DeathFacts(public_key=peer.key, mismatch="public key")
    return _here_in(_code(view), message, facts, remedies, certain=False)


def _not_accepted(view: TunnelView, peer: OverlayPeer, wire: OnTheWire) -> Observation | None:
    """Data of the peer with the length of the answers is authenticated, and none of it comes out of the tunnel.

    wireguard-go counts such bytes at the peer, the kernel counts frame errors of the device.
    """
    arrived = settled(view, wire.into)
    count = messages(arrived, "data", carrying=view.burst.answer_length)
    enough = count >= max(2, view.burst.sent // _LEAST_SHARE)
    accounted = view.frame_errors >= count or view.received >= count * view.burst.answer_length
    if not enough or not accounted or inside(view, outgoing=False) or not view.tapped.complete:
        return None
    message = (
        f"{count} packets of {view.target} come in from {view.endpoint}, are decrypted, and do not come out of "
        f"{view.name}: their source is not {view.address}, nor any that {view.name} takes from {peer.key}"
    )
    remedies = look(
        f"ip route get {_own(view)}   # its src must be {view.address}",
        "nft list ruleset; iptables-save -t nat   # does a rule translate what enters the tunnel?",
        where="peer",
        host=view.target,
        root=True,
    )
    facts = DeathFacts(public_key=peer.key, address=view.address)
    return _here_in(OVERLAY_WRONG_SOURCE, message, facts, remedies, packets="data")


def _wrong_source(view: TunnelView, peer: OverlayPeer, wire: OnTheWire) -> Observation | None:
    """The burst enters the tunnel with an address that the tunnel does not have: the peer's tunnel drops it.

    It may list a network behind this node, so this is likely and not proven.
    """
    out = inside(view, outgoing=True)
    own = {str(each.ip) for each in view.after.addresses}
    strange = next((each.source for each in out if each.source not in own), None)
    if not own or strange is None:
        return None
    rewritten = strange != view.burst.flow.source
    how = f"something on this node rewrote {view.burst.flow.source} to it" if rewritten else "the route chose it"
    message = (
        f"packets to {view.target} enter {view.name} with the source {strange}, which is not one of its addresses "
        f"({', '.join(sorted(own))}): {how}, and the peer's tunnel takes only what its allowed-ips list"
    )
    death = Death(
        code=OVERLAY_WRONG_SOURCE,
        message=message,
        facts=DeathFacts(source=strange, interface=view.after.interface),
        remedies=look(f"ip route get {view.address}   # its src must be {min(own)}"),
        certain=False,
    )
    return Observation(station=THERE, finding="killed", packets="inner", sent=view.burst.sent, death=death)


_RULES: tuple[Callable[[TunnelView, OverlayPeer, OnTheWire], Observation | None], ...] = (
    _calls_unanswered,
    _no_endpoint,
    _preshared,
    _elsewhere,
    _not_accepted,
    _wrong_source,
)


def _hears_nothing(view: TunnelView, wire: OnTheWire) -> Iterator[Observation]:
    """The peer runs and its keys fit, and nothing of this node gets to its session.

    Its calls are accepted and answered, and this node's own ones bring nothing back: with another preshared key the
    peer would answer them.
    """
    peer = view.peer
    if peer is None or view.shook_hands or view.alive or messages(wire.into, "response", "cookie"):
        return
    heard = view.received or (view.never and peer.rx_bytes)
    asked = [each for each in wire.out if _is(each, "initiation") and each.received_ns <= view.read_ns - ANSWERED_NS]
    if heard and asked:
        yield Observation(
            station=THERE,
            finding="absent",
            reason=f"{view.target} calls and its keys fit, and it does not answer {view.name}: what leaves here for "
            f"{view.endpoint} does not get through",
            packets="handshake",
            sent=len(asked),
        )


def _is(packet: TapPacket, kind: str) -> bool:
    return packet.tunnel is not None and packet.tunnel.kind == kind


def _own(view: TunnelView) -> str:
    same = (str(each.ip) for each in view.after.addresses if (":" in str(each.ip)) == (":" in view.address))
    return next(same, "this node's address")


def _code(view: TunnelView) -> Code:
    return OVERLAY_NO_HANDSHAKE if view.never else OVERLAY_HANDSHAKE_STALE


def _here_out(code: Code, message: str, facts: DeathFacts, remedies: Remedies) -> Observation:
    death = Death(code=code, message=message, facts=facts, remedies=remedies)
    return Observation(station=HERE_OUT, finding="killed", packets="inner", death=death)


def _here_in(
    code: Code,
    message: str,
    facts: DeathFacts,
    remedies: Remedies,
    *,
    packets: PacketClass = "handshake",
    certain: bool = True,
) -> Observation:
    death = Death(code=code, message=message, facts=facts, remedies=remedies, certain=certain)
    return Observation(station=HERE_IN, finding="killed", direction="reverse", packets=packets, death=death)
