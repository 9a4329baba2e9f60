"""Do the tunnel's packets fit through the interface under it, and is the tunnel's MTU large enough?"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, replace

from preflight.api import (
    NODE,
    Code,
    Context,
    Direction,
    Remedies,
    Result,
    Station,
    Status,
    by_hand,
    check,
    codes,
    failed,
    inconclusive,
    passed,
    skipped,
)
from preflight.model.facts import TunnelMtuFacts
from preflight.model.fix import LinkAddresses
from preflight.model.kernel import Link, NeedsPlatform
from preflight.model.overlay import IPV6_EXTRA_BYTES, OverlayState
from preflight.model.remedy import heal
from preflight.proto.pmtu.advice import set_mtu_here
from preflight.proto.pmtu.minimum import least_mtu

_OPEN = (
    "; if there is IPv6 inside, it needs 1280: the peers of the tunnel or its configuration file show that, which this "
    "run could not read"
)


@dataclass(frozen=True, slots=True)
class Underlay:
    """The interface that the tunnel's packets to one endpoint use.

    endpoint: empty where nobody here knows any: then it is the interface that carries most, whichever they use.
    """

    endpoint: str
    interface: str
    mtu: int

    @property
    def way(self) -> str:
        """The interface in a sentence, and why it counts."""
        if self.endpoint:
            return f"{self.interface} towards {self.endpoint}"
        return f"{self.interface}, which carries more than any other way out of this node,"

    def fits(self, overhead_bytes: int) -> int:
        """The largest tunnel MTU whose packets leave here in one piece, bytes."""
        return self.mtu - overhead_bytes - (IPV6_EXTRA_BYTES if ":" in self.endpoint else 0)


@check(
    "overlay.mtu",
    title="The tunnel's MTU fits the underlay",
    subject="node",
    needs=("overlay.interface",),
    timeout=10,
    codes=(codes.OVERLAY_MTU_TOO_BIG, codes.OVERLAY_MTU_TOO_SMALL),
)
async def overlay_mtu(ctx: Context) -> AsyncGenerator[Result, None]:
    """Compares the tunnel's MTU, with the tunnel's overhead, to the MTU of the interface towards each endpoint.

    Only probes can measure the path behind that interface: `mtu.path` does.
    """
    if ctx.overlay is None:
        yield skipped(
            codes.RUN_NOT_APPLICABLE, NODE, Direction.LOCAL, "there is no overlay, so there is no tunnel MTU to compare"
        )
        return
    try:
        for state in ctx.tunnels:
            if state.mtu is None:
                yield _unknown(state)
                continue
            underlays = await measure(ctx, state)
            ipv6 = _carries_ipv6(ctx, state)
            result = judge(state, underlays, needed(ctx.settings.thresholds.minimum_mtu, state, underlays, ipv6))
            if ipv6 is None and result.status is Status.PASS:
                result = replace(result, message=f"{result.message}{_OPEN}")
            yield result if state is ctx.overlay else replace(result, aspect=state.interface or "")
    except NeedsPlatform as error:
        yield inconclusive(codes.RUN_NEEDS_PLATFORM, NODE, Direction.LOCAL, str(error))


def _unknown(state: OverlayState) -> Result:
    """Its interface is not known: it is missing, or only the configuration names it and this user may not read that."""
    message = f"the interface of {state.product} is not known, so there is no tunnel MTU to compare"
    return skipped(codes.RUN_NOT_APPLICABLE, NODE, Direction.LOCAL, message, aspect=state.interface or "")


async def measure(ctx: Context, state: OverlayState) -> list[Underlay]:
    """Where the kernel sends the tunnel's packets. `overlay.session` reports a route into the tunnel itself."""
    endpoints = sorted({peer.endpoint_address for peer in state.peers if peer.endpoint_address})
    links = await ctx.net.kernel.links()
    if not endpoints:
        return widest(state, links)
    mtus = {link.name: link.mtu for link in links}
    routes = await ctx.net.kernel.routes_to(endpoints, mark=state.fwmark)
    return [
        Underlay(endpoint, route.interface, mtus[route.interface])
        for endpoint, route in routes.items()
        if route.interface in mtus and route.interface != state.interface
    ]


def widest(state: OverlayState, links: Iterable[Link]) -> list[Underlay]:
    """The interface that carries most of all that the tunnel may use, also one that is down; none without another."""
    ways = (each for each in links if not each.loopback and each.name != state.interface)
    most = max(ways, key=lambda link: link.mtu, default=None)
    return [Underlay("", most.name, most.mtu)] if most is not None else []


def _carries_ipv6(ctx: Context, state: OverlayState) -> bool | None:
    return ctx.ipv6(state, [peer.address for peer in ctx.peers if ctx.tunnel(peer.address) == state.interface])


