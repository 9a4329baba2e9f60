"""What a WireGuard session's counters mean, from two readings of them: pure.

Timers and sizes are those of the WireGuard paper, sections 5.4 and 6.1.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address

from preflight.model.kernel import Route
from preflight.model.overlay import OverlayPeer, OverlayState, Owners

REJECT_AFTER_S = 180.0  # a session older than this carries nothing
WATCH_S = 6.5  # an unanswered initiation is repeated after REKEY_TIMEOUT (5 s) and up to 1/3 s of jitter
CERTAIN_S = 2.0  # longer watching does not change what is wrong on this node itself
FLOW_S = 0.3  # how long a fresh session may take to show that something comes back
ANSWER_S = 1.0  # the time that an answer to an initiation may take
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
    host_answers: whether the endpoint's host answers echoes, None where that is not known. seen_as: the endpoint at
    which the peer sees this node's tunnel, where it said so and this node does not have it. repeated_s: when the second
    of two initiations in a row had left, from the begin on; None before.
    """

    interface: str
    before: OverlayPeer | None
    after: OverlayPeer | None = None
    now_unix_s: float = 0.0
    watched_s: float = 0.0
    objection: str | None = None
    route: Route | None = None
    host_answers: bool | None = None
    port_closed: bool = False
    seen_as: str | None = None
    repeated_s: float | None = None

    @property
    def repeats(self) -> bool:
        """Whether an initiation left while it was watched, and it was not the first of two in a row."""
        if self.after is None or self.sent_bytes < INITIATION_BYTES:
            return False
        ever = (self.after.tx_bytes or 0) if self.after.last_handshake_unix_s == 0 else self.sent_bytes
        return ever >= 2 * INITIATION_BYTES

    @property
    def age_s(self) -> float | None:
        """Age of the last handshake; None where there never was one. A clock that was set back makes it 0."""
        handshake = self.after.last_handshake_unix_s if self.after else None
        return max(0.0, self.now_unix_s - handshake) if handshake else None

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
        if self.after.endpoint is None:
            return self.watched_s >= FLOW_S
        if self.repeated_s is not None and self.watched_s >= self.repeated_s + ANSWER_S:
            return True
        return self.watched_s >= (CERTAIN_S if self._broken_here else WATCH_S)

    @property
    def finding(self) -> Finding:
        """What the readings mean; final once the watch is settled."""
        if self.after is None:
            return Finding.NOT_ALLOWED
        if self.alive:
            return Finding.NO_KEEPALIVE if self._behind_nat and self.after.keepalive_s == 0 else Finding.ALIVE
        return self._dead(self.after)

    def _dead(self, peer: OverlayPeer) -> Finding:
        # Only of a dead session: a tunnel whose socket lives in another namespace looks like a loop, and works.
        if self.route is not None and self.route.interface == self.interface:
            return Finding.LOOP
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
    def _broken_here(self) -> bool:
        no_route = self.route is not None and self.route.error is not None and self.sent_bytes == 0
        return no_route or self.finding in (Finding.LOOP, Finding.REFUSED_HERE)

    @property
    def _behind_nat(self) -> bool:
        """Whether the peer sees another endpoint than this node's, or a NAT can be concluded.

        A node that reaches a public endpoint from an address that is not public has one before it.
        """
        if self.seen_as is not None:
            return True
        source = self.route.source if self.route else None
        endpoint = self.after.endpoint_address if self.after else None
        if source is None or endpoint is None:
            return False
        return not ip_address(source).is_global and ip_address(endpoint).is_global


def nobody_has(state: OverlayState, address: str) -> str:
    """The sentence about an address that is in nobody's allowed-ips."""
    count, name = len(state.peers), state.interface or "the tunnel"
    subject = f"the only peer of {name} does not have" if count == 1 else (f"none of the {count} peers of {name} has")
    return f"{subject} {address} in its allowed-ips"


def candidates(state: OverlayState, others: Iterable[str]) -> tuple[OverlayPeer, ...]:
    """The tunnel's peers that own none of the other overlay addresses: one of them lacks the address in question."""
    known = Owners(state.peers)
    owners = {owner.key for address in others if (owner := known.of(address))}
    return tuple(peer for peer in state.peers if peer.key not in owners)


def _grown(before: OverlayPeer | None, after: OverlayPeer | None, counter: str) -> int:
    if after is None:
        return 0
    start = getattr(before, counter) if before is not None and before.key == after.key else 0
    return max(0, (getattr(after, counter) or 0) - (start or 0))
