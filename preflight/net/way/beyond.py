"""How far this node gets past its tunnels, towards several of their endpoints: traces from fresh ports, and by echo.

Routers limit their errors, and other checks may have used them up: where only the gateway answers, it is asked again.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from preflight.model.event import Listener
from preflight.model.flow import Flow
from preflight.model.host_port import split_host_port
from preflight.model.overlay import OverlayState
from preflight.net.way.lookups import Lookups
from preflight.net.way.trace import ANSWERS_AGAIN_S, OuterTrace, from_fresh_port
from preflight.proto.way.beyond import LEAST_SITES, MOST_ENDS, Beyond, sites
from preflight.proto.way.flows import HANDSHAKE_BYTES

WAIT_S: Final = 1.2
"""For a wave's answers: over a satellite too."""

GATEWAY_TRIES: Final = 4


async def beyond_gateway(overlay: OverlayState | None, listener: Listener | None = None) -> Sequence[Beyond]:
    """Towards a few endpoints of the tunnels in different places; empty where only one is known.

    Only what a gateway leads to is asked. Raises PermissionError without CAP_NET_RAW.
    """
    asked = await asyncio.to_thread(_ends, overlay)
    if len(asked) < LEAST_SITES:
        return ()
    tracer = OuterTrace(listener)
    first = await _round(tracer, asked)
    if any(each.passed for each in first):
        return first
    await asyncio.sleep(ANSWERS_AGAIN_S)
    again = await _round(tracer, asked)
    both = [replace(one, traces=(*one.traces, *two.traces)) for one, two in zip(first, again, strict=True)]
    return [await _with_gateway(tracer, asked[0][0], both[0]), *both[1:]] if _deaf(both) else both


def _deaf(ends: Sequence[Beyond]) -> bool:
    """Whether not even the gateway was heard, or anyone else."""
    return not any(each.passed or each.gateway_answers for each in ends)


async def _with_gateway(tracer: OuterTrace, flow: Flow, found: Beyond) -> Beyond:
    """With what the gateway alone says, once it has an error left for this node."""
    for _ in range(GATEWAY_TRIES):
        await asyncio.sleep(ANSWERS_AGAIN_S)
        found = replace(found, traces=(*found.traces, await tracer.trace(from_fresh_port(flow), most=1)))
        if found.gateway_answers:
            break
    return found


async def _round(tracer: OuterTrace, asked: Sequence[tuple[Flow, Beyond]]) -> list[Beyond]:
    return list(await asyncio.gather(*(_traced(tracer, flow, end) for flow, end in asked)))


async def _traced(tracer: OuterTrace, flow: Flow, end: Beyond) -> Beyond:
    return replace(end, traces=await tracer.afresh(flow, wait_s=WAIT_S))


def _ends(overlay: OverlayState | None) -> list[tuple[Flow, Beyond]]:
    """One endpoint for each place, with the flow of a tunnel's own packets to it."""
    found: list[tuple[Flow, Beyond]] = []
    tunnels = overlay.tunnels if overlay is not None else ()
    inside = {tunnel.interface for tunnel in tunnels}
    with Lookups() as lookups:
        for flow in _flows(tunnels):
            places = [end.endpoint[0] for _, end in found]
            if len(found) == MOST_ENDS or sites([*places, flow.destination]) == len(found):
                continue
            way = lookups.leaving(flow)
            if way.gateway and way.source and way.interface and way.interface not in inside:
                endpoint = (flow.destination, flow.destination_port or 0)
                end = Beyond(endpoint=endpoint, gateway=way.gateway, device=way.interface)
                found.append((replace(flow, source=way.source), end))
    return found


def _flows(tunnels: Iterable[OverlayState]) -> Iterator[Flow]:
    """To each endpoint, with its tunnel's mark."""
    for tunnel in tunnels:
        for text in dict.fromkeys(peer.endpoint for peer in tunnel.peers if peer.endpoint):
            host, port = split_host_port(text)
            to = host.partition("%")[0]
            yield Flow(
                source="", destination=to, destination_port=port, mark=tunnel.fwmark, length_bytes=HANDSHAKE_BYTES
            )
