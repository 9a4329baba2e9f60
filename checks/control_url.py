"""Is the control URL there, is it a URL, and does it lead into the overlay?"""

from collections.abc import AsyncGenerator

from preflight.api import CONTROL, Context, Direction, Evidence, Result, check, codes, failed, passed
from preflight.model.overlay import OverlayState
from preflight.proto.control.placement import overlay_text, overlay_twin, placement
from preflight.proto.control.url import SERVER_PORT, ControlUrl, ControlUrlError


@check(
    "control.url",
    title="Control URL leads into the overlay",
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
    """Judge the control URL as it was written: precedence, normalisation, bind-all, literal addresses off the overlay.

    A node for which nothing about a control plane is configured needs no URL: there no check about it runs. Names are
    judged by control.dns once they are resolved.
    """
    yield judge(ctx.settings.control.url, ctx.settings.control_url_source, ctx.overlay)


def judge(url: ControlUrl | ControlUrlError | None, source: str | None, overlay: OverlayState | None) -> Result:
    """What the URL, where it came from and the overlay's prefixes say."""
    if url is None or (isinstance(url, ControlUrlError) and url.fault == "empty"):
        return failed(
            codes.CONTROL_URL_MISSING,
            CONTROL,
            Direction.LOCAL,
            "this node is set up for a control plane, and no control URL is set, neither by --control-url nor by "
            "VOX_ORCHESTRATOR_MESH_CONTROL_URL, VOX_MESH_CONTROL_ADDR or control.url in the settings file",
            remedy=f"export {_example(overlay)}",
        )
    origin = f"(from {source})" if source else "(given)"
    if isinstance(url, ControlUrlError):
        return failed(
            codes.CONTROL_URL_BIND_ALL if url.fault == "bind-all" else codes.CONTROL_URL_INVALID,
            CONTROL,
            Direction.LOCAL,
            f"the control URL {url.written!r} {origin} cannot be used: {url.reason}",
            remedy=f"export {_example(overlay)}",
        )
    return _judge_place(url, origin, overlay)


def _judge_place(url: ControlUrl, origin: str, overlay: OverlayState | None) -> Result:
    evidence = (Evidence("url", "the control URL, normalised", {"url": str(url), "source": origin.strip("()")}),)
    address = url.address
    if address is None:
        message = f"{url} {origin} is well formed; it names the host {url.host}"
        return passed(CONTROL, Direction.LOCAL, message, evidence=evidence)
    place = placement(str(address), overlay)
    if place == "off" and overlay is not None:
        twin = overlay_twin(url, overlay)
        return failed(
            codes.CONTROL_URL_OFF_OVERLAY,
            CONTROL,
            Direction.LOCAL,
            f"the control URL {url} {origin} leads to {address}, which is not on the overlay {overlay_text(overlay)}",
            remedy=f"export VOX_ORCHESTRATOR_MESH_CONTROL_URL={twin}" if twin else f"export {_example(overlay)}",
            evidence=evidence,
        )
    where = {
        "overlay": f"leads to {address} on the overlay",
        "loopback": f"leads to this node itself ({address}), which is right only where the control plane runs",
    }.get(place, f"leads to {address}; whether that is on an overlay cannot be judged, as none is known here")
    return passed(CONTROL, Direction.LOCAL, f"{url} {origin} {where}", evidence=evidence)


def _example(overlay: OverlayState | None) -> str:
    """The line to paste, with the control plane's overlay address left to fill in."""
    prefix = next((str(interface.network) for interface in overlay.addresses), None) if overlay else None
    place = f"ADDRESS-IN-{prefix}" if prefix else "OVERLAY-ADDRESS"
    line = f"VOX_ORCHESTRATOR_MESH_CONTROL_URL=http://{place}:{SERVER_PORT}"
    return f"{line}   # the control host's own: ip -brief address, there"
