"""Which peer represents the path to the control plane."""

from collections.abc import Iterable, Sequence

from preflight.api import Peer, Result, Status
from preflight.model.facts import ControlTunnelFacts, NameFacts
from preflight.model.overlay import OverlayState
from preflight.proto.tunnel.wireguard import REJECT_AFTER_S
from preflight.settings.load import Settings


def control_host(
    settings: Settings, overlay: OverlayState | None, peers: Sequence[Peer], results: Iterable[Result]
) -> str | None:
    """Target name of the peer whose tunnel leads to the control plane, if known.

    It is the peer that owns one of its addresses. If no peer does and the address is on the overlay, a fault of the
    tunnels to *all* peers also affects the control plane, and the first of them represents it, unless the tunnel to the
    control plane has a known session.
    """
    results = tuple(results)
    addresses = control_addresses(settings, results)
    owner = next((peer.target for peer in peers if peer.address in addresses), None)
    if owner is not None or overlay is None or not any(_belongs(overlay, address) for address in addresses):
        return owner
    ages = (r.facts.tunnel_handshake_age_s for r in results if isinstance(r.facts, ControlTunnelFacts))
    if any(age_s is not None and age_s <= REJECT_AFTER_S for age_s in ages):
        return None
    dead = [r.target for r in results if r.check == "overlay.session" and r.status is Status.FAIL]
    return dead[0] if dead and set(dead) == {peer.target for peer in peers} else None


def control_addresses(settings: Settings, results: Iterable[Result]) -> set[str]:
    """The addresses of the control plane: in its URL, and those that its name was resolved to."""
    url = settings.control.usable_url
    addresses = {url.host} if url is not None and url.address is not None else set()
    for result in results:
        if isinstance(result.facts, NameFacts):
            addresses |= set(result.facts.addresses)
    return addresses


def _belongs(overlay: OverlayState, address: str) -> bool:
    """Whether it is an address of the overlay, also if packets for it leave another way now."""
    return overlay.covers(address) or any(tunnel.claims(address) >= 0 for tunnel in overlay.own_tunnels)
