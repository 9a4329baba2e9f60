"""Does a strict reverse-path filter on this node drop what peers send?"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from preflight.api import (
    NODE,
    Context,
    Direction,
    Peer,
    Remedies,
    Result,
    check,
    codes,
    failed,
    heal,
    inconclusive,
    passed,
)
from preflight.model.change import NamedValue
from preflight.model.facts import ReversePathFilterFacts
from preflight.model.fix import KernelSettings
from preflight.model.icmp import EchoStats
from preflight.model.kernel import NeedsPlatform, ReversePathFilter
from preflight.model.printable import number_of


@dataclass(frozen=True, slots=True)
class Probed:
    """The filter before and after the echoes to each peer, and which peers did not answer.

    passes: tunnels by which the kernel would let the silent peers' answers in: another interface drops something.
    """

    before: ReversePathFilter
    after: ReversePathFilter
    silent: tuple[str, ...] = ()
    passes: frozenset[str] = frozenset()

    @property
    def dropped(self) -> int:
        """Packets that the filter dropped in between."""
        return (self.after.dropped or 0) - (self.before.dropped or 0)


_LOOPBACK, _FILTERED = "lo", 4
"""The filter is for IPv4 only."""


@check(
    "host.rp-filter",
    title="The reverse-path filter lets the overlay's packets in",
    subject="node",
    needs=("overlay.interface",),
    timeout=15,
    timeout_per_peer=0.01,
    codes=(codes.HOST_RP_FILTER,),
)
async def host_rp_filter(ctx: Context) -> AsyncGenerator[Result, None]:
    """Where the filter is strict: sends echoes to the peers and watches the kernel's drop counter.

    A strict filter alone is not a fault; it becomes one where packets come in on another interface than they would go
    out.
    """
    try:
        yield judge(await measure(ctx), *(state.interface for state in ctx.tunnels if state.interface is not None))
    except NeedsPlatform as error:
        yield inconclusive(codes.RUN_NEEDS_PLATFORM, NODE, Direction.LOCAL, str(error))


async def measure(ctx: Context) -> Probed:
    """Send nothing if no interface is strict."""
    before = ctx.net.kernel.reverse_path_filter()
    peers = [peer for peer in ctx.peers if ":" not in peer.address]
    if not before.strict or not peers:
        return Probed(before, before)
    echoes = await asyncio.gather(
        *(ctx.net.icmp.echo(peer.address, count=3, interval_s=0.05, timeout_s=0.5) for peer in peers)
    )
    silent = [peer for peer, echo in zip(peers, echoes, strict=True) if _unanswered(echo)]
    after = ctx.net.kernel.reverse_path_filter()
    return Probed(before, after, tuple(peer.target for peer in silent), await _passes(ctx, silent))


async def _passes(ctx: Context, silent: Sequence[Peer]) -> frozenset[str]:
    refused: dict[str, bool] = {}
    for peer in silent:
        tunnel = ctx.overlay.tunnel_for(peer.address) if ctx.overlay is not None else None
        own = [each.ip for each in tunnel.addresses if each.version == _FILTERED] if tunnel is not None else []
        if tunnel is None or tunnel.interface is None or not own:
            continue
        drops = await ctx.net.kernel.refuses(peer.address, str(own[0]), tunnel.interface)
        refused[tunnel.interface] = refused.get(tunnel.interface, False) or drops
    return frozenset(name for name, drops in refused.items() if not drops)


def _unanswered(echo: EchoStats) -> bool:
    return echo.sent > 0 and echo.received == 0


def judge(probed: Probed, *overlay: str) -> Result:
    """Drops count only together with a peer that did not answer: other traffic may be dropped for valid reasons.

    overlay: its interfaces. Only the filter there is loosened, if it is strict and may be what drops; else those by
    which the tunnel's own packets may come.
    """
    strict = probed.before.strict
    facts = ReversePathFilterFacts(strict_interfaces=strict, dropped_packets=probed.dropped)
    if not strict:
        return passed(NODE, Direction.LOCAL, "no interface has a strict filter", facts=facts)
    names = ", ".join(strict)
    if probed.dropped <= 0 or not probed.silent:
        message = f"the strict filter ({names}) dropped no packet of a peer"
        return passed(NODE, Direction.LOCAL, message, facts=facts)
    return failed(
        codes.HOST_RP_FILTER,
        NODE,
        Direction.LOCAL,
        f"the strict reverse-path filter ({names}) dropped {number_of('packets', probed.dropped)} while "
        f"{', '.join(probed.silent)} did not answer",
        remedies=_loosen(_dropping(probed, overlay)),
        facts=replace(facts, silent_peers=probed.silent),
    )


def _dropping(probed: Probed, overlay: Sequence[str]) -> list[str]:
    strict = [name for name in probed.before.strict if name not in probed.passes]
    outside = [name for name in strict if name != _LOOPBACK] or list(probed.before.strict)
    return [name for name in overlay if name in strict] or outside


def _loosen(interfaces: Sequence[str]) -> Remedies:
    """The greater of an interface's own value and that of `all` counts, so a strict `all` may stay.

    A dot in an interface's name is a slash in the name of its sysctl (sysctl.d(5)).
    """
    names = [f"net.ipv4.conf.{name.replace('.', '/')}.rp_filter" for name in interfaces]
    settings = tuple(NamedValue(name, "2") for name in names)
    return heal(lambda: KernelSettings(settings=settings), lasting="the same in a file below /etc/sysctl.d")
