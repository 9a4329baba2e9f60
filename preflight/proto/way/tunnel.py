"""All that a tap and the tunnel's own state say of one burst, for every product: pure."""

from collections.abc import Collection, Iterable
from dataclasses import replace

from preflight.codes import (
    OVERLAY_ALLOWED_IPS,
    OVERLAY_ENDPOINT_ANSWERS_ELSEWHERE,
    OVERLAY_ENDPOINT_HAIRPIN,
    OVERLAY_PRESHARED_KEY,
    REACH_UNREACHABLE,
)
from preflight.model.facts import DeathFacts
from preflight.model.fix import ForwardingEntry
from preflight.model.host_port import join_host_port
from preflight.model.peer_tunnel import PeerTunnel
from preflight.model.remedy import Remedies, heal, look
from preflight.model.tapped import TapPacket
from preflight.proto.way.configured_end import observe_configured_end
from preflight.proto.way.empty_packet import observe_empty
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.own_policy import observe_policy
from preflight.proto.way.owners import observe_owner
from preflight.proto.way.ports import observe_port
from preflight.proto.way.refusals import observe_refusals
from preflight.proto.way.session import observe_its_session, observe_session
from preflight.proto.way.session_advice import answer_from_endpoint
from preflight.proto.way.stations import Station
from preflight.proto.way.told import observe_told
from preflight.proto.way.tunnel_view import TunnelView, inside, messages, on_the_wire
from preflight.proto.way.wire import WIRE_IN, WIRE_OUT, observe_wire

_HERE_OUT, _HERE_IN = Station("session", "sender"), Station("session", "receiver")
_LEAST = 2
Seen = tuple[Observation, ...]


def observe_tunnel(view: TunnelView, report: PeerTunnel | None = None, by: str = "") -> tuple[Observation, ...]:
    """Observations of `tunnel`, `session`, `wire`, `socket-outer` and `network` for one burst to a peer.

    report: what the peer's responder says of its own tunnel, by: how that came. Take the view's `before`, open the tap,
    send the burst, wait for answers, read `after`, and close the tap: the tap must be open for all of it.
    """
    word = observe_told(view, report, by) if report is not None else ()
    session = observe_session(view)
    wire = observe_wire(view)
    if view.product == "wireguard" and not view.after.unreadable and observe_owner(view) is not None:
        # What leaves is for another peer, so it says nothing of the way to this one.
        wire = tuple(each for each in wire if each.station not in (WIRE_OUT, WIRE_IN))
    # The peer's calls may be accepted anyway: the preshared key is in the answers only.
    not_accepted = {(each.station, each.direction) for each in session if _is_preshared(each)}
    wire = tuple(each for each in wire if (each.station, each.direction) not in not_accepted)
    if word:
        # The peer itself says which one of them it is.
        session = tuple(each for each in session if not _names_nobody(each))
    return (
        *wire,
        *observe_empty(view, on_the_wire(view)),
        *observe_port(view),
        *observe_policy(view),
        *_at_the_end(observe_refusals(view), observe_configured_end(view)),
        *session,
        *observe_its_session(view),
        *word,
        *_wrong_end(view),
        *_elsewhere(view),
    )


def _at_the_end(refusals: Seen, configured: Seen) -> Seen:
    """What refuses at the endpoint, and that the tunnel's file has another one: heals where the own router refuses."""
    hairpin = next(
        (each.death for each in refusals if each.death and each.death.code is OVERLAY_ENDPOINT_HAIRPIN), None
    )
    written = next((each.death.remedies for each in configured if each.death), ())
    if hairpin is None or not written:
        return (*refusals, *configured)
    healing = replace(hairpin, remedies=written)
    return tuple(replace(each, death=healing) if each.death is hairpin else each for each in refusals)


def _is_preshared(each: Observation) -> bool:
    return each.death is not None and each.death.code is OVERLAY_PRESHARED_KEY


def _names_nobody(each: Observation) -> bool:
    """Whether it says that no peer of the tunnel has the address, and not which one lacks it."""
    return each.death is not None and each.death.code is OVERLAY_ALLOWED_IPS and each.death.facts == DeathFacts()


def mirrored(observations: tuple[Observation, ...], by: str) -> tuple[Observation, ...]:
    """What a peer observed with this node as its target, as observations of this node's ways to the peer."""
    return tuple(
        Observation(
            station=each.station,
            finding=each.finding,
            direction="reverse" if each.direction == "forward" else "forward",
            by=by,
            reason=each.reason,
            packets=each.packets,
            sent=each.sent,
            seen=each.seen,
            death=each.death,
        )
        for each in observations
    )


def _wrong_end(view: TunnelView) -> tuple[Observation, ...]:
    """VXLAN shows addresses: packets for the peer go to one remote end, and the peer's own come from another."""
    if view.product != "vxlan" or view.burst.answered:
        return ()
    wire = on_the_wire(view)
    to = {each.remote for each in wire.out if each.tunnel and each.tunnel.inner_destination == view.address}
    origins = {each.source for each in wire.into if each.tunnel and each.tunnel.inner_source == view.address}
    if len(to) != 1 or not origins or {address for address, _ in to} & origins:
        return ()
    (address, port), origin = next(iter(to)), min(origins)
    endpoint = join_host_port(address, port or 0)
    message = (
        f"{view.name} sends what is for {view.target} to {endpoint}, and the packets of {view.target} come from "
        f"{', '.join(sorted(origins))}"
    )
    death = Death(
        code=REACH_UNREACHABLE,
        message=message,
        facts=DeathFacts(endpoint=endpoint, answered_from=origin),
        later=True,
        remedies=_right_end(view, wire.out, origins)
        or look(f"bridge fdb show dev {view.name}   # which entry has dst {address}?", root=True),
    )
    return (Observation(station=_HERE_OUT, finding="killed", packets="inner", sent=len(wire.out), death=death),)


def _right_end(view: TunnelView, out: Iterable[TapPacket], origins: Collection[str]) -> Remedies:
    """The entry of the peer's machine with the one host that its packets come from."""
    sent = {each.tunnel.inner_hardware for each in out if each.tunnel and each.tunnel.inner_destination == view.address}
    known = [hardware for hardware in sent if hardware is not None]
    if len(known) != 1 or len(origins) != 1:
        return ()
    return heal(
        lambda: ForwardingEntry(interface=view.name, hardware=known[0], address=min(origins)),
        lasting="correct the entry in what makes this tunnel",
    )


def _elsewhere(view: TunnelView) -> tuple[Observation, ...]:
    """OpenVPN takes packets of its one remote end only: what comes from another address it drops."""
    if view.product != "openvpn" or view.burst.answered or inside(view, outgoing=False):
        return ()
    wire = on_the_wire(view)
    others = [each for each in wire.elsewhere if each.local[1] in {own.local[1] for own in wire.out}]
    count = messages(others, "data", "control", "response")
    if count < _LEAST or wire.into or not others:
        return ()
    origin = others[0].source
    message = (
        f"{count} packets of the tunnel come from {origin}, and not from the endpoint {view.endpoint} to which "
        f"{view.name} sends: OpenVPN drops them"
    )
    death = Death(
        code=OVERLAY_ENDPOINT_ANSWERS_ELSEWHERE,
        message=message,
        facts=DeathFacts(answered_from=origin, endpoint=view.endpoint),
        remedies=answer_from_endpoint(view.target, view.endpoint),
    )
    return (Observation(station=_HERE_IN, finding="killed", direction="reverse", packets="inner", death=death),)
