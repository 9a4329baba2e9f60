"""Traces along a tunnel's own flow, from a fresh port, and by echoes: raw packets, so that nothing is bound.

It is used last: a packet of the tunnel's own flow refreshes the mapping of a NAT on the way. All of it is at most
30 packets, each with less than 16 zero bytes, which no tunnel's daemon takes as its own or answers.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace

from preflight.model.event import Listener, Tell, telling
from preflight.model.flow import Flow
from preflight.model.icmp import Trace
from preflight.net.drive import drive
from preflight.net.raw_icmp import open_raw_icmp
from preflight.net.udp import family_of
from preflight.proto.way.flow_trace import MOST_HOPS, WAIT_S, FlowTrace
from preflight.proto.way.trace import Traces, in_doubt, only_echoes

FIRST_FRESH_PORT, FRESH_PORTS = 49152, 16000
ANSWERS_AGAIN_S = 1.1
"""Linux sends one destination an error each second, after the first six; other routers are quicker."""


class OuterTrace:
    """Traces to a tunnel's endpoint. `flow`: the tunnel's own packets, with the source that the kernel gives them."""

    def __init__(self, listener: Listener | None = None) -> None:
        self._listener = listener

    async def follow(self, flow: Flow) -> Traces:
        """The tunnel's own flow, a fresh one and echoes in parallel. Only the own flow may refresh a mapping: its own.

        Raises PermissionError without CAP_NET_RAW. What the kernel refuses to send is in `Trace.error`.
        """
        fresh_flow = from_fresh_port(flow)
        cores = (self._core(flow), self._core(fresh_flow))
        own, fresh, echo = await asyncio.gather(
            self._run(flow, cores[0]), self._run(fresh_flow, cores[1]), self._echoes(flow, cores)
        )
        doubtful = in_doubt(own, fresh)
        if not doubtful:
            return await self._beside_echoes(Traces(own=own, fresh=fresh, echo=echo), flow, fresh_flow)
        await asyncio.sleep(ANSWERS_AGAIN_S)
        again = [await self.trace(each, first=doubtful[0], most=doubtful[-1]) for each in (flow, fresh_flow)]
        return Traces(own=own, fresh=fresh, echo=echo, own_again=again[0], fresh_again=again[1])

    async def _beside_echoes(self, traces: Traces, flow: Flow, fresh_flow: Flow) -> Traces:
        """With a second look at what only echoes were answered by."""
        doubtful = only_echoes(traces.own, traces.fresh, traces.echo)
        if not doubtful:
            return traces
        await asyncio.sleep(ANSWERS_AGAIN_S)
        udp = await self.trace(fresh_flow, first=doubtful[0], most=doubtful[-1])
        await asyncio.sleep(ANSWERS_AGAIN_S)
        echo = await self.trace(_echoes_of(flow), first=doubtful[0], most=doubtful[-1])
        return replace(traces, fresh_again=udp, echo_again=echo)

    async def trace(self, flow: Flow, *, first: int = 1, most: int = MOST_HOPS) -> Trace:
        """One trace, with the flow's mark, ports and source. first, most: the smallest and the largest TTL."""
        return await self._run(flow, self._core(flow, first=first, most=most))

    async def afresh(self, flow: Flow, *, wait_s: float) -> tuple[Trace, Trace]:
        """One trace from a fresh port and one by echoes, each wave with that much time: nothing refreshes a mapping."""
        flows = (from_fresh_port(flow), _echoes_of(flow))
        one, other = await asyncio.gather(*(self._run(each, self._core(each, wait_s=wait_s)) for each in flows))
        return one, other

    async def _echoes(self, flow: Flow, others: Sequence[FlowTrace]) -> Trace:
        """The trace by echoes. How far the destination is, the other traces need not find by silence."""
        echoes = _echoes_of(flow)
        found = await self._run(echoes, self._core(echoes))
        if found.reached and (last := found.hops[-1]).rtt_ms is not None:
            for each in others:
                each.is_there(last.ttl, last.rtt_ms)
        return found

    def _core(self, flow: Flow, *, first: int = 1, most: int = MOST_HOPS, wait_s: float = WAIT_S) -> FlowTrace:
        identifier = int.from_bytes(os.urandom(2))
        return FlowTrace(flow, identifier=identifier, first=first, most=most, wait_s=wait_s, tell=self._tell_of(flow))

    async def _run(self, flow: Flow, core: FlowTrace) -> Trace:
        replies = flow.protocol == "icmp"
        with open_raw_icmp(family_of(flow.destination), mark=flow.mark, replies=replies) as link:
            return await drive(core, link, self._tell_of(flow)) or Trace(())

    def _tell_of(self, flow: Flow) -> Tell:
        return telling(self._listener, "way.trace", f"{flow.protocol} {flow.destination} from {flow.source_port}")


def _echoes_of(flow: Flow) -> Flow:
    return replace(flow, protocol="icmp", source_port=None, destination_port=None)


def from_fresh_port(flow: Flow) -> Flow:
    """The same from another port."""
    return replace(flow, source_port=_fresh_port(flow))


def _fresh_port(flow: Flow) -> int:
    """A port that nothing has used towards the endpoint for a while, as far as chance goes."""
    port = FIRST_FRESH_PORT + int.from_bytes(os.urandom(2)) % FRESH_PORTS
    return port if port != flow.source_port else port + 1
