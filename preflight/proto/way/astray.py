"""Answers that come in by another device than the tunnel's: the peer sends them outside it. Pure.

A tap on all devices shows them, whatever the peer reports. What then drops them, a strict reverse-path filter or a
firewall, does so because of the peer's route.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.model.flow import Flow
from preflight.model.network_state import NetworkState, TunnelSide
from preflight.model.remedy import look
from preflight.model.return_path import STRICT
from preflight.model.tapped import TapPacket, Tapped
from preflight.proto.way.counters import FILTERED
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.stations import Station
from preflight.proto.way.words import counted

_WIRE, _RP = Station("wire", "receiver"), Station("rp", "receiver")
_ROUTE = Station("route")


def astray(tapped: Tapped, sent: Flow, tunnel: TunnelSide) -> tuple[TapPacket, ...]:
    """What the peer's responder sent to this node's overlay address, and came in outside the tunnel.

    sent: the burst as it goes into the tunnel. Empty where any came out of the tunnel too: the device of a VRF, or of a
    bridge, shows packets a second time.
    """
    own = tunnel.own_address(sent)
    answers = [
        packet
        for packet in tapped.packets
        if not packet.outgoing and packet.tunnel is None and packet.error is None
        if (packet.source, packet.source_port) == (sent.destination, sent.destination_port)
        if packet.destination == own
    ]
    inside = any(packet.device in tunnel.interfaces for packet in answers)
    return () if inside else tuple(answers)


def arriving_astray(sent: Flow, tunnel: TunnelSide, device: str) -> Flow | None:
    """The flow of such answers, to ask the kernel whether it lets them in."""
    own = tunnel.own_address(sent)
    return None if own is None else replace(sent, source=own, interface_out=device).answer()


def observe_astray(
    before: NetworkState,
    after: NetworkState,
    found: Sequence[TapPacket],
    sent: Flow,
    tunnel: TunnelSide,
    stopped: Observation | None = None,
) -> Iterator[Observation]:
    """Where answers outside the tunnel die: at a rule or the reverse-path filter of this node, or somewhere behind the
    peer's route.

    found: such answers (`astray`). sent: the burst, as the kernel was asked about it. stopped: by this node's rules.
    """
    if not found:
        return
    device = found[0].device
    yield Observation(
        station=_WIRE,
        finding="seen",
        direction="reverse",
        reason=f"{counted(len(found), 'packet')} of {tunnel.peer} came in by {device}, outside the tunnel",
        sent=len(found),
        seen=len(found),
    )
    if stopped is not None:
        yield _killed(stopped.station, _death(tunnel, found, f", where {stopped.reason} drops them"))
    elif _filtered(before, after, arriving_astray(sent, tunnel, device), device):
        yield _killed(_RP, _death(tunnel, found, ", where the strict reverse-path filter drops them"))
    else:
        yield _killed(_ROUTE, _death(tunnel, found, later=True))


def _killed(station: Station, death: Death) -> Observation:
    return Observation(station=station, finding="killed", direction="reverse", death=death)


def _filtered(before: NetworkState, after: NetworkState, arriving: Flow | None, device: str) -> bool:
    """Whether the reverse-path filter of the device drops them."""
    verdict = after.arrival(arriving) if arriving is not None else None
    strict = after.filters.modes.get(device) == STRICT
    moved = after.counters.since(before.counters, FILTERED) or 0
    return verdict is not None and verdict.refused and strict and moved > 0


def _death(tunnel: TunnelSide, found: Sequence[TapPacket], drops: str = "", *, later: bool = False) -> Death:
    own, device = found[0].destination, found[0].device
    return Death(
        code=codes.OVERLAY_ROUTE_LEAK,
        message=f"{tunnel.peer} sends what is for this node ({own}) outside the tunnel: {len(found)} of its packets "
        f"came in by {device}{drops}, and none by {tunnel.interface}",
        facts=DeathFacts(interface=device),
        remedies=look(f"ip rule; ip route get {own}", where="peer", host=tunnel.peer),
        later=later,
    )


def missed(each: Observation) -> bool:
    """Whether it says that answers were missed in the tunnel, or at its own packets: they never went into it."""
    return each.direction == "reverse" and each.finding == "absent"


def with_the_peers_fix(observations: Iterable[Observation]) -> tuple[Observation, ...]:
    """The same, where a peer has reported what fixes its route: that heals what was only seen from here."""
    known = tuple(observations)
    fixes = [
        each.death.remedies
        for each in known
        if _leaks(each) and each.death is not None and any(remedy.kind == "fix" for remedy in each.death.remedies)
    ]
    if not fixes:
        return known
    return tuple(
        replace(each, death=replace(each.death, remedies=fixes[0])) if _leaks(each) and each.death else each
        for each in known
    )


def _leaks(each: Observation) -> bool:
    """Whether it says that a peer's route leads outside."""
    return each.direction == "reverse" and each.death is not None and each.death.code == codes.OVERLAY_ROUTE_LEAK
