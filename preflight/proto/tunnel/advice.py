"""What to do where a WireGuard tunnel has no session."""

from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.remedy import Remedies, by_hand, look


def around(name: str | None, host: str | None) -> Remedies:
    """A route to the endpoint by the way that the default route takes outside the tunnel."""
    ip, length = ("ip -6", 128) if host and ":" in host else ("ip", 32)
    way = f"$({ip} route show default | grep -v 'dev {name}' | sed 's/^default //;q')"
    return by_hand(f"{ip} route add {host}/{length} {way}   # the underlay's gateway", root=True)


def compare(state: OverlayState, known: OverlayPeer) -> Remedies:
    """What must be the same on both ends for a handshake to succeed, with this node's values."""
    return look(
        f"Compare `wg show` on both nodes: the peer's public key must be {known.key}, it must list "
        f"{state.public_key or 'this node'} as a peer with the same preshared key, "
        f"and its UDP port {known.endpoint_port} must be open."
    )
