"""Traces along a tunnel's own flow, from a fresh port, and by echoes: raw packets, so that nothing is bound.

It is used last: a packet of the tunnel's own flow refreshes the mapping of a NAT on the way. Each trace sends at most
ten packets, each with less than 16 zero bytes, which no tunnel's daemon takes as its own or answers.
"""

import os
from dataclasses import dataclass, replace

from preflight.model.event import Listener, telling
from preflight.model.flow import Flow
from preflight.model.icmp import Trace
from preflight.net.drive import drive
from preflight.net.udp import family_of
from preflight.net.way.raw_icmp import open_raw_icmp
from preflight.proto.way.flow_trace import FlowTrace

FIRST_FRESH_PORT, FRESH_PORTS = 49152, 16000


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """Up to three traces to a tunnel's endpoint. fresh: the same ports but for the source's. echo: by ICMP."""

    own: Trace
    fresh: Trace
    echo: Trace
    fresh_port: int


class OuterTrace:
    """Traces to a tunnel's endpoint. `flow`: the tunnel's own packets, with the source that the kernel gives them."""

    def __init__(self, listener: Listener | None = None) -> None:
        self._listener = listener

    async def follow(self, flow: Flow) -> Traces:
        """The fresh flow first, then echoes, the tunnel's own flow last: it alone may refresh a mapping.

        Raises PermissionError without CAP_NET_RAW. What the kernel refuses to send stands in `Trace.error`.
        """
        port = _fresh_port(flow)
        fresh = await self.trace(replace(flow, source_port=port))
        echo = await self.trace(replace(flow, protocol="icmp", source_port=None, destination_port=None))
        return Traces(own=await self.trace(flow), fresh=fresh, echo=echo, fresh_port=port)

    async def trace(self, flow: Flow) -> Trace:
        """One trace, with the flow's mark, ports and source."""
        tell = telling(self._listener, "way.trace", f"{flow.protocol} {flow.destination} from {flow.source_port}")
        core = FlowTrace(flow, identifier=int.from_bytes(os.urandom(2)), tell=tell)
        replies = flow.protocol == "icmp"
        with open_raw_icmp(family_of(flow.destination), mark=flow.mark, replies=replies) as link:
            return await drive(core, link, tell) or Trace(())


def _fresh_port(flow: Flow) -> int:
    """A port that nothing has used towards the endpoint for a while, as far as chance goes."""
    port = FIRST_FRESH_PORT + int.from_bytes(os.urandom(2)) % FRESH_PORTS
    return port if port != flow.source_port else port + 1
