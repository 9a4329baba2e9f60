"""Results of measuring a path, as plain data: STAMP sessions, and the report of a peer by mailbox."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Literal

from preflight.model.heard import Heard as Heard
from preflight.model.heard import HelloReport as HelloReport
from preflight.model.observed import PeerObservation
from preflight.model.peer_tunnel import PeerTunnel
from preflight.model.return_path import ReturnPath


@dataclass(frozen=True, slots=True)
class DirectionStats:
    """One direction of a session.

    sent: packets whose fate in this direction is known; received: how many of them arrived, each counted once.
    observed: arrivals whose order and delay are known, the number behind all that follows.
    reordered: arrived behind one that was sent later (RFC 4737 section 3.3); extent: by how many packets the worst
    of them was late (section 4.2). duplicated: extra copies (RFC 5560).
    delay_variation_ms: one-way delay less the session's smallest, in order of sending (RFC 5481 section 4.2); it needs
    no synchronised clocks. breaks: indexes in it before which a packet is missing, so that they have no predecessor.
    """

    sent: int
    received: int
    observed: int
    reordered: int = 0
    duplicated: int = 0
    delay_variation_ms: tuple[float, ...] = ()
    extent: int = 0
    breaks: frozenset[int] = frozenset()

    @property
    def lost(self) -> int:
        """Packets that did not arrive."""
        return self.sent - self.received

    @property
    def loss_percent(self) -> float:
        """Share of the packets that did not arrive."""
        return _percent(self.lost, self.sent)

    @property
    def reordered_percent(self) -> float:
        """Share of the observed packets that arrived out of order."""
        return _percent(self.reordered, self.observed)

    @property
    def duplicated_percent(self) -> float:
        """Extra copies in percent of the observed packets."""
        return _percent(self.duplicated, self.observed)

    @property
    def steps_ms(self) -> tuple[float, ...]:
        """Differences between the delays of consecutive packets that both arrived (RFC 3393)."""
        pairs = enumerate(pairwise(self.delay_variation_ms), start=1)
        return tuple(after - before for place, (before, after) in pairs if place not in self.breaks)

    @property
    def ipdv_ms(self) -> float:
        """Mean absolute value of these differences."""
        steps = self.steps_ms
        return sum(map(abs, steps)) / len(steps) if steps else 0.0

    def delay_variation_percentile_ms(self, percent: float) -> float:
        """A percentile of the delay variation (RFC 5481 section 4.2 names the 99.9th of long sessions)."""
        return percentile(self.delay_variation_ms, percent)


@dataclass(frozen=True, slots=True)
class Drops:
    """What the two ends of a session dropped themselves while it ran: not a loss of the path.

    overflowed: datagrams from any sender that found the responder's receive queue full. limited: this node's packets
    over the responder's rate limit. unsent: answers to this node that the peer's system did not send. The responder
    counts these three; they are known between its first and last answer; uncounted: packets that left before the first
    answered one. here: datagrams that found the receive queue of this node's socket full.
    """

    overflowed: int = 0
    limited: int = 0
    unsent: int = 0
    here: int = 0
    uncounted: int = 0

    @property
    def forward(self) -> int:
        """Drops that may have been packets to the peer; an end that drops some has dropped earlier ones too."""
        counted = self.overflowed + self.limited
        return counted + self.uncounted if counted else 0

    @property
    def reverse(self) -> int:
        """Drops that may have been answers to this node."""
        return self.unsent + self.here


@dataclass(frozen=True, slots=True)
class StampStats:
    """One STAMP session, or several combined.

    sent: packets that left this node. answered: how many of them were answered, each counted once.
    forward, reverse: None if the directions cannot be separated (no answer, or losses and a stateless reflector).
    undirected: packets after the last answered one: lost in an unknown direction.
    rtt_ms: round trips without the reflector's own time, in order of sending. ttl_at_peer: smallest TTL that arrived.
    send_errors: errno names of packets that did not leave (EPERM: this node's firewall). port_unreachable: the peer
    reported a closed port. icmp_errors: other ICMP errors with who sent them; icmp_from: those by address, with the
    interface that they came in on, empty if unknown.
    rejected: datagrams from the responder's address that are not answers of this session, by reason (see
    `preflight.model.rejected`). drops: see `Drops`. implausible: answers with impossible times; with one of them there
    are no delays and no clock_offset_ms.
    clock_error_ms: sum of both ends' error estimates; None unless both clocks are synchronised.
    clock_offset_ms: the reflector's clock minus this one, from the quickest exchange, ± half its round trip.
    payload_bytes: UDP payload of the largest packet that was tried, 0 if none was.
    waited_ms: for each answer, how long the programs at both ends let it lie after their kernels had it.
    lasted_s: from the first packet to the last, and the time that the last one had for itself. quicker: what this node
    measured at a quicker pace, with trouble that was gone at this one. slower: the part at a slower pace, whose trouble
    was not less.
    """

    sent: int
    answered: int
    forward: DirectionStats | None = None
    reverse: DirectionStats | None = None
    undirected: int = 0
    rtt_ms: tuple[float, ...] = ()
    ttl_at_peer: int | None = None
    send_errors: Mapping[str, int] = field(default_factory=dict)
    port_unreachable: bool = False
    icmp_errors: Mapping[str, int] = field(default_factory=dict)
    icmp_from: Mapping[str, str] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    clock_error_ms: float | None = None
    clock_offset_ms: float | None = None
    authenticated: bool = False
    local: tuple[str, int] | None = None
    drops: Drops = Drops()
    implausible: int = 0
    payload_bytes: int = 0
    waited_ms: tuple[float, ...] = ()
    lasted_s: float = 0.0
    quicker: "StampStats | None" = None
    slower: "StampStats | None" = None

    @property
    def lost(self) -> int:
        """Packets without an answer, lost in either direction."""
        return self.sent - self.answered

    @property
    def loss_percent(self) -> float:
        """Share of the packets that were not answered."""
        return _percent(self.lost, self.sent)


def combined(sessions: Sequence[StampStats]) -> StampStats:
    """Combine several sessions with one peer; a direction is known only if every answered session has it."""
    answered = [session for session in sessions if session.answered]
    errors = [session.clock_error_ms for session in answered]
    ttls = [session.ttl_at_peer for session in answered if session.ttl_at_peer is not None]
    return StampStats(
        sent=sum(session.sent for session in sessions),
        answered=sum(session.answered for session in sessions),
        forward=_combined_direction([session.forward for session in answered]),
        reverse=_combined_direction([session.reverse for session in answered]),
        undirected=sum(session.undirected if session.answered else session.sent for session in sessions),
        rtt_ms=tuple(rtt for session in sessions for rtt in session.rtt_ms),
        ttl_at_peer=min(ttls, default=None),
        send_errors=summed(session.send_errors for session in sessions),
        port_unreachable=any(session.port_unreachable for session in sessions),
        icmp_errors=summed(session.icmp_errors for session in sessions),
        icmp_from={who: by for session in sessions for who, by in session.icmp_from.items()},
        rejected=summed(session.rejected for session in sessions),
        clock_error_ms=None if None in errors else max((e for e in errors if e is not None), default=None),
        clock_offset_ms=next((session.clock_offset_ms for session in answered), None),
        authenticated=any(session.authenticated for session in sessions),
        local=next((session.local for session in sessions if session.local), None),
        drops=_dropped([session.drops for session in sessions]),
        implausible=sum(session.implausible for session in sessions),
        payload_bytes=max((session.payload_bytes for session in sessions), default=0),
        waited_ms=tuple(waited for session in sessions for waited in session.waited_ms),
        lasted_s=sum(session.lasted_s for session in sessions),
    )


def _dropped(parts: Sequence[Drops]) -> Drops:
    return Drops(
        overflowed=sum(part.overflowed for part in parts),
        limited=sum(part.limited for part in parts),
        unsent=sum(part.unsent for part in parts),
        here=sum(part.here for part in parts),
        uncounted=sum(part.uncounted for part in parts if part.forward),
    )


def _combined_direction(parts: Sequence[DirectionStats | None]) -> DirectionStats | None:
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    starts = [0, *accumulate(len(part.delay_variation_ms) for part in known)]
    breaks = {start + place for start, part in zip(starts, known, strict=False) for place in (0, *part.breaks)}
    return DirectionStats(
        sent=sum(part.sent for part in known),
        received=sum(part.received for part in known),
        observed=sum(part.observed for part in known),
        reordered=sum(part.reordered for part in known),
        duplicated=sum(part.duplicated for part in known),
        delay_variation_ms=tuple(value for part in known for value in part.delay_variation_ms),
        extent=max(part.extent for part in known),
        breaks=frozenset(breaks - {0}),
    )


def summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of several tables of counts."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(total)


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile; 0 of nothing."""
    if not values:
        return 0.0
    ranked = sorted(values)
    return ranked[min(max(-int(-len(ranked) * percent // 100) - 1, 0), len(ranked) - 1)]


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0


NoMailbox = Literal[
    "no-agent-id", "no-own-agent-id", "no-url", "role", "control", "silent", "refused", "impostor", "implausible"
]
"""Why there is no report by mailbox: a missing id, no control URL, a missing role, the control plane failed, no answer
in time, the peer's responder refused the request, another host reads the peer's mailbox, or the report has impossible
counts."""


@dataclass(frozen=True, slots=True)
class PeerReport:
    """The report of the peer's responder by mailbox about one session of this node.

    received: packets of the session from this node's address; elsewhere: packets of this session from another
    address; refused: packets from this address that it dropped, by reason.
    sent: probes that left it; send_errors: those that did not, by errno name, including answers to the session.
    overflowed: datagrams from any sender that recently found its receive queue full.
    way: its route back to this node and its reverse-path filter; None: not reported, as by older responders.
    observed, tunnel: what its observers saw of this node's packets meanwhile, and its end of the tunnel; nothing by
    responders without `--observe`.
    """

    received: int
    sent: int
    elsewhere: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    send_errors: Mapping[str, int] = field(default_factory=dict)
    way: ReturnPath | None = None
    overflowed: int = 0
    observed: tuple[PeerObservation, ...] = ()
    tunnel: PeerTunnel | None = None


@dataclass(frozen=True, slots=True)
class AskResult:
    """All facts about a peer that does not answer.

    sent: packets that left this node; answered: late answers to them. rejected: datagrams from the responder's
    address to this node's socket that are not answers, by reason; strays: answers from another address, by
    `ADDRESS:PORT`. report: the peer's report by mailbox; None
    with the reason in `unavailable` and its words in `detail`.
    probes_received: the peer's probes that this node's socket received.
    on_interface: datagrams from the peer to our socket's port that came in on the overlay interface; None if it could
    not be watched, with the reason in `unwatched`.
    hello: the peer's newest hello; None if none came, with the reason in `unheard`. public_key: of this node's end of
    the tunnel, as it was sent to the peer.
    """

    sent: int
    answered: int
    report: PeerReport | None = None
    unavailable: NoMailbox | None = None
    detail: str = ""
    probes_received: int = 0
    on_interface: int | None = None
    unwatched: str = ""
    hello: HelloReport | None = None
    unheard: str = ""
    send_errors: Mapping[str, int] = field(default_factory=dict)
    port_unreachable: bool = False
    icmp_from: Mapping[str, str] = field(default_factory=dict)
    local: tuple[str, int] | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)
    strays: Mapping[str, int] = field(default_factory=dict)
    public_key: str | None = None

    @property
    def reached_socket(self) -> bool:
        """Whether any packet of the peer reached this node's socket."""
        return bool(self.answered or self.probes_received or self.rejected or self.strays)

    @property
    def overflowed_there(self) -> int:
        """Datagrams that recently found the receive queue of the peer's responder full, as it reported."""
        reported = self.report.overflowed if self.report else 0
        return max(reported, self.hello.heard.overflowed if self.hello else 0)
