"""What this node's own firewall does to packets for a peer, asked without sending any: it only reads."""

import os
from collections.abc import Mapping
from dataclasses import replace

from preflight.model.flow import Flow
from preflight.model.kernel import Doubt
from preflight.model.network_state import NetworkState
from preflight.model.peer import Peer
from preflight.net.way.firewall import Firewall
from preflight.proto.way.fib import Decision, by_a_mark, decide
from preflight.proto.way.flows import inner_flow
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.observe import observe_filters
from preflight.proto.way.netfilter.ruleset import Ruleset
from preflight.proto.way.netfilter.walk import mark_of_sent
from preflight.proto.way.observation import Death


def _elsewhere(state: NetworkState, flow: Flow, interface: str | None) -> Doubt | None:
    """The rule of routing by whose mark a flow would leave by another device."""

    def leads(to: Decision) -> bool:
        return to.type == "unicast" and to.interface not in (None, interface)

    rule = by_a_mark(state, flow, leads, inverted=True)
    if rule is None:
        return None
    return Doubt(str(rule), decide(state, replace(flow, mark=rule.mark)).interface or "")


class OwnRules:
    """The rules as they are when they are asked for."""

    def __init__(self, firewall: Firewall) -> None:
        self._firewall = firewall

    def marks(self, state: NetworkState, flows: Mapping[Flow, str | None]) -> dict[Flow, int | Doubt]:
        """By flow, its mark where a mark may lead it to another device than without one; or why nobody can know it.

        flows: with the device that each leaves by. The firewall's rules are read only where any mark would do that.
        """
        doubts = {flow: _elsewhere(state, flow, interface) for flow, interface in flows.items()}
        doubtful = {flow: doubt for flow, doubt in doubts.items() if doubt is not None}
        rules = self._firewall.snapshot() if doubtful else None
        if rules is None or rules.unreadable is not None:
            return {**doubtful}
        said = ((flow, mark_of_sent(rules.ruleset, flow)) for flow in doubtful)
        return {flow: mark for flow, mark in said if mark}

    def echoes_stopped(self, peer: Peer, interface: str | None) -> Death | None:
        """The rule that stops echoes to a peer, or their answers, if that is certain."""
        inner = inner_flow(peer, os.getuid())
        sent = replace(inner, protocol="icmp", destination_port=None, interface_out=interface, echo="request")
        rules = self._firewall.snapshot((sent,))
        bursts = (Burst(flow=sent), Burst(flow=sent.answer(), direction="reverse"))
        # The echoes are gone, and their counters have moved already: what they have counted before counts too.
        said = observe_filters(replace(rules, ruleset=Ruleset()), rules, bursts)
        return next((each.death for each in said if each.death is not None and each.death.certain), None)
