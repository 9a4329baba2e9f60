"""Is the control plane reachable from outside the overlay, on a public address?"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Literal

from preflight.api import (
    CONTROL,
    Context,
    Direction,
    Evidence,
    Result,
    by_hand,
    check,
    codes,
    failed,
    passed,
    skipped,
)
from preflight.model.host_port import join_host_port
from preflight.model.kernel import NeedsPlatform
from preflight.model.overlay import PRIVILEGE, OverlayState
from preflight.proto.control.placement import host_inside
from preflight.proto.control.url import ControlUrl

CONNECT_TIMEOUT_S = 2.0

Origin = Literal["url", "endpoint", "own"]


@dataclass(frozen=True, slots=True)
class Place:
    """A public address of the control host.

    origin: the URL resolves to it, the tunnel to the host ends there, or the host is this node and has it.
    """

    address: str
    origin: Origin
    answers: bool = False


@check(
    "posture.exposed",
    title="Control plane does not answer on a public address",
    subject="control",
    codes=(codes.POSTURE_EXPOSED,),
    needs=("control.health",),
    timeout=15,
)
async def posture_exposed(ctx: Context) -> AsyncGenerator[Result, None]:
    """Ask `/health` at every known public address of the control host: of its URL, its tunnel's endpoint, its
    interfaces.
    """
    url = ctx.settings.control.usable_url
    if url is None or ctx.net.control.proxy is not None:
        message = "this node does not connect to the control plane directly, so it does not know its addresses"
        yield skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.ROUND_TRIP, message)
        return
    yield judge(url, *await measure(ctx, url))


async def measure(ctx: Context, url: ControlUrl) -> tuple[Sequence[Place], OverlayState | None]:
    """One request to each public address, without a bearer; the feature header identifies a control plane.

    Also the overlay, with the kernel's ways to the addresses.
    """
    addresses, own = await ctx.net.dns.addresses(url), await _own(ctx)
    ends = [end for end in map(partial(_end, ctx.overlay), addresses) if end is not None]
    known = filter(_is_address, (*addresses, *ends, *own))
    overlay = await ctx.net.with_routes(ctx.overlay, known, url.port)
    found = places(addresses, overlay, own)
    answers = await asyncio.gather(*(ctx.net.control_at(url, place.address, CONNECT_TIMEOUT_S) for place in found))
    return [Place(each.address, each.origin, answer) for each, answer in zip(found, answers, strict=True)], overlay


def _end(overlay: OverlayState | None, address: str) -> str | None:
    """Where the tunnel to an address ends."""
    peer = overlay.tunnel_for(address).peer_for(address) if overlay is not None else None
    return peer.endpoint_address if peer is not None else None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


async def _own(ctx: Context) -> Sequence[str]:
    """Every address of this node, if the kernel lists them."""
    try:
        links = await ctx.net.kernel.links()
    except NeedsPlatform:
        return ()
    return [str(interface.ip) for link in links for interface in link.addresses]


def places(addresses: Sequence[str], overlay: OverlayState | None, own: Sequence[str] = ()) -> list[Place]:
    """The URL's public addresses, the public endpoints of the tunnels to them, and this node's if it is the control
    host.
    """
    found = {address: Place(address, "url") for address in addresses if is_public(address, overlay)}
    for address in addresses:
        end = _end(overlay, address)
        if end is not None and is_public(end, overlay):
            found.setdefault(end, Place(end, "endpoint"))
    if set(addresses) & set(own):
        for address in own:
            if is_public(address, overlay):
                found.setdefault(address, Place(address, "own"))
    return list(found.values())


def is_public(address: str, overlay: OverlayState | None) -> bool:
    """Global unicast (IANA's registries), but not on the overlay: some overlays use global prefixes inside."""
    if not _is_address(address):
        return False
    parsed = ip_address(address)
    return parsed.is_global and not parsed.is_multicast and not (overlay is not None and overlay.covers(address))


def judge(url: ControlUrl, seen: Sequence[Place], overlay: OverlayState | None = None) -> Result:
    """Only an answer is a finding: a known address should be silent."""
    where = (CONTROL, Direction.ROUND_TRIP)
    evidence = (Evidence("addresses", "public addresses of the control host", {p.address: p.answers for p in seen}),)
    measurements = {"public_addresses": len(seen), "public_addresses_answering": sum(place.answers for place in seen)}
    exposed = [place for place in seen if place.answers]
    if exposed:
        place = exposed[0]
        how = {
            "url": "to which its URL resolves",
            "endpoint": "where the tunnel to its host ends",
            "own": "which belongs to this node",
        }[place.origin]
        return failed(
            codes.POSTURE_EXPOSED,
            *where,
            f"the control plane answers on port {url.port} of the public address {place.address}, {how}",
            remedies=by_hand(_bind(url, exposed, overlay), where="control host"),
            measurements={**measurements, "answered_address": [place.address for place in exposed]},
            evidence=evidence,
        )
    if not seen:
        message = "no public address of the control host is known here"
        if overlay is not None and overlay.unreadable == PRIVILEGE:
            message += ", and this user may not read where the tunnel to it ends"
        return passed(*where, message, measurements=measurements)
    silent = ", ".join(place.address for place in seen)
    return passed(*where, f"it does not answer on {silent}", measurements=measurements, evidence=evidence)


def _bind(url: ControlUrl, exposed: Sequence[Place], overlay: OverlayState | None) -> str:
    """The line that makes the control plane listen only inside the tunnel."""
    addresses = [*([url.host] if url.address is not None else []), *(place.address for place in exposed)]
    host = host_inside(addresses, overlay) or "OVERLAY-ADDRESS"
    return f"preflight control-plane serve --bind {join_host_port(host, url.port)}   # on the control host"
