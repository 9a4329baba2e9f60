"""Which overlays of a node have one address; pure."""

from ipaddress import ip_address

from preflight.model.overlay import WHOLE_BITS, IPNetwork, OverlayState


def rivals(overlay: OverlayState, address: str) -> tuple[OverlayState, ...]:
    """The overlays that have an address in addition to the one that is taken for it, and that can send."""
    taken = overlay.tunnel_for(address)
    others = (each for each in overlay.tunnels if each is not taken and each.interface != taken.interface)
    return tuple(each for each in others if each.up and each.condition is None and each.claims(address) >= 0)


def network_of(state: OverlayState, address: str) -> IPNetwork | None:
    """The narrowest network by which an overlay has an address, without what is only a part of the whole Internet."""
    wanted = ip_address(address)
    known = [state.owners.prefix(address), *state.prefixes, *(own.network for own in state.addresses)]
    having = (each for each in known if each is not None and each.version == wanted.version and wanted in each)
    narrow = (each for each in having if each.prefixlen > WHOLE_BITS)
    return max(narrow, key=lambda each: each.prefixlen, default=None)
