"""Which end a tunnel's packets for a peer go to, where the tunnel does not say who owns what, and nothing leaves; pure.

A VXLAN learns where an address is from what comes in. Before that it asks all of its remote ends.
"""

from collections.abc import Sequence

from preflight.model.flow import Flow
from preflight.model.host_port import split_host_port
from preflight.model.overlay import OverlayState
from preflight.model.routing import Neighbour
from preflight.proto.way.flows import HANDSHAKE_BYTES
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.observe import observe_filters
from preflight.proto.way.netfilter.ruleset import FilterSnapshot

MOST_ENDS = 16


def far_ends(tunnel: OverlayState) -> tuple[Flow, ...]:
    """The tunnel's own packets to each of its remote ends, from any port; the kernel chooses the source that is not
    set.
    """
    return tuple(_flow(tunnel, peer.endpoint) for peer in tunnel.peers[:MOST_ENDS] if peer.endpoint)


def learned_end(tunnel: OverlayState, peer: Neighbour | None) -> Flow | None:
    """The tunnel's own packets to that end behind which the peer was heard; None where the tables do not say it.

    peer: what the kernel knows of the peer's address inside the tunnel.
    """
    if peer is None or peer.hardware is None:
        return None
    ends = [each.endpoint for each in tunnel.peers if peer.hardware in each.hardware and each.endpoint]
    return _flow(tunnel, ends[0]) if len(ends) == 1 else None


def _flow(tunnel: OverlayState, endpoint: str) -> Flow:
    host, port = split_host_port(endpoint)
    return Flow(source=tunnel.source or "", destination=host, destination_port=port, length_bytes=HANDSHAKE_BYTES)


def common_end(flows: Sequence[Flow], before: FilterSnapshot, after: FilterSnapshot) -> Flow | None:
    """The end that a rule of this node stops packets to: the only one, or any where one rule stops all; else None.

    flows: as they leave, with source and device. before, after: the rules around what was sent. A silent peer is at the
    end that gets nothing: what is sent to the others leaves.
    """
    rules = [_stopped_by(flow, before, after) for flow in flows]
    stopped = [flow for flow, rule in zip(flows, rules, strict=True) if rule is not None]
    return stopped[0] if len(stopped) == 1 or (len(stopped) == len(flows) and len(set(rules)) == 1) else None


def _stopped_by(flow: Flow, before: FilterSnapshot, after: FilterSnapshot) -> tuple[str | None, int | None] | None:
    said = observe_filters(before, after, (Burst(flow=flow, packets="data", outer=True),))
    deaths = (each.death for each in said if each.death is not None and each.death.certain)
    return next(((death.facts.chain, death.facts.rule_handle) for death in deaths if death.facts is not None), None)
