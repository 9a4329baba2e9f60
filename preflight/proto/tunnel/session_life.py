"""Whether a product's session with a peer lives although nothing comes back through it; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.product_ping import ProductPing

HEARD_S = 5.0
"""Of ZeroTier: a peer that was heard so recently is heard while this run sends to it."""
UNSENT_S = 10.0
"""Longer than this run has been sending to the peer: its daemon then drops what it is given."""
SESSION_S = 180.0
"""WireGuard sends nothing more with the keys of an older handshake."""
INITIATION_BYTES = 148


@dataclass(frozen=True, slots=True)
class Life:
    """What shows that a session lives, as the beginning of a sentence.

    here: packets do not even leave this node. unkeyed: there is a path, and the session's keys fit nobody there.
    partly: something of what this node sends gets an answer. places: where a member was heard, if in several places.
    trusted: the way to a member that goes without encryption, in words.
    """

    words: str
    here: bool = False
    unkeyed: bool = False
    partly: bool = False
    places: tuple[str, ...] = ()
    trusted: str = ""


def life(state: OverlayState, address: str, pings: Sequence[ProductPing], now_unix_s: float) -> Life | None:
    """From a state that was read after this run sent to the peer; None where it shows nothing."""
    if state.product == "zerotier":
        return _by_paths(candidates(state, address), now_unix_s)
    known = state.peer_for(address) if state.product == "tailscale" else None
    if known is None or known.expired:
        return None
    if pings:
        return _by_pings(known, pings)
    return _by_state(known, now_unix_s)


def _by_pings(known: OverlayPeer, pings: Iterable[ProductPing]) -> Life | None:
    answered = {ping.kind: ping for ping in pings if ping.latency_s is not None}
    if (through := answered.get("TSMP")) is not None:
        return Life(f"tailscale's own ping of {known.name} goes through the session ({_ms(through)})")
    if (path := answered.get("disco")) is not None and _never_keyed(known):
        return Life(f"{_reached(known, path)}, and no handshake of the session is answered", unkeyed=True)
    return None


def _ms(ping: ProductPing) -> str:
    return f"{(ping.latency_s or 0.0) * 1000:.0f} ms"


def _reached(known: OverlayPeer, ping: ProductPing) -> str:
    return f"tailscale reaches {known.name} at {ping.endpoint or known.endpoint or 'a relay'}"


def _never_keyed(known: OverlayPeer) -> bool:
    """Several initiations went out, and no handshake ever came of them."""
    sent, received = known.tx_bytes or 0, known.rx_bytes or 0
    return known.last_handshake_unix_s == 0 and received == 0 and sent >= 2 * INITIATION_BYTES


def _by_state(known: OverlayPeer, now_unix_s: float) -> Life | None:
    """Tailscale forgets a direct path within seconds once the peer does not answer its probes."""
    if known.endpoint is None or known.online is False:
        return None
    if _never_keyed(known):
        return Life(
            f"tailscale reaches {known.name} at {known.endpoint}, and no handshake of the session is answered",
            unkeyed=True,
        )
    age_s = now_unix_s - (known.last_handshake_unix_s or 0.0)
    if not 0 <= age_s < SESSION_S:
        return None
    return Life(f"tailscale reaches {known.name} at {known.endpoint}, with a handshake {age_s:.0f} s ago")


def candidates(state: OverlayState, address: str) -> tuple[OverlayPeer, ...]:
    """The member that has the address, else all members except roots: ZeroTier does not say who has it."""
    known = state.peer_for(address)
    return (known,) if known is not None else tuple(peer for peer in state.peers if peer.name == "leaf")


def _by_paths(members: Sequence[OverlayPeer], now_unix_s: float) -> Life | None:
    """All of the members must show the same, as it is not known which of them the peer is."""
    if not members or any(member.last_seen_unix_s is None for member in members):
        return None
    names = " and ".join(member.key for member in members)
    heard_s = max(now_unix_s - (member.last_seen_unix_s or 0.0) for member in members)
    unsent_s = min(now_unix_s - (member.last_sent_unix_s or 0.0) for member in members)
    if heard_s <= HEARD_S:
        places = next((member.places for member in members if member.places), ())
        trusting = (f"{each.endpoint} by the trusted path {each.trusted}" for each in members if each.trusted)
        return Life(f"zerotier heard {names} {max(heard_s, 0.0):.1f} s ago", places=places, trusted=next(trusting, ""))
    if unsent_s > UNSENT_S:
        return Life(f"zerotier has sent nothing to {names} for {unsent_s:.0f} s, while this run sent to it", here=True)
    return None
