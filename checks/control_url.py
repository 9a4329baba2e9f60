"""Is the control URL set and well formed, and is its address on the overlay?"""

from collections.abc import AsyncGenerator

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
)
from preflight.model.overlay import OverlayState
from preflight.proto.control.placement import overlay_text, overlay_twin, placeholder, placement, set_url
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
    ),
    timeout=5,
)
async def control_url(ctx: Context) -> AsyncGenerator[Result, None]:
    """Judge the control URL as written: precedence, normalisation, bind-all, literal addresses off the overlay.

    A node without any control-plane setting needs no URL: checks of the control plane do not run there. control.dns
    judges names, after it has resolved them.
    """
    yield judge(ctx.settings.control.url, ctx.settings.control_url_source, ctx.overlay, ctx.url_source)


def judge(
    url: ControlUrl | ControlUrlError | None,
    source: str | None,
    overlay: OverlayState | None,
    origin: str | None = None,
) -> Result:
    """Judge the URL by its source and the overlay's prefixes. origin: the source, a file by its absolute path."""
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
    if place == "off" and overlay is not None:
        twin = overlay_twin(url, overlay)
        return failed(
            codes.CONTROL_URL_OFF_OVERLAY,
            CONTROL,
            Direction.LOCAL,
            f"the control URL {url} {named} leads to {address}, which is not on the overlay {overlay_text(overlay)}",
            remedies=set_url(twin, source) if twin else by_hand(_example(overlay)),
            evidence=evidence,
        )
    where = {
        "overlay": f"leads to {address} on the overlay",
        "loopback": f"leads to this node ({address}), which is right only on the control host",
    }.get(place, f"leads to {address}; it is not known whether that is on an overlay: none was found here")
    return passed(CONTROL, Direction.LOCAL, f"{url} {named} {where}", evidence=evidence)


def _example(overlay: OverlayState | None) -> str:
    """The line to paste, with a placeholder for the control plane's overlay address."""
    prefix = next((str(interface.network) for interface in overlay.addresses), None) if overlay else None
    place = f"ADDRESS-IN-{prefix}" if prefix else "OVERLAY-ADDRESS"
    return placeholder(f"http://{place}:{SERVER_PORT}")