def needed(minimum_mtu: int, state: OverlayState, underlays: Sequence[Underlay], ipv6: bool | None) -> int:
    """What the tunnel must carry. If it may have IPv6 inside, that is no less than IPv6 needs, if it fits at all.

    Whether it fits is known only where the tunnel's overhead and its endpoints are: the links behind the first one may
    be smaller, as behind a home router.
    """
    room = min((underlay.fits(state.overhead_bytes or 0) for underlay in underlays if underlay.endpoint), default=0)
    return least_mtu(minimum_mtu, ipv6, fits=state.overhead_bytes is None or room < minimum_mtu)


def judge(state: OverlayState, underlays: Sequence[Underlay], minimum_mtu: int) -> Result:
    """Sizes in bytes. If the product's overhead is unknown, judge only the minimum."""
    mtu = state.mtu or 0
    name = state.interface
    facts = TunnelMtuFacts(tunnel_mtu_bytes=mtu)
    if mtu < minimum_mtu:
        message = f"{name} has MTU {mtu}; the overlay must carry {minimum_mtu}"
        return _bad(codes.OVERLAY_MTU_TOO_SMALL, message, _larger(state, minimum_mtu), facts)
    if state.overhead_bytes is None or not underlays:
        message = f"{name} has MTU {mtu}{_in_pieces(state, underlays)}"
        return passed(NODE, Direction.LOCAL, message, facts=facts)
    overhead = state.overhead_bytes
    tightest = min(underlays, key=lambda underlay: underlay.fits(overhead))
    fits = tightest.fits(overhead)
    facts = replace(facts, underlay_mtu_bytes=tightest.mtu, overhead_bytes=tightest.mtu - fits, fits_bytes=fits)
    sizes = f"{mtu} and {tightest.mtu - fits} bytes of tunnel headers make {mtu + tightest.mtu - fits}"
    if mtu > fits:
        message = f"{name}: {sizes}, but {tightest.way} has MTU {tightest.mtu}"
        return _bad(codes.OVERLAY_MTU_TOO_BIG, message, _remedies(state, tightest, fits, minimum_mtu), facts)
    return passed(
        NODE,
        Direction.LOCAL,
        _carried(state, tightest, sizes),
        facts=facts,
    )


def _carried(state: OverlayState, underlay: Underlay, sizes: str) -> str:
    if not underlay.endpoint:
        return f"{state.interface} has MTU {state.mtu}"  # another way out may carry less
    return f"{state.interface}: {sizes}, which {underlay.interface} with MTU {underlay.mtu} carries"


def _larger(state: OverlayState, minimum_mtu: int) -> Remedies:
    """The MTU of the tunnel's file, if that is enough, and the addresses that Linux took off with the smaller one."""
    name, file = state.interface, state.configured
    size = max(minimum_mtu, (file.mtu if file else None) or 0)
    lost = tuple(str(each) for each in file.addresses if each not in state.addresses) if file else ()
    given = heal(lambda: LinkAddresses(interface=name or "", addresses=lost)) if lost else ()
    return (*set_mtu_here(name, size, state.product), *given)


def _bad(code: Code, message: str, remedies: Remedies, facts: TunnelMtuFacts) -> Result:
    """The device itself promises what it cannot keep, or too little."""
    return failed(
        code,
        NODE,
        Direction.LOCAL,
        message,
        remedies=remedies,
        facts=facts,
        measurements={"mtu_bytes": facts.tunnel_mtu_bytes},
        station=Station("tunnel"),
    )


def _in_pieces(state: OverlayState, underlays: Sequence[Underlay]) -> str:
    """What happens to the fragments of a product that fragments itself, if one does not fit the interface."""
    known = [underlay for underlay in underlays if underlay.endpoint]
    if state.datagram_bytes is None or not known:
        return ""
    piece = state.datagram_bytes
    tightest = min(known, key=lambda underlay: underlay.fits(piece))
    if tightest.fits(piece) >= 0:
        return ""
    return (
        f"; {state.product} splits large packets into packets of {tightest.mtu - tightest.fits(piece)} bytes, which "
        f"{tightest.way} with MTU {tightest.mtu} must fragment again"
    )


def _remedies(state: OverlayState, tightest: Underlay, fits: int, minimum_mtu: int) -> Remedies:
    """A smaller MTU, but never one that is too small for the overlay: below 1280 bytes an interface loses IPv6.

    WireGuard's other end has the MTU that wg-quick computes, with room for IPv6 outside: the same is best here.
    """
    usual = tightest.mtu - (state.overhead_bytes or 0) - IPV6_EXTRA_BYTES
    if fits >= minimum_mtu:
        size = usual if state.product == "wireguard" and usual >= minimum_mtu else fits
        return set_mtu_here(state.interface, size, state.product)
    needed = minimum_mtu + tightest.mtu - fits
    return by_hand(
        f"Make {tightest.interface} and the path behind it carry {needed} bytes: a tunnel MTU of {fits} is less than "
        f"the overlay's {minimum_mtu}.",
        root=True,
    )
