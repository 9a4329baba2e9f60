"""What a WireGuard session's counters mean, from two readings of them: pure.

Timers and sizes are those of the WireGuard paper, sections 5.4 and 6.1.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address

from preflight.model.kernel import Route
from preflight.model.overlay import OverlayPeer, OverlayState

REJECT_AFTER_S = 180.0  # a session older than this carries nothing
WATCH_S = 6.5  # an unanswered initiation is repeated after REKEY_TIMEOUT (5 s) and up to 1/3 s of jitter
FLOW_S = 0.3  # how long a fresh session may take to show that something comes back
INITIATION_BYTES = 148

FIREWALL = "Operation not permitted"  # what the kernel says where a local firewall drops what is being sent


class Finding(Enum):
    """The one thing to say about a session."""

    ALIVE = "alive"
    NO_KEEPALIVE = "alive, but a NAT mapping is left to die"
    NOT_ALLOWED = "no peer has the address in its allowed-ips"
    LOOP = "the endpoint is routed into the tunnel"
    REFUSED_HERE = "a local firewall lets nothing into the tunnel"
    NO_ENDPOINT = "no handshake ever, and no endpoint to send to"
    PORT_CLOSED = "no handshake, and the endpoint's port is closed"
    NOTHING_SENT = "no handshake, and nothing left for the endpoint"
    NO_HANDSHAKE = "no handshake ever, initiations stay unanswered"
    STALE = "no new handshake since the last one became too old"


@dataclass(frozen=True, slots=True)
class Watch:
    """One peer's session before and after something was sent to it. Times in seconds.

    objection: what the kernel said to what was sent last. route: how it sends the tunnel's packets to the endpoint.
    host_answers: whether the endpoint's host answers echoes, None where that is not known.
    """

    before: OverlayPeer | None
    after: OverlayPeer | None
    now_s: float
    watched_s: float
    objection: str | None = None
    route: Route | None = None
    host_answers: bool | None = None
    port_closed: bool = False

    @property
    def age_s(self) -> float | None:
        """Age of the last handshake; None where there never was one. A clock that was set back makes it 0."""
        handshake = self.after.last_handshake_s if self.after else None
        return max(0.0, self.now_s - handshake) if handshake else None

    @property
    def alive(self) -> bool:
        """Whether the session may carry data now."""
        return self.age_s is not None and self.age_s <= REJECT_AFTER_S

    @property
    def sent_bytes(self) -> int:
        """What went out to the peer while it was watched."""
        return _grown(self.before, self.after, "tx_bytes")

    @property
    def received_bytes(self) -> int:
        """What came from the peer while it was watched."""
        return _grown(self.before, self.after, "rx_bytes")

    @property
    def settled(self) -> bool:
        """Whether watching on cannot change the finding."""
        if self.after is None:
            return True
        if self.alive:
            return self.received_bytes > 0 or self.watched_s >= FLOW_S
        mute = self.after.endpoint is None and self.watched_s >= FLOW_S
        return mute or self.watched_s >= WATCH_S

    @property
    def finding(self) -> Finding:
        """What the readings mean; final once the watch is settled."""
        if self.after is None:
            return Finding.NOT_ALLOWED
        if self.alive:
            return Finding.NO_KEEPALIVE if self._behind_nat and self.after.keepalive_s == 0 else Finding.ALIVE
        return self._dead(self.after)

    def _dead(self, peer: OverlayPeer) -> Finding:
        if peer.endpoint is None:
            return Finding.NO_ENDPOINT
        if self.objection == FIREWALL and self.sent_bytes == 0:
            return Finding.REFUSED_HERE
        if self.port_closed:
            return Finding.PORT_CLOSED
        if self.age_s is not None:
            return Finding.STALE
        return Finding.NO_HANDSHAKE if self.sent_bytes else Finding.NOTHING_SENT

    @property
    def _behind_nat(self) -> bool:
        """A node that reaches a public endpoint from an address that is not public has a NAT before it."""
        source = self.route.source if self.route else None
        endpoint = self.after.endpoint_address if self.after else None
        if source is None or endpoint is None:
            return False
        return not ip_address(source).is_global and ip_address(endpoint).is_global


def find(state: OverlayState, seen: Watch) -> Finding:
    """The watch's finding; a dead session whose endpoint is routed into the tunnel has that for a cause."""
    dead = seen.after is not None and not seen.alive
    if dead and seen.route is not None and seen.route.interface == state.interface:
        return Finding.LOOP
    return seen.finding


def candidates(state: OverlayState, others: Iterable[str]) -> tuple[OverlayPeer, ...]:
    """The tunnel's peers that own none of the other overlay addresses: one of them lacks the address in question."""
    owners = {owner.key for address in others if (owner := state.peer_for(address))}
    return tuple(peer for peer in state.peers if peer.key not in owners)


def _grown(before: OverlayPeer | None, after: OverlayPeer | None, counter: str) -> int:
    if after is None:
        return 0
    start = getattr(before, counter) if before is not None and before.key == after.key else 0
    return max(0, (getattr(after, counter) or 0) - (start or 0))
