"""Replaces `ctx.net` for checks of load: flows that give what a test says, and a note of each that was asked for."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from preflight.api import Check, Context, Peer, Result
from preflight.model.load import Counted, FailedFlow, Flow, FlowKind, LoadedDelay
from preflight.proto.load.wire import Amount
from preflight.settings.load import Settings

if TYPE_CHECKING:
    from preflight.net import Net

PEER = Peer("10.66.0.2", "b")


def flow(kind: FlowKind, mbit_s: float, *, sent: float = 1.0, overflowed: int = 0) -> Flow:
    """A flow of a second. sent: how many times as much left its sender."""
    size = round(mbit_s * 125_000)
    return Flow(kind, Counted(size, 1000, 1.0, size, 1.0, overflowed), round(size * sent), 0, 10**9)


@dataclass
class Flows:
    """Replaces `ctx.net` and its `load` and `dns`."""

    give: Callable[[FlowKind], Flow | FailedFlow | LoadedDelay | None]
    keyed: bool = True
    control: Sequence[str] = ()
    asked: list[tuple[str, FlowKind, Amount]] = field(default_factory=list)

    @property
    def load(self) -> "Flows":
        """`ctx.net.load`."""
        return self

    @property
    def dns(self) -> "Flows":
        """`ctx.net.dns`."""
        return self

    async def addresses(self, url: object) -> Sequence[str]:
        """Where the control plane is."""
        return self.control

    def may_ask(self, peer: Peer) -> bool:
        """Whether there is a key."""
        return self.keyed

    async def flow(self, peer: Peer, kind: FlowKind, amount: Amount) -> object:
        """One flow."""
        self.asked.append((peer.target, kind, amount))
        return self.give(kind)

    delay = flow


def run(check: Check, flows: Flows, settings: Settings | None = None, peers: Sequence[Peer] = (PEER,)) -> list[Result]:
    """All results of a check."""
    context = Context(settings or Settings(), tuple(peers), None, cast("Net", flows))

    async def collect() -> list[Result]:
        return [result async for result in check.function(context)]

    return asyncio.run(collect())
