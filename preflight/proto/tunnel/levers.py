"""The levers of products with a control server, by what is wrong with this node's membership; pure."""

from preflight.model.fix import ServiceRestart, ZeroTierTakes
from preflight.model.overlay import OverlayState
from preflight.model.remedy import Remedies, by_hand, heal, look


def tailscale(state: OverlayState, slug: str) -> Remedies:
    """Log in where the tailnet really is: without its own server's URL, a login goes to Tailscale's."""
    server = f" --login-server={state.control_server}" if state.control_server else ""
    reminder = "" if server else "   # if the control server is not Tailscale's: add --login-server=URL"
    known = {
        "overlay.daemon-down": heal(lambda: ServiceRestart(service="tailscaled")),
        "overlay.down": by_hand("tailscale up", root=True),
        "overlay.no-address": by_hand("tailscale up", root=True),
        "overlay.logged-out": by_hand(f"tailscale up{server}{reminder}", root=True),
        "overlay.key-expired": by_hand(f"tailscale up --force-reauth{server}", root=True),
        "overlay.not-authorized": by_hand(
            "Approve this machine in the admin console of the tailnet, or at its control server.",
            where="product console",
        ),
    }
    return known.get(slug, ())


def zerotier(state: OverlayState, slug: str) -> Remedies:
    """What the node's service can change, else what the network's controller must."""
    network = state.network or "NETWORK"
    restart = heal(lambda: ServiceRestart(service="zerotier-one"))
    known = {
        "overlay.daemon-down": restart,
        "overlay.down": _device(restart),
        "overlay.no-address": _addresses(state),
        "overlay.not-joined": by_hand(
            "zerotier-cli join NETWORK   # its number of 16 digits is in the controller's console", root=True
        ),
        "overlay.logged-out": by_hand("Log in to the network's single sign-on.", where="product console"),
        "overlay.not-authorized": by_hand(
            f"Authorise this node in the network {network} on its controller.", where="product console"
        ),
    }
    return known.get(slug, ())


def _device(restart: Remedies) -> Remedies:
    return (*look("ls -l /dev/net/tun   # must exist, also in a container", root=True), *restart)


def _addresses(state: OverlayState) -> Remedies:
    """An address that is withheld here needs this node's consent; one that does not exist, the controller's."""
    if state.withheld:
        return heal(lambda: ZeroTierTakes(network=state.network or "", option="allowManaged"))
    if state.complaints:
        return look("zerotier-cli listnetworks   # the status of the network must become OK", root=True)
    return by_hand(
        f"Give this node an address in the network {state.network or 'NETWORK'} on its controller.",
        where="product console",
    )
