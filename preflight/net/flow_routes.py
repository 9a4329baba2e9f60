"""How what this node sends leaves: by the kernel's routes, and by the marks that its own firewall gives it."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from preflight.model.event import Listener
from preflight.model.flow import Flow, Protocol
from preflight.model.kernel import NeedsPlatform, Route
from preflight.model.routing import Lookup, Rule
from preflight.net.kernel import Kernel
from preflight.net.route_memory import Changes, RouteChanges, RouteMemory
from preflight.net.way.firewall import Firewall
from preflight.net.way.own_rules import OwnRules
from preflight.net.way.routes import KernelState, policy_rules

KEPT_S: Final = 1.0
"""How old what the firewall does may be: the kernel does not report every change of its rules."""
READINGS: Final = 20
"""Where thousands of rules take long to read, they are read again after this many times as long."""
MOST_FLOWS: Final = 16
"""How many flows to different addresses are looked for in the firewall's rules; the others have the route that the
kernel gives their address."""


_Key = tuple[str, int, Protocol]


class _Kept(NamedTuple):
    at: float
    route: Route


class FlowRoutes:
    """The routes of flows to a port of some addresses, asked without sending anything.

    changes: whether a route may be another one. now: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        kernel: Kernel,
        listener: Listener | None = None,
        changes: Changes | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kernel, self._state = kernel, KernelState(listener)
        self._rules = OwnRules(Firewall(listener))
        self._memory = RouteMemory(self._ask, changes or RouteChanges())
        self._now = now
        self._by_flow, self._kept_s = False, KEPT_S
        self._kept: dict[_Key, _Kept] = {}

    async def routes_to(self, addresses: Iterable[str], port: int, protocol: Protocol = "tcp") -> dict[str, Route]:
        """By address, how packets to a port there would leave now. Raises NeedsPlatform outside Linux.

        What a rule of the firewall marks has the mark's route. Where only root could read whether it does, the route
        has a doubt.
        """
        wanted = tuple(addresses)
        plain = await self._memory.routes_to(wanted)
        if not self._by_flow:
            return plain
        kept, began = self._kept, self._now()
        known = {address: kept.get((address, port, protocol)) for address in wanted[:MOST_FLOWS]}
        found = {address: each.route for address, each in known.items() if each and each.at > began - self._kept_s}
        missing = {address: plain[address] for address in known if address not in found}
        asked = await self._of_flows(missing, port, protocol)
        if asked:
            self._kept_s = max(KEPT_S, READINGS * (self._now() - began))
        # If something has changed meanwhile, this is another dictionary than the one that is looked into from now on.
        kept |= {(address, port, protocol): _Kept(began, route) for address, route in asked.items()}
        return {**plain, **found, **asked}

    async def aclose(self) -> None:
        """Forget everything."""
        self._kept = {}
        self._memory.close()

    async def _ask(self, addresses: Iterable[str]) -> dict[str, Route]:
        """Something has changed, or an address is new: also whether any rule looks at more than addresses."""
        self._kept = {}
        routes = await self._kernel.routes_to(addresses)
        try:
            self._by_flow = any(map(_looks_at_flows, await policy_rules()))
        except OSError:
            self._by_flow = False
        return routes

    async def _of_flows(self, plain: Mapping[str, Route], port: int, protocol: Protocol) -> dict[str, Route]:
        """The same, with everything that a rule may look at; as they are where the kernel does not say it."""
        if not plain:
            return {}
        first = {address: _flow(address, port, protocol) for address in plain}
        try:
            state = await self._state.snapshot(tuple(first.values()))
            leaving = {address: _sent(flow, state.lookup(flow)) for address, flow in first.items()}
            marks = self._rules.marks(state, {flow: flow.interface_out for flow in leaving.values()})
            marked = {flow: replace(flow, mark=mark) for flow, mark in marks.items() if isinstance(mark, int)}
            asked = {address: marked.get(flow, flow) for address, flow in leaving.items()}
            again = await self._state.snapshot(tuple(asked.values()))
        except (OSError, NeedsPlatform):
            return dict(plain)
        found = {}
        for address, flow in asked.items():
            doubt = marks.get(leaving[address])
            route = _route(again.lookup(flow)) or plain[address]
            found[address] = replace(route, mark=flow.mark, doubt=None if isinstance(doubt, int) else doubt)
        return found


def _looks_at_flows(rule: Rule) -> bool:
    """Whether a rule selects by more than addresses and devices."""
    return bool(rule.mark or rule.protocol or rule.source_ports or rule.destination_ports)


def _flow(address: str, port: int, protocol: Protocol) -> Flow:
    return Flow(source="", destination=address, protocol=protocol, destination_port=port, uid=os.getuid())


def _sent(flow: Flow, lookup: Lookup | None) -> Flow:
    """The flow as the rules for what this node sends see it: with the source and the device that the kernel chooses."""
    return flow if lookup is None else replace(flow, source=lookup.source or "", interface_out=lookup.interface)


def _route(lookup: Lookup | None) -> Route | None:
    """What the kernel said of a flow, as a route to its destination."""
    if lookup is None:
        return None
    address = lookup.flow.destination
    if lookup.refused:
        return Route(address, error=lookup.error or f"{lookup.type} route")
    return Route(
        address,
        interface=lookup.interface,
        gateway=lookup.gateway,
        source=lookup.source,
        matched=lookup.matched,
        table=lookup.table,
        local=lookup.type == "local",
    )
