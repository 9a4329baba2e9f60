"""What this node's own firewall does to packets for a peer, asked without sending any: it only reads."""

import os
from collections.abc import Mapping
from dataclasses import replace

from preflight.model.flow import Flow
from preflight.model.kernel import Route
from preflight.model.network_state import NetworkState
from preflight.model.peer import Peer
from preflight.net.way.firewall import Firewall
from preflight.net.way.routes import KernelState
from preflight.proto.way.fib import by_a_mark
from preflight.proto.way.flows import inner_flow
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.observe import observe_filters
from preflight.proto.way.netfilter.ruleset import Ruleset
from preflight.proto.way.netfilter.walk import mark_of_sent
from preflight.proto.way.observation import Death
from preflight.proto.way.routing import why_marked


def _elsewhere(state: NetworkState, flow: Flow, interface: str | None) -> bool:
    """Whether a mark would send a flow to another device."""
    return by_a_mark(state, flow, lambda to: to.type == "unicast" and to.interface != interface) is not None


class OwnRules:
    """The rules as they are when they are asked for."""

    def __init__(self, kernel: KernelState, firewall: Firewall) -> None:
        self._kernel, self._firewall = kernel, firewall

    def mark_of(self, peer: Peer, source: str) -> int | None:
        """The mark that the rules for what this node sends give to packets to a peer; None if it cannot be known."""
        rules = self._firewall.snapshot()
        if rules.unreadable is not None:
            return None
        return mark_of_sent(rules.ruleset, replace(inner_flow(peer, os.getuid()), source=source))

    async def marked_away(self, routed: Mapping[Peer, Route]) -> dict[Peer, int]:
        """The marks of peers whose packets the rules mark, where a mark leads to another device than without one.

        routed: the peers with that route. The firewall's rules are read only where any mark would do that.
        """
        flows = {peer: replace(inner_flow(peer, os.getuid()), source=to.source or "") for peer, to in routed.items()}
        try:
            state = await self._kernel.snapshot(tuple(flows.values()))
        except OSError:
            return {}
        doubtful = [peer for peer, flow in flows.items() if _elsewhere(state, flow, routed[peer].interface)]
        rules = self._firewall.snapshot() if doubtful else None
        if rules is None or rules.unreadable is not None:
            return {}
        marks = ((peer, mark_of_sent(rules.ruleset, flows[peer])) for peer in doubtful)
        return {peer: mark for peer, mark in marks if mark}

    async def may_mark(self, peer: Peer, interface: str) -> str | None:
        """Why the route to a peer is not known: a mark of a firewall that nobody here may read may decide on it."""
        if self._firewall.snapshot().unreadable is None:
            return None
        flow = inner_flow(peer, os.getuid())
        state = await self._kernel.snapshot((flow,))
        rule = by_a_mark(state, flow, lambda found: found.type == "unicast" and found.interface == interface)
        return why_marked(rule, interface) if rule is not None else None

    def echoes_stopped(self, peer: Peer, interface: str | None) -> Death | None:
        """The rule that stops echoes to a peer, or their answers, if that is certain."""
        inner = inner_flow(peer, os.getuid())
        sent = replace(inner, protocol="icmp", destination_port=None, interface_out=interface, echo="request")
        rules = self._firewall.snapshot((sent,))
        bursts = (Burst(flow=sent), Burst(flow=sent.answer(), direction="reverse"))
        # The echoes are gone, and their counters have moved already: what they have counted before counts too.
        said = observe_filters(replace(rules, ruleset=Ruleset()), rules, bursts)
        return next((each.death for each in said if each.death is not None and each.death.certain), None)
