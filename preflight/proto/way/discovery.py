"""Whether this node's own rules keep it from finding the hardware address of its next hop: the station `neighbour`.

Pure. IPv6 asks for it by ICMPv6, which rules see as any other packet, and connection tracking does not: a firewall that
lets in answers only drops these. A question of this process's own passes no rule, so that an answer to it, and none to
the kernel, shows that something on this node stops the kernel's.
"""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.model.flow import Flow
from preflight.model.network_state import NetworkState, TunnelSide
from preflight.model.remedy import look
from preflight.model.routing import Asked
from preflight.proto.way.neighbours import NEIGHBOUR, next_hop
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.observe import observe_filters
from preflight.proto.way.netfilter.ruleset import FilterSnapshot
from preflight.proto.way.observation import Death, Observation

_UNHEARD = ("incomplete", "failed")
_SOLICITED = int(IPv6Address("ff02::1:ff00:0"))
"""The group of those whose address ends as the one that is looked for (RFC 4291 section 2.7.1)."""
_OWN_BITS = 0xFFFFFF
_BYTES = 72


Rules = tuple[FilterSnapshot, FilterSnapshot]
"""This node's rules before and after the burst."""


def observe_discovery(
    state: NetworkState, flow: Flow | None, tunnel: TunnelSide, asked: Asked | None, rules: Rules
) -> Iterator[Observation]:
    """What stops the kernel's question for its next hop, or the answer, where that hop answers this process.

    flow: the tunnel's own packets. asked: who answered this process just now.
    """
    hop = next_hop(state, flow, tunnel)
    if flow is None or hop is None or asked is None or len(asked.hardware) != 1:
        return
    known = state.neighbour(*hop)
    if known is None or known.state not in _UNHEARD:
        return
    device, address = hop
    said = f"{address}, to which {tunnel.interface} sends by {device}, answers this process and not the kernel"
    death = _by_a_rule(flow, hop, rules) if ":" in address else None
    if death is None:
        what = "ICMPv6 (types 135 and 136)" if ":" in address else "ARP"
        death = Death(
            code=codes.HOST_FIREWALL_DROP,
            message=f"a rule for {what} may do that",
            facts=DeathFacts(neighbour=address, interface=device),
            remedies=look("nft -a list ruleset; arptables-save -c; tc filter show ingress", root=True),
            certain=False,
        )
    yield Observation(station=NEIGHBOUR, finding="killed", death=replace(death, message=f"{said}: {death.message}"))


def _by_a_rule(flow: Flow, hop: tuple[str, str], rules: Rules) -> Death | None:
    device, address = hop
    group = str(IPv6Address(_SOLICITED | int(IPv6Address(address)) & _OWN_BITS))
    question = Flow(
        source=flow.source,
        destination=group,
        protocol="icmp",
        echo="solicit",
        length_bytes=_BYTES,
        interface_out=device,
    )
    answer = replace(question.answer(), source=address)
    bursts = (Burst(flow=question, outer=True), Burst(flow=answer, direction="reverse", outer=True))
    said = observe_filters(*rules, bursts)
    found = next((each.death for each in said if each.death is not None and each.death.certain), None)
    if found is None or found.facts is None:
        return None
    return replace(found, facts=replace(found.facts, neighbour=address, interface=device), later=False)
