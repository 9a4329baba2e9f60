"""Is there an overlay on this node, is it up, and does it have an address?"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from preflight.api import (
    NODE,
    Code,
    Context,
    Direction,
    Evidence,
    Remedies,
    Result,
    Station,
    by_hand,
    check,
    codes,
    failed,
    heal,
    inconclusive,
    passed,
)
from preflight.model.facts import InterfaceFacts
from preflight.model.fix import LinkMtu, ServiceRestart, WgQuick
from preflight.model.kernel import Link, NeedsPlatform
from preflight.model.overlay import PRIVILEGE, Fact, OverlayState
from preflight.proto.pmtu.minimum import IPV6_MINIMUM
from preflight.proto.tunnel import levers
from preflight.proto.tunnel.interface_advice import addresses_of_the_file, families, its_program, up_again
from preflight.proto.tunnel.members import targets_on, unknown_tunnels
from preflight.proto.tunnel.peer_status import utc

PRODUCTS = "WireGuard, Tailscale, ZeroTier, Nebula and OpenVPN"

MAXIMUM_COMPLAINTS = 4
MAXIMUM_NAMES = 4

_ADDRESS = "ip address add ADDRESS/PREFIX dev {interface}   # as its peers know this node"


def _remedies(state: OverlayState, slug: str) -> Remedies:
    """What to do, by product and its own state."""
    product, interface = state.product, state.interface or "INTERFACE"
    address = by_hand(_ADDRESS.format(interface=interface), root=True)
    known = {
        ("wireguard", "overlay.daemon-down"): heal(lambda: WgQuick(interface=interface, again=True)),
        ("wireguard", "overlay.no-address"): address,
        ("generic", "overlay.no-address"): address,
    }
    by_product = _LEVERS.get(product)
    return by_product(state, slug) if by_product is not None else known.get((product, slug), ())


_LEVERS = {
    "tailscale": levers.tailscale,
    "zerotier": levers.zerotier,
    "nebula": levers.nebula,
    "openvpn": levers.openvpn,
}


MISSING = ("tailscale", "zerotier")
"""Products that make their interface again when they start."""


def _made_again(state: OverlayState) -> Remedies:
    """What brings back an interface that its daemon believes in."""
    if any("userspace networking" in each for each in state.health):
        return by_hand("Run tailscaled without --tun=userspace-networking.")
    if state.product == "tailscale":
        return heal(lambda: ServiceRestart(service="tailscaled"))
    return heal(lambda: ServiceRestart(service="zerotier-one")) if state.product == "zerotier" else ()


@check(
    "overlay.interface",
    title="The overlay interface is up and has an address",
    subject="node",
    timeout=10,
    codes=(
        codes.OVERLAY_ABSENT,
        codes.OVERLAY_DOWN,
        codes.OVERLAY_NO_ADDRESS,
        codes.OVERLAY_MTU_TOO_SMALL,
        codes.OVERLAY_DAEMON_DOWN,
        codes.OVERLAY_LOGGED_OUT,
        codes.OVERLAY_KEY_EXPIRED,
        codes.OVERLAY_NOT_AUTHORIZED,
        codes.OVERLAY_NOT_JOINED,
    ),
)
async def overlay_interface(ctx: Context) -> AsyncGenerator[Result, None]:
    """Looks at the interfaces of the run's tunnels and at what their product reports; everything else needs this."""
    try:
        links = await ctx.net.kernel.links()
    except NeedsPlatform as error:
        yield inconclusive(codes.RUN_NEEDS_PLATFORM, NODE, Direction.LOCAL, str(error))
        return
    wanted, used = ctx.settings.overlay.interface, ctx.tunnels
    if not used:
        stopped = ctx.net.stopped_tunnels([link.name for link in links])
        yield judge(None, links, wanted, stopped=stopped)
        return
    facts, on = await ctx.net.overlay_facts(used[0].product), _carried(ctx)
    members = [peer.address for peer in ctx.peers]
    for state in used:
        more, aspect = (facts, "") if state is used[0] else (None, state.interface or state.product)
        result = judge(_with_others(ctx, state, used), links, wanted, more, used, on, members=members)
        yield replace(_of_its_members(ctx, state, result), aspect=aspect)


def _with_others(ctx: Context, state: OverlayState, used: Sequence[OverlayState]) -> OverlayState:
    """The first of the run's tunnels with all others of this node, which are named once; a further one alone."""
    others = ctx.overlay.tunnels if ctx.overlay is not None and state is used[0] else ()
    return replace(state, further=tuple(each for each in others if each is not state))


def _of_its_members(ctx: Context, state: OverlayState, result: Result) -> Result:
    """The result with whom it concerns, where this node has others on other overlays."""
    if ctx.overlay is None or not isinstance(result.facts, InterfaceFacts):
        return result
    url = ctx.settings.control.usable_url
    control = str(url.address) if url is not None and url.address is not None else None
    concerned = targets_on(ctx.overlay, state, ctx.peers, control)
    return replace(result, facts=replace(result.facts, members=concerned))


