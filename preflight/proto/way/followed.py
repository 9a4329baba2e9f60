"""Where a tunnel has followed its peer to an address at which nobody is: pure."""

from collections.abc import Iterable
from dataclasses import replace

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.remedy import Remedies, look
from preflight.proto.way.observation import Observation
from preflight.proto.way.stations import Station

_NETWORK = Station("network", "network")
_REWRITES = Station("post-out", "sender")
_COMES_BACK = ("session", "tunnel", "prerouting", "rp", "input", "socket")
"""Stations of this node that only answers come to."""


def heard(said: Iterable[Observation]) -> bool:
    """Whether anything of the peer came through the tunnel: then it is not silent, whatever dies."""
    return any(
        each.finding == "seen"
        and each.direction == "reverse"
        and each.packets in ("inner", "data")
        and each.station.host == "receiver"
        and each.station.id in _COMES_BACK
        for each in said
    )


def with_rewriting(said: Iterable[Observation]) -> tuple[Observation, ...]:
    """The same, where this node's tunnel refuses the peer's source, and the peer has found its rule that gives it.

    The packets pass that rule and die here, so its word would not count: the rule is the cause of the refusal.
    """
    known = tuple(said)
    if not any(_refuses_source(each) for each in known):
        return known
    return tuple(
        replace(each, death=replace(each.death, later=True)) if each.death is not None and _rewrites(each) else each
        for each in known
    )


def _refuses_source(each: Observation) -> bool:
    death = each.death
    return death is not None and death.code == codes.OVERLAY_WRONG_SOURCE and each.direction == "reverse"


def _rewrites(each: Observation) -> bool:
    return each.finding == "killed" and each.direction == "reverse" and each.station == _REWRITES


def with_origin(
    observations: Iterable[Observation], tunnel: OverlayState, address: str, target: str
) -> tuple[Observation, ...]:
    """The same, where packets come from a place to which nothing gets: their source is not the peer's own.

    WireGuard sends to where the peer's last packet came from. A router that cannot find that host shows that the
    address is one that something has written into the peer's packets.
    """
    known, owner = tuple(observations), tunnel.peer_for(address)
    if tunnel.product != "wireguard" or owner is None or not owner.endpoint_address or not heard(known):
        return known
    return tuple(_rewritten(each, owner, target) for each in known)


def _rewritten(each: Observation, owner: OverlayPeer, target: str) -> Observation:
    """A router's word that the endpoint's host is not there, with the source of what comes."""
    death = each.death
    if death is None or each.station != _NETWORK or death.code is not codes.REACH_UNREACHABLE:
        return each
    facts = replace(death.facts or DeathFacts(), answered_from=owner.endpoint_address, endpoint=owner.endpoint)
    message = (
        f"{death.message}, and what comes from {target} has that source: something on {target} or on the way rewrites "
        "it to an address that nobody has"
    )
    remedies = _look(target)
    return replace(
        each, death=replace(death, code=codes.REACH_NO_FORWARD, message=message, facts=facts, remedies=remedies)
    )


def _look(target: str) -> Remedies:
    return look("nft list ruleset | grep -nE 'snat|masquerade'", where="peer", host=target, root=True)
