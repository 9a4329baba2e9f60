"""Is the control URL set and well formed, and is its address on the overlay?"""

from collections.abc import AsyncGenerator
from typing import Any

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
    request,
)
from preflight.model.overlay import OverlayState
from preflight.proto.control.placement import (
    OUTSIDE,
    Placement,
    leak,
    overlay_twin,
    placeholder,
    placement,
    set_url,
    unowned,
    way_text,
)
from preflight.proto.control.url import SERVER_PORT, ControlUrl, ControlUrlError


@check(
    "control.url",
    title="Control URL is on the overlay",
    subject="control",
    codes=(
        codes.CONTROL_URL_MISSING,
        codes.CONTROL_URL_INVALID,
        codes.CONTROL_URL_BIND_ALL,
        codes.CONTROL_URL_OFF_OVERLAY,
        codes.OVERLAY_ROUTE_LEAK,
        codes.OVERLAY_ALLOWED_IPS,
    ),
    timeout=5,
)
async def control_url(ctx: Context) -> AsyncGenerator[Result, None]:
    """Judge the control URL as written: precedence, normalisation, bind-all, literal addresses off the overlay.

    A node without any control-plane setting needs no URL: checks of the control plane do not run there. control.dns
    judges names, after it has resolved them. What is on the overlay, the kernel says: where it sends packets for the
    address, and whether a peer owns it there.
    """
    url = ctx.settings.control.usable_url
    literal = [url.host] if url is not None and url.address is not None else []
    overlay = await ctx.net.with_routes(ctx.overlay, literal)
    yield judge(ctx.settings.control.url, ctx.settings.control_url_source, overlay, ctx.url_source)


def judge(
    url: ControlUrl | ControlUrlError | None,
    source: str | None,
    overlay: OverlayState | None,
    origin: str | None = None,
) -> Result:
    """Judge the URL by its source and by the kernel's way to its address. origin: the source, a file by its absolute
    path.
    """
    if url is None or (isinstance(url, ControlUrlError) and url.fault == "empty"):
        return failed(
            codes.CONTROL_URL_MISSING,
            CONTROL,
            Direction.LOCAL,
            "this node has control-plane settings, but no control URL: set --control-url, "
            "VOX_ORCHESTRATOR_MESH_CONTROL_URL, VOX_MESH_CONTROL_ADDR or control.url in the settings file",
            remedies=by_hand(_example(overlay)),
        )
    named = f"(from {source})" if source else "(given)"
    if isinstance(url, ControlUrlError):
        return failed(
            codes.CONTROL_URL_BIND_ALL if url.fault == "bind-all" else codes.CONTROL_URL_INVALID,
            CONTROL,
            Direction.LOCAL,
            f"the control URL {url.written!r} {named} cannot be used: {url.reason}",
            remedies=by_hand(_example(overlay)),
        )
    return _judge_place(url, named, overlay, origin or source)


def _judge_place(url: ControlUrl, named: str, overlay: OverlayState | None, source: str | None) -> Result:
    evidence = (Evidence("url", "the control URL, normalised", {"url": str(url), "source": named.strip("()")}),)
    address = url.address
    if address is None:
        message = f"{url} {named} is well formed; it names the host {url.host}"
        return passed(CONTROL, Direction.LOCAL, message, evidence=evidence)
    place = placement(str(address), overlay)
    if overlay is not None and (place in OUTSIDE or place == "unowned"):
        return _astray(url, named, overlay, source, place, evidence)
    where = {
        "overlay": f"leads to {address} on the overlay",
        "loopback": f"leads to this node ({address}), which is right only on the control host",
        "refused": f"leads to {address}, and this node's kernel refuses to send there now",
    }.get(place, f"leads to {address}; it is not known whether that is on an overlay: none was found here")
    return passed(CONTROL, Direction.LOCAL, f"{url} {named} {where}", evidence=evidence)


def _astray(
    url: ControlUrl,
    named: str,
    overlay: OverlayState,
    source: str | None,
    place: Placement,
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
    twin = overlay_twin(url, overlay) if place == "off" else None
    return failed(
        codes.CONTROL_URL_OFF_OVERLAY,
        CONTROL,
        Direction.LOCAL,
        f"{leads}, which is not on the overlay: {way_text(address, overlay)}",
        remedies=set_url(twin, source) if twin else by_hand(_example(overlay)),
        **about,
    )


def _example(overlay: OverlayState | None) -> str:
    """The line to paste, with a placeholder for the control plane's overlay address."""
    prefix = next((str(interface.network) for interface in overlay.addresses), None) if overlay else None
    place = f"ADDRESS-IN-{prefix}" if prefix else "OVERLAY-ADDRESS"
    return placeholder(f"http://{place}:{SERVER_PORT}")