def _carried(ctx: Context) -> dict[str | None, list[str]]:
    """Where a node has several overlays: by interface, who is on it."""
    found: dict[str | None, list[str]] = {}
    if ctx.overlay is None or not ctx.overlay.further:
        return found
    for peer in ctx.peers:
        tunnel, route = ctx.overlay.tunnel_for(peer.address), ctx.overlay.routes.get(peer.address)
        if tunnel.claims(peer.address) >= 0 or (route is not None and route.interface == tunnel.interface):
            found.setdefault(tunnel.interface, []).append(peer.target)
    url = ctx.settings.control.usable_url
    if (
        url is not None
        and url.address is not None
        and (tunnel := ctx.overlay.tunnel_for(url.host)).claims(url.host) >= 0
    ):
        found.setdefault(tunnel.interface, []).append("the control plane")
    return found


def judge(
    state: OverlayState | None,
    links: Iterable[Link],
    wanted: str | None,
    facts: Mapping[str, Fact] | None = None,
    used: Sequence[OverlayState] = (),
    on: Mapping[str | None, Sequence[str]] | None = None,
    stopped: Sequence[str] = (),
    members: Sequence[str] = (),
) -> Result:
    """From the state of a tunnel; `wanted` is the interface in the settings, `facts` go into the result.

    used: the tunnels of this run; those that are not among them are named as left out. on: by interface, who is on it,
    where there are several. stopped: tunnels that have a file and no interface. members: the addresses of the peers.
    """
    on = on or {}
    if state is None:
        return _absent(links, wanted, stopped)
    ignored = [
        f"{_words(each)}{_who(on, each, ', which has ')}"
        for each in state.further
        if each.interface not in {one.interface for one in used}
    ]
    if used and used[0].interface == state.interface:
        ignored += unknown_tunnels(state, links)
    result = _judge(state, links, ignored, _who(on, state, ", and has "), members)
    if not facts:
        return result
    more = Evidence(state.product, "what else its daemon reports", dict(facts))
    return replace(result, evidence=(*result.evidence, more))


def _who(on: Mapping[str | None, Sequence[str]], state: OverlayState, words: str) -> str:
    """Who is on an overlay, behind these words; empty where nobody is."""
    names = list(on.get(state.interface, ()))
    more = [] if len(names) <= MAXIMUM_NAMES else [f"{len(names) - MAXIMUM_NAMES} more"]
    shown = [*names[:MAXIMUM_NAMES], *more]
    return f"{words}{' and '.join(shown)}" if shown else ""


def _words(state: OverlayState) -> str:
    """An overlay that this run leaves alone, in words."""
    name = f"{state.product} on {state.interface}" if state.interface else state.product
    if state.condition is not None and state.health:
        return f"{name} ({state.health[0]})"
    return name if state.up and state.condition is None else f"{name}, down"


def _judge(
    state: OverlayState, links: Iterable[Link], ignored: Sequence[str], who: str, members: Sequence[str]
) -> Result:
    name = state.interface or state.product
    kind = next((link.kind for link in links if link.name == name), None)
    what = kind if state.product == "generic" and kind is not None else state.product
    if state.condition is not None:
        said = "; ".join(state.health[:MAXIMUM_COMPLAINTS]) or state.condition
        about = f"{name} ({what})" if what is kind else f"{what} says of {name}"
        return _failed(state, codes.ALL[state.condition], f"{about}: {said}")
    if not state.up:
        only_reported = state.mtu is None or state.product in MISSING
        missing = only_reported and all(link.name != name for link in links)
        if missing and state.unreadable == PRIVILEGE:
            return _unknown(state)
        message = f"the overlay interface {name} ({what}) {'does not exist' if missing else 'is down'}"
        remedies = _made_again(state) if missing else up_again(state, name, members)
        return _failed(state, codes.OVERLAY_DOWN, message + _complaints(state), remedies)
    if not state.addresses:
        small = _too_small_for_ipv6(state, members)
        message = f"{name} ({what}) is up but has no address{_unaddressed(state, small=small)}"
        code = codes.OVERLAY_MTU_TOO_SMALL if small else codes.OVERLAY_NO_ADDRESS
        room = heal(lambda: LinkMtu(interface=name, mtu_bytes=IPV6_MINIMUM)) if small else ()
        given = addresses_of_the_file(state, room, _remedies(state, "overlay.no-address"))
        return _failed(state, code, message + _complaints(state), given)
    addresses = ", ".join(map(str, state.addresses))
    message = (
        f"{name} ({what}) is up with {addresses} and MTU {state.mtu}{who}{_shields(state)}{_expiry(state)}"
        f"{_away(state, members)}"
    )
    others = f"; this run ignores the other overlays of this node: {', '.join(ignored)}" if ignored else ""
    return passed(NODE, Direction.LOCAL, message + others, **_reported(state, ignored))


def _shields(state: OverlayState) -> str:
    """No fault, and the reason where a peer gets no answer from this node."""
    return f"; {state.product} lets in nothing that a peer begins (shields-up)" if state.shielded else ""


