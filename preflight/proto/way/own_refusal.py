"""Why this node's own kernel refuses a connection: the rule, the route, or that none leads there. Pure."""

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.model.flow import Flow
from preflight.model.network_state import NetworkState, TunnelSide
from preflight.model.routing import Lookup
from preflight.proto.way import reroute
from preflight.proto.way.fib import Decision, explain
from preflight.proto.way.observation import Death
from preflight.proto.way.routing import refusal_type, refused, why_refused


def own_refusal(state: NetworkState, flow: Flow, name: str, tunnel: TunnelSide | None) -> Death | None:
    """What refuses, and the remedy; None if the kernel does send it.

    name: of the host, for the sentence. tunnel: this node's end of the tunnel that has the address, None: no tunnel has
    it, and any way out will do.
    """
    lookup = state.lookup(flow)
    if lookup is None or not lookup.refused:
        return None
    return refused(state, lookup, tunnel) if tunnel is not None else _outside(state, lookup, name)


def _outside(state: NetworkState, lookup: Lookup, name: str) -> Death:
    found, flow = explain(state, lookup), lookup.flow
    port = f" port {flow.destination_port}" if flow.destination_port else ""
    return Death(
        code=codes.REACH_NO_FORWARD,
        message=f"this node's kernel refuses {flow.protocol.upper()}{port} for {name} ({flow.destination}): "
        f"{why_refused(state, lookup, found)}",
        facts=DeathFacts(route_type=refusal_type(lookup, found), address=flow.destination),
        remedies=(reroute.without(state, flow, found, _leads_on) if found else ()) or reroute.show(flow),
        certain=found is not None or lookup.type == "none",
    )


def _leads_on(found: Decision) -> bool:
    return found.type == "unicast"
