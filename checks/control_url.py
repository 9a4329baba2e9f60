"""Is the control URL set, well formed, alike in all its places, and is its address on the overlay?"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from preflight.api import (
    CONTROL,
    Code,
    Context,
    Direction,
    Evidence,
    Remedies,
    Result,
    by_hand,
    check,
    codes,
    facts,
    failed,
    heal,
    look,
    passed,
    request,
)
from preflight.model.fix import WorkersLine
from preflight.model.overlay import OverlayState
from preflight.model.remedy import to_try
from preflight.model.token import UnreadLine
from preflight.proto.control.placement import (
    OUTSIDE,
    Placement,
    leak,
    members,
    of_one_member,
    placeholder,
    placement,
    set_url,
    some_address,
    unknown_text,
    unowned,
    way_text,
)
from preflight.proto.control.url import SERVER_PORT, ControlUrl, ControlUrlError
from preflight.proto.tunnel.levers import admit
from preflight.proto.tunnel.members import said_of, shut_out

ASKED_S = 4.0
"""For a control plane at a URL that may be meant."""


@dataclass(frozen=True, slots=True)
class Tried:
    """Where control planes answer, as far as it was asked. rivals: URLs that stronger sources hide, by source.

    used: whether one answers at the URL that is used; None: not asked. meant: the URL that the operator meant, and
    where one answers. way_inside: how clients are led through the tunnel, where the URL leads elsewhere.
    """

    used: bool | None = None
    rivals: tuple[tuple[str, ControlUrl], ...] = ()
    living: tuple[str, ...] = ()
    meant: ControlUrl | None = None
    way_inside: Remedies = ()


@check(
    "control.url",
    title="Control URL is on the overlay",
    subject="control",
    codes=(
        codes.CONTROL_URL_MISSING,
        codes.CONTROL_URL_INVALID,
        codes.CONTROL_URL_BIND_ALL,
        codes.CONTROL_URL_CONFLICT,
        codes.CONTROL_URL_OFF_OVERLAY,
        codes.OVERLAY_NOT_AUTHORIZED,
        codes.OVERLAY_ROUTE_LEAK,
        codes.OVERLAY_ALLOWED_IPS,
    ),
    timeout=10,
)
async def control_url(ctx: Context) -> AsyncGenerator[Result, None]:
    """Judge the control URL as written: precedence, normalisation, bind-all, literal addresses off the overlay.

    A node without any control-plane setting needs no URL: checks of the control plane do not run there. control.dns
    judges names, after it has resolved them. What is on the overlay, the kernel says: where it sends packets for the
    address, and whether a peer owns it there. Where places disagree, or what was meant is plain, both are asked for
    their health.
    """
    settings, tried = ctx.settings, await measure(ctx)
    url = settings.control.usable_url
    literal = [url.host] if url is not None and url.address is not None else []
    overlay = await ctx.net.with_routes(ctx.overlay, literal, url.port if url is not None else 0)
    if url is not None and literal and placement(url.host, overlay) == "off":
        tried = replace(tried, way_inside=await ctx.net.way_inside(url, literal, overlay, ctx.url_source))
    if settings.control.url is None and settings.unread_url is not None:
        yield _not_read(settings.unread_url)
        return
    yield judge(settings.control.url, settings.control_url_source, overlay, ctx.url_source, tried)


async def measure(ctx: Context) -> Tried:
    """Ask where it decides something: a URL that is good and alone is not asked here."""
    url, rivals = ctx.settings.control.url, ctx.settings.control_url_rivals
    if isinstance(url, ControlUrlError):
        wanted = _meant(url, ctx.overlay, [peer.address for peer in ctx.settings.peers])
        found = await asyncio.gather(*(ctx.net.control_lives(each, ASKED_S) for each in wanted))
        living = [each for each, lives in zip(wanted, found, strict=True) if lives]
        return Tried(meant=of_one_member(living, ctx.overlay))
    if url is None or not rivals:
        return Tried()
    used, *others = await asyncio.gather(
        *(ctx.net.control_lives(each, ASKED_S) for each in (url, *(rival.url for rival in rivals)))
    )
    pairs = tuple((rival.source, rival.url) for rival in rivals)
    return Tried(used, pairs, tuple(rival.source for rival, lives in zip(rivals, others, strict=True) if lives))


def _meant(error: ControlUrlError, overlay: OverlayState | None, peers: Sequence[str]) -> Sequence[ControlUrl]:
    """What may have been meant: the corrected URL, or members' addresses in the place of one with a zone.

    peers: the addresses of those that the settings name, also where nobody may read the tunnel's.
    """
    if error.meant is None:
        return ()
    if error.problem != "zone":
        return (error.meant,)
    return [error.meant.at(host) for host in dict.fromkeys((*members(overlay), *peers))]


def judge(
    url: ControlUrl | ControlUrlError | None,
    source: str | None,
    overlay: OverlayState | None,
    origin: str | None = None,
    tried: Tried | None = None,
) -> Result:
    """Judge the URL by its source and by the kernel's way to its address. origin: the source, a file by its absolute
    path.
    """
    if url is None or (isinstance(url, ControlUrlError) and url.fault == "empty"):
        return _bad(
            codes.CONTROL_URL_MISSING,
            "source",
            "this node has control-plane settings, but no control URL: set --control-url, "
            "VOX_ORCHESTRATOR_MESH_CONTROL_URL, VOX_MESH_CONTROL_ADDR or control.url in the settings file",
            by_hand(_example(overlay)),
        )
    named = f"(from {source})" if source else "(given)"
    tried = tried or Tried()
    if isinstance(url, ControlUrlError):
        return _unusable(url, named, tried, overlay, origin or source)
    if tried.used is False and len(tried.living) == 1:
        return _conflict(url, source, tried, origin or source)
    return _judge_place(url, named, overlay, origin or source, tried)


def _not_read(line: UnreadLine) -> Result:
    """The only control URL is in a line that a shell reads, and workers do not."""
    message = f"this node has no control URL: {line.path} {line.said}"
    remedies = heal(lambda: WorkersLine(file=str(line.path.absolute()), name=line.name))
    return _bad(codes.CONTROL_URL_MISSING, "source", message, remedies, file=str(line.path), problem=line.behind)


def _unusable(
    url: ControlUrlError, named: str, tried: Tried, overlay: OverlayState | None, origin: str | None
) -> Result:
    message = f"the control URL {url.written!r} {named} cannot be used: {url.reason}"
    if url.fault == "bind-all":
        return _bad(codes.CONTROL_URL_BIND_ALL, "source", message, by_hand(_example(overlay)))
    if tried.meant is not None:
        message += f"; at {tried.meant} a control plane answers"
        remedies = set_url(str(tried.meant), origin)
    elif url.meant is not None and url.problem != "zone":
        remedies = look(placeholder(str(url.meant)))
    else:
        remedies = by_hand(_example(overlay))
    return _bad(codes.CONTROL_URL_INVALID, "parse", message, remedies, problem=url.problem)


def _conflict(url: ControlUrl, source: str | None, tried: Tried, origin: str | None) -> Result:
    """The source that wins leads nowhere, and one that it hides leads to a control plane."""
    (other,) = tried.living
    right = dict(tried.rivals)[other]
    message = (
        f"{source} sets the control URL {url}, where no control plane answers, and hides {right} of {other}, where "
        "one does"
    )
    is_variable = source is not None and source.replace("_", "").isupper()
    where = {"variable": source} if is_variable else {"file": origin}
    return _bad(codes.CONTROL_URL_CONFLICT, "source", message, set_url(str(right), origin), **where)


def _judge_place(url: ControlUrl, named: str, overlay: OverlayState | None, source: str | None, tried: Tried) -> Result:
    evidence = (Evidence("url", "the control URL, normalised", {"url": str(url), "source": named.strip("()")}),)
    hidden = "".join(f"; {other} has another one, {rival}" for other, rival in tried.rivals)
    address = url.address
    if address is None:
        message = f"{url} {named} is well formed; it names the host {url.host}{hidden}"
        return passed(CONTROL, Direction.LOCAL, message, evidence=evidence, station=request("parse"))
    place = placement(str(address), overlay)
    if overlay is not None and (place in OUTSIDE or place == "unowned"):
        return _astray(url, named, overlay, place, tried.way_inside, evidence)
    where = {
        "overlay": f"leads to {address} on the overlay",
        "loopback": f"leads to this node ({address}), which is right only on the control host",
        "refused": f"leads to {address}, and this node's kernel refuses to send there now",
    }.get(place, f"leads to {address}; it is not known whether that is on an overlay: {_unknown(overlay, address)}")
    message = f"{url} {named} {where}{hidden}"
    return passed(CONTROL, Direction.LOCAL, message, evidence=evidence, station=request("parse"))


def _unknown(overlay: OverlayState | None, address: IPv4Address | IPv6Address) -> str:
    route = overlay.routes.get(str(address)) if overlay is not None else None
    return unknown_text(route) if route is not None and route.doubt is not None else "none was found here"


def _bad(code: Code, station: str, message: str, remedies: Remedies, **decided: str | None) -> Result:
    return failed(
        code,
        CONTROL,
        Direction.LOCAL,
        message,
        remedies=remedies,
        measurements=facts.DeathFacts(**decided).measurements(),  # type: ignore[arg-type]
        station=request(station),
    )


def _astray(
    url: ControlUrl,
    named: str,
    overlay: OverlayState,
    place: Placement,
    way_inside: Remedies,
    evidence: tuple[Evidence, ...],
) -> Result:
    """Packets for the URL's address do not get into the overlay, or no peer takes them there."""
    leads, address = f"the control URL {url} {named} leads to {url.host}", url.host
    about: dict[str, Any] = {
        "evidence": evidence,
        "station": request("route"),
        "measurements": {"interface": overlay.routes[address].interface},
    }
    if place == "unowned" and overlay.tunnel_for(address).product == "wireguard":
        message, remedies = unowned(address, overlay)
        code = codes.OVERLAY_ALLOWED_IPS
        return failed(code, CONTROL, Direction.LOCAL, f"{leads}: {message}", remedies=remedies, **about)
    if place == "leak":
        message, remedies = leak(address, overlay)
        code = codes.OVERLAY_ROUTE_LEAK
        return failed(code, CONTROL, Direction.LOCAL, f"{leads}: {message}", remedies=remedies, **about)
    if (denied := shut_out(overlay, address)) is not None and denied.claims(address) >= 0:
        message, code = f"{leads}, which is in {said_of(denied)}", codes.OVERLAY_NOT_AUTHORIZED
        return failed(code, CONTROL, Direction.LOCAL, message, remedies=admit(denied), **about)
    message, remedies = way_text(address, overlay), way_inside or by_hand(_example(overlay))
    if denied is not None:
        message, remedies = f"{message}; it may be in {said_of(denied)}", (*to_try(admit(denied)), *remedies)
    said = f"{leads}, which is not on the overlay: {message}"
    return failed(codes.CONTROL_URL_OFF_OVERLAY, CONTROL, Direction.LOCAL, said, remedies=remedies, **about)


def _example(overlay: OverlayState | None) -> str:
    """The line to paste, with a placeholder for the control plane's overlay address."""
    return placeholder(f"http://{some_address(overlay)}:{SERVER_PORT}")