def _away(state: OverlayState, members: Sequence[str]) -> str:
    """Members of which nobody asks, because they have been switched off for long."""
    away = [
        peer.name for peer in state.peers if peer.away and not any(state.peer_for(each) is peer for each in members)
    ]
    more = f" and {len(away) - MAXIMUM_NAMES} more" if len(away) > MAXIMUM_NAMES else ""
    shown = ", ".join(away[:MAXIMUM_NAMES]) + more
    return f"; left out, as they were last seen more than a day ago: {shown}" if away else ""


def _expiry(state: OverlayState) -> str:
    """When the key ends, unless the product says that it has, and that sessions go on."""
    if not state.key_expires_unix_s or any("expired" in each for each in state.health):
        return ""
    what = "certificate" if state.product == "nebula" else "key"
    return f"; its {what} expires at {utc(state.key_expires_unix_s)}"


def _unaddressed(state: OverlayState, *, small: bool) -> str:
    """Why, where the product itself shows it."""
    if state.withheld:
        given, setting = ", ".join(state.withheld), state.withheld_by
        return f": the network's controller gives it {given}, and this node does not take that ({setting} is off)"
    if state.lost:
        return f": {state.product} has given it {', '.join(state.lost)}, and something has taken that off it"
    if state.product == "zerotier" and not state.complaints:
        given = "the network's controller has authorised this node and gives it none"
        return ", and only root may ask zerotier why" if state.unreadable else f": {given}"
    if small:
        return f": its MTU is {state.mtu}, and Linux has no IPv6 on a device with less than {IPV6_MINIMUM}"
    return ""


def _unknown(state: OverlayState) -> Result:
    """A configuration that only root may read names the interface."""
    message = f"{state.product} is configured here, but this user may not read for which interface{_complaints(state)}"
    return inconclusive(codes.RUN_NEEDS_PRIVILEGE, NODE, Direction.LOCAL, message, **_reported(state))


def _too_small_for_ipv6(state: OverlayState, members: Sequence[str]) -> bool:
    """Whether Linux takes an address of the file off the device, and takes it back at a larger MTU only.

    Without a file what the peers have shows of which family an overlay is that has one only.
    """
    file = state.configured
    of_ipv6 = any(each.version == 6 for each in file.addresses) if file is not None else families(state, members) == {6}
    return of_ipv6 and state.mtu is not None and state.mtu < IPV6_MINIMUM


def _failed(state: OverlayState, code: Code, message: str, remedies: Remedies = ()) -> Result:
    remedies = levers.unread(state) or remedies or _remedies(state, code.slug)
    place = Station("address" if code == codes.OVERLAY_NO_ADDRESS else "tunnel")
    return failed(code, NODE, Direction.LOCAL, message, remedies=remedies, station=place, **_reported(state))


def _reported(state: OverlayState, ignored: Sequence[str] = ()) -> dict[str, Any]:
    """What the product reports about this node."""
    reported = {
        "version": state.version,
        "public_key": state.public_key,
        "health": list(dict.fromkeys((*state.health, *(each.said for each in state.complaints)))),
        "unreadable": state.unreadable,
        "key_expires": utc(state.key_expires_unix_s) if state.key_expires_unix_s else None,
        "other_overlays": list(ignored),
    }
    evidence = Evidence(
        state.product,
        "what the product reports about this node",
        {name: said for name, said in reported.items() if said},
    )
    return {
        "facts": InterfaceFacts(mtu_bytes=state.mtu, peers=len(state.peers)),
        "evidence": (evidence,) if evidence.data else (),
    }


def _absent(links: Iterable[Link], wanted: str | None, stopped: Sequence[str] = ()) -> Result:
    here = ", ".join(link.name for link in links) or "none"
    if wanted is None and len(stopped) == 1:
        wanted = stopped[0]
        message = (
            f"{wanted}, which has a wg-quick file, is not there, nor any other overlay; the interfaces are: {here}"
        )
        remedies = heal(lambda: WgQuick(interface=stopped[0]), lasting=f"systemctl enable wg-quick@{wanted}")
        return failed(
            codes.OVERLAY_ABSENT, NODE, Direction.LOCAL, message, remedies=remedies, station=Station("tunnel")
        )
    if wanted is not None:
        message = f"the overlay interface {wanted} of the settings does not exist; the interfaces here are: {here}"
        remedies = heal(lambda: WgQuick(interface=wanted)) if wanted in stopped else its_program(wanted)
    else:
        message = f"no overlay on this node: looked for {PRODUCTS}; the interfaces here are: {here}"
        remedies = by_hand(
            "Start the overlay (`wg-quick up wg0`), or name its interface under overlay.interface in preflight.yaml.",
            root=True,
        )
    place = Station("tunnel")
    return failed(codes.OVERLAY_ABSENT, NODE, Direction.LOCAL, message, remedies=remedies, station=place)


def _complaints(state: OverlayState) -> str:
    said = dict.fromkeys((*state.health, *(each.said for each in state.complaints)))
    return f" ({'; '.join(list(said)[:MAXIMUM_COMPLAINTS])})" if said else ""
