"""Is there an overlay on this node, is it up, and does it have an address?"""

from collections.abc import AsyncGenerator, Iterable

from preflight.api import NODE, Context, Direction, Result, check, codes, failed, inconclusive, passed
from preflight.model.kernel import Link, NeedsPlatform
from preflight.model.overlay import OverlayState

PRODUCTS = "WireGuard, Tailscale, ZeroTier and Nebula"

# What to type, by product and what its own state says.
REMEDIES = {
    ("wireguard", "overlay.daemon-down"): "wg-quick down {interface}; wg-quick up {interface}",
    ("tailscale", "overlay.daemon-down"): "systemctl restart tailscaled",
    ("tailscale", "overlay.down"): "tailscale up",
    ("tailscale", "overlay.logged-out"): "tailscale up",
    ("tailscale", "overlay.key-expired"): "tailscale up --force-reauth",
    ("tailscale", "overlay.not-authorized"): "Approve this machine in the tailnet's admin console.",
    ("zerotier", "overlay.daemon-down"): "systemctl restart zerotier-one",
    ("zerotier", "overlay.logged-out"): "Log in to the network's single sign-on.",
    ("zerotier", "overlay.not-authorized"): "Authorise this node on the network's controller.",
    ("nebula", "overlay.daemon-down"): "systemctl restart nebula",
    (
        "nebula",
        "overlay.key-expired",
    ): "Sign a new certificate for this node with `nebula-cert sign` and restart nebula.",
}


@check(
    "overlay.interface",
    title="The overlay interface is up and has an address",
    subject="node",
    timeout=10,
    codes=(
        codes.OVERLAY_ABSENT,
        codes.OVERLAY_DOWN,
        codes.OVERLAY_NO_ADDRESS,
        codes.OVERLAY_DAEMON_DOWN,
        codes.OVERLAY_LOGGED_OUT,
        codes.OVERLAY_KEY_EXPIRED,
        codes.OVERLAY_NOT_AUTHORIZED,
    ),
)
async def overlay_interface(ctx: Context) -> AsyncGenerator[Result, None]:
    """Looks at the overlay's interface and at what its product says about itself; everything else needs this."""
    try:
        yield judge(ctx.overlay, await ctx.net.kernel.links(), ctx.settings.overlay.interface)
    except NeedsPlatform as error:
        yield inconclusive(codes.RUN_NEEDS_PLATFORM, NODE, Direction.LOCAL, str(error))


def judge(state: OverlayState | None, links: Iterable[Link], wanted: str | None) -> Result:
    """From the overlay's state; `wanted` is the interface that the settings name."""
    if state is None:
        return _absent(links, wanted)
    name = state.interface or state.product
    evidence = {"measurements": {"mtu_bytes": state.mtu, "peers": len(state.peers)}}
    if state.condition is not None:
        return failed(
            codes.ALL[state.condition],
            NODE,
            Direction.LOCAL,
            f"{state.product} says of {name}: {'; '.join(state.health) or state.condition}",
            remedy=REMEDIES.get((state.product, state.condition), "").format(interface=state.interface) or None,
            **evidence,
        )
    if not state.up:
        return failed(
            codes.OVERLAY_DOWN,
            NODE,
            Direction.LOCAL,
            " ".join([f"the overlay interface {name} ({state.product}) is down", *_complaints(state)]),
            remedy=f"ip link set dev {name} up",
            **evidence,
        )
    if not state.addresses:
        return failed(
            codes.OVERLAY_NO_ADDRESS,
            NODE,
            Direction.LOCAL,
            " ".join([f"{name} ({state.product}) is up but has no address", *_complaints(state)]),
            remedy=f"ip address add ADDRESS/PREFIX dev {name}" if state.product in ("wireguard", "generic") else None,
            **evidence,
        )
    addresses = ", ".join(map(str, state.addresses))
    return passed(
        NODE,
        Direction.LOCAL,
        f"{name} ({state.product}) is up with {addresses} and MTU {state.mtu}",
        **evidence,
    )


def _absent(links: Iterable[Link], wanted: str | None) -> Result:
    here = ", ".join(link.name for link in links) or "none"
    if wanted is not None:
        message = f"the overlay interface {wanted} of the settings does not exist; the interfaces here are: {here}"
        remedy = f"wg-quick up {wanted}"
    else:
        message = f"no overlay on this node: looked for {PRODUCTS}; the interfaces here are: {here}"
        remedy = (
            "Start the overlay (`wg-quick up wg0`), or name its interface under overlay.interface in preflight.yaml."
        )
    return failed(codes.OVERLAY_ABSENT, NODE, Direction.LOCAL, message, remedy=remedy)


def _complaints(state: OverlayState) -> list[str]:
    return [f"({'; '.join(state.health)})"] if state.health else []
