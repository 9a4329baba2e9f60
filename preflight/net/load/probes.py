"""What a check may ask about a peer under load: flows, and how long small packets wait during one."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.model.event import Listener, telling
from preflight.model.load import FailedFlow, Flow, FlowKind, LoadedDelay
from preflight.model.peer import Peer
from preflight.net import udp
from preflight.net.host_state import clock_estimate
from preflight.net.load import flow
from preflight.net.stamp.link import prepare, run_session
from preflight.proto.load.added import loaded_delay
from preflight.proto.load.wire import Amount
from preflight.proto.stamp.sender import SessionPlan, SessionSender

if TYPE_CHECKING:
    from preflight.settings.load import Settings

INTERVAL_S = 0.05
"""Between two small packets: too few of them to be a load themselves, also on a slow line."""
IDLE_S = 1.5
SETTLE_S = 1.0
"""Between two flows: what the first one left in a queue has drained by then, or the delay of the next shows it."""
LONGEST_S = 120.0
BUSY_S = 2.0
TRIES = 4
"""How long a responder is given to end the flow of another asker, and how often."""


class LoadProbes:
    """Load towards peers, within what the settings allow."""

    def __init__(self, settings: "Settings", *, listener: Listener | None = None) -> None:
        self._listener = listener
        self._key_for = settings.secrets.key_for

    def may_ask(self, peer: Peer) -> bool:
        """Whether this node has a key for the peer's responder: it takes load from nobody else."""
        return self._key_for(peer.address) is not None

    async def flow(self, peer: Peer, kind: FlowKind, amount: Amount) -> Flow | FailedFlow:
        """One flow; a responder that is busy with another one is asked again. Raises KeyError without a key."""
        key = self._key_for(peer.address)
        if key is None:
            raise KeyError(peer.address)
        tell = telling(self._listener, "load.flow", peer.target)
        for _ in range(TRIES - 1):
            found = await flow.run(peer, kind, amount, key, tell)
            if isinstance(found, Flow) or found.why != "busy":
                return found
            await asyncio.sleep(BUSY_S)
        return await flow.run(peer, kind, amount, key, tell)

    async def delay(self, peer: Peer, kind: FlowKind, amount: Amount) -> LoadedDelay | FailedFlow | None:
        """What a flow adds to the delay of small packets during it; None: too few of these came back."""
        async with self._packets(peer) as session:
            idle_from = time.time_ns()
            await asyncio.sleep(IDLE_S)
            idle = (idle_from, time.time_ns())
            found = await self.flow(peer, kind, amount)
            await asyncio.sleep(SETTLE_S)
        if isinstance(found, FailedFlow) or session is None:
            return found if isinstance(found, FailedFlow) else None
        return loaded_delay(found, idle, session.arrivals, session.sent_ns)

    @asynccontextmanager
    async def _packets(self, peer: Peer) -> AsyncIterator[SessionSender | None]:
        """Small packets to the peer until the end of the block; None if there is no way to send any."""
        try:
            link = udp.open_towards(peer.address, peer.responder_port)
        except OSError:
            yield None
            return
        tell = telling(self._listener, "stamp.sender", f"{peer.target} during load")
        key, ssid = self._key_for(peer.address), secrets.randbelow(0xFFFF) + 1
        plan = SessionPlan(ssid, round(LONGEST_S / INTERVAL_S), INTERVAL_S, 1.0, 0, key, clock_estimate())
        with link:
            prepare(link)
            session = SessionSender(replace(plan, peer=peer.address), time.monotonic(), time.time_ns, tell=tell)
            running = asyncio.create_task(run_session(session, link, tell))
            try:
                yield session
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
