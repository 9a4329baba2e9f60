"""Who sends ICMP errors about a tunnel's own packets, in words, and which stations that settles.

Pure. Anyone may send an error, so only one counts whose quote has the tunnel's addresses and ports. Linux sends about
six to one destination and then one each second, so their number says nothing.
"""

from collections.abc import Sequence
from typing import Literal

from preflight import codes
from preflight.codes import Code
from preflight.model.facts import DeathFacts
from preflight.model.network_state import NetworkState, TunnelSide
from preflight.model.outer_error import OuterError
from preflight.model.remedy import Remedies, look
from preflight.model.routing import Lookup, same_address
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.stations import Station

Offender = Literal["this node", "own gateway", "endpoint", "router"]
NETWORK, NEIGHBOUR, FILTER = Station("network", "network"), Station("neighbour"), Station("filter-outer")


def whose(error: OuterError, state: NetworkState, lookup: Lookup | None) -> Offender:
    """Who the offender is, for this node."""
    if any(link.has(error.offender) for link in state.links):
        return "this node"
    # A gateway may answer from another of its addresses, which nobody can know here.
    if lookup is not None and same_address(error.offender, lookup.gateway):
        return "own gateway"
    return "endpoint" if same_address(error.offender, error.destination) else "router"


def in_words(error: OuterError, who: Offender) -> str:
    """One clause that names the offender."""
    known = {
        "this node": f"this node itself ({error.offender})",
        "own gateway": f"this node's own gateway {error.offender}",
        "endpoint": f"the endpoint's host {error.offender}",
        "router": f"{error.offender}, a router on the way,",
    }
    return f"{known[who]} answers: {error.meaning}"


def observe_errors(
    errors: Sequence[OuterError], state: NetworkState, lookup: Lookup | None, tunnel: TunnelSide
) -> tuple[Observation, ...]:
    """What errors about the tunnel's packets settle, at most one observation for each offender.

    errors: from `OuterErrors.taken` after the burst. lookup: what the kernel said of the tunnel's packets. An error of
    this node itself is its own firewall's reject, or a neighbour that did not answer for 3.1 s. What the endpoint's
    host refuses is a matter of its port, and is judged with the session.
    """
    found: dict[str, Observation] = {}
    for error in errors:
        if not error.too_big and not error.expired and error.offender not in found:
            observation = _observe(error, whose(error, state, lookup), lookup, tunnel)
            if observation is not None:
                found[error.offender] = observation
    return tuple(found.values())


def _observe(error: OuterError, who: Offender, lookup: Lookup | None, tunnel: TunnelSide) -> Observation | None:
    if who == "endpoint":
        return None
    if who == "this node":
        return _own_neighbour(error, lookup, tunnel) if error.unreachable else _own_filter(error, tunnel)
    return _killed(
        NETWORK,
        codes.REACH_NO_FORWARD,
        f"the packets of {tunnel.interface} to {tunnel.endpoint} are refused: {in_words(error, who)}",
        DeathFacts(offender=error.offender, endpoint=tunnel.endpoint),
        look(f"traceroute -U -p {error.destination_port} {error.destination}", root=True),
    )


def _own_neighbour(error: OuterError, lookup: Lookup | None, tunnel: TunnelSide) -> Observation:
    gateway, device = (lookup.gateway, lookup.interface) if lookup else (None, None)
    code = codes.HOST_GATEWAY_DEAD if gateway else codes.REACH_NO_FORWARD
    silent = gateway or error.destination
    return _killed(
        NEIGHBOUR,
        code,
        f"{silent}, to which the packets of {tunnel.interface} go, did not answer this node's question for its "
        "hardware address: this node's kernel gave up on them",
        DeathFacts(gateway=gateway, neighbour=silent, interface=device, offender=error.offender),
        look(f"ip neighbour show to {silent}"),
    )


def _own_filter(error: OuterError, tunnel: TunnelSide) -> Observation:
    """A reject of this node's own rules; which one is for the observer of rules to say."""
    return _killed(
        FILTER,
        codes.HOST_FIREWALL_DROP,
        f"a rule of this node's own firewall rejects the packets of {tunnel.interface} to {tunnel.endpoint} "
        f"({error.meaning})",
        DeathFacts(offender=error.offender, endpoint=tunnel.endpoint),
        look("nft -a list ruleset", root=True),
        certain=False,
    )


def _killed(
    station: Station, code: Code, message: str, facts: DeathFacts, remedies: Remedies, *, certain: bool = True
) -> Observation:
    death = Death(code=code, message=message, facts=facts, remedies=remedies, certain=certain)
    return Observation(station=station, finding="killed", packets="data", death=death)
