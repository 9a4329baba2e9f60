"""What a measured path told, as plain data: STAMP sessions, and a peer that was asked by mailbox."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Literal

from preflight.model.return_path import WayBack


@dataclass(frozen=True, slots=True)
class DirectionStats:
    """One direction of a session.

    sent: packets whose fate in this direction is known; received: how many of them arrived, each counted once.
    observed: arrivals whose order and delay are known, the number behind all that follows.
    reordered: arrived behind one that was sent later (RFC 4737 section 3.3); extent: how many packets too late the
    worst of them came (section 4.2). duplicated: extra copies (RFC 5560).
    delay_variation_ms: one-way delay less the session's smallest, in order of sending (RFC 5481 section 4.2); it takes
    no synchronised clocks. breaks: places in it before which a packet is missing, so that they follow on nothing.
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
        """Share of the observed packets that came too late for their place."""
        return _percent(self.reordered, self.observed)

    @property
    def duplicated_percent(self) -> float:
        """Extra copies in percent of the observed packets."""
        return _percent(self.duplicated, self.observed)

    @property
    def steps_ms(self) -> tuple[float, ...]:
        """Differences between the delays of packets sent one after the other, both of which arrived (RFC 3393)."""
        pairs = enumerate(pairwise(self.delay_variation_ms), start=1)
        return tuple(after - before for place, (before, after) in pairs if place not in self.breaks)

    @property
    def ipdv_ms(self) -> float:
        """Mean size of these differences."""
        steps = self.steps_ms
        return sum(map(abs, steps)) / len(steps) if steps else 0.0

    def delay_variation_percentile_ms(self, percent: float) -> float:
        """A percentile of the delay variation (RFC 5481 section 4.2 names the 99.9th of long sessions)."""
        return percentile(self.delay_variation_ms, percent)


@dataclass(frozen=True, slots=True)
class Drops:
    """What the two ends of a session dropped themselves while it ran: no loss of the path between them.

    overflowed: datagrams of anybody that found the responder's receive queue full. limited: this node's packets that
    its responder dropped for their rate. unsent: answers to this node that the peer's own system did not send. The
    responder counts these three, as far as its first and last answer tell; uncounted: packets that left before the one
    that was answered first. here: datagrams that found the receive queue of this node's own socket full.
    """

    overflowed: int = 0
    limited: int = 0
    unsent: int = 0
    here: int = 0
    uncounted: int = 0

    @property
    def forward(self) -> int:
        """Those that may have been packets to the peer; who drops some has dropped earlier ones too."""
        counted = self.overflowed + self.limited
        return counted + self.uncounted if counted else 0

    @property
    def reverse(self) -> int:
        """Those that may have been answers to this node."""
        return self.unsent + self.here


@dataclass(frozen=True, slots=True)
class StampStats:
    """One STAMP session, or several put together.

    sent: packets that left this node. answered: how many of them were answered, each counted once.
    forward, reverse: None while nothing tells the directions apart (nothing answered, or losses and a stateless
    reflector). undirected: sent behind the last answered packet: lost in a direction that is not known.
    rtt_ms: round trips without the reflector's own time, in order of sending. ttl_at_peer: smallest TTL that arrived.
    send_errors: errno names of what did not leave (EPERM: this node's firewall). port_unreachable: the peer itself
    said that nobody listens. icmp_errors: other ICMP errors with who sent them; icmp_from: those by address, with the
    interface by which they came in, empty if that is not known.
    rejected: datagrams that came from where answers come from and are none of this session, by reason (see
    `preflight.model.rejected`). drops: see there. implausible: answers whose times cannot be true, whatever the clocks
    show; with one of them there are no delays and no clock_offset_ms.
    clock_error_ms: sum of both ends' error estimates; None unless both clocks are synchronised.
    clock_offset_ms: the reflector's clock minus this one by the quickest exchange, give or take half its round trip.
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

    @property
    def lost(self) -> int:
        """Packets without an answer, whichever direction ate them."""
        return self.sent - self.answered

    @property
    def loss_percent(self) -> float:
        """Share of the packets that were not answered."""
        return _percent(self.lost, self.sent)


def combined(sessions: Sequence[StampStats]) -> StampStats:
    """Several sessions with one peer as one; a direction is known only if it is in every session that was answered."""
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
    """Several tables of counts as one."""
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
"""Why the mailbox told nothing: which id is missing, no control URL, a role that is missing, the control plane failed,
nobody answered in time, the peer's responder did not take the request, another host reads the peer's mailbox, or the
report counts what cannot have been."""


@dataclass(frozen=True, slots=True)
class PeerReport:
    """What the peer's responder says by mailbox about one session of this node's.

    received: packets of the session that it got from this node's address; elsewhere: of the same session, but from
    another address; refused: what it got from this address and dropped, by reason.
    sent: probes that left it; send_errors: those that did not, by errno name, the answers to the session among them.
    overflowed: datagrams of anybody that lately found its receive queue full.
    way: its route back to this node and its reverse-path filter; None: it did not tell, as older ones do not.
    """

    received: int
    sent: int
    elsewhere: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    send_errors: Mapping[str, int] = field(default_factory=dict)
    way: WayBack | None = None
    overflowed: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """What a responder has heard from one address, as far as it remembers.

    packets: STAMP packets, and what it refused; hellos: of the responder there. The ages are those of the last ones in
    seconds, None where there was none. overflowed: datagrams of anybody that lately found its receive queue full.
    """

    packets: int = 0
    packet_age_s: float | None = None
    hellos: int = 0
    hello_age_s: float | None = None
    overflowed: int = 0


AGE_ERROR_S = 0.02
"""How far ages in hellos may be off: they travel in milliseconds, and two clocks do not run alike. On a path without
delay a packet's age is the time since it left, and half a millisecond must not make it one of before."""


@dataclass(frozen=True, slots=True)
class HelloReport:
    """The newest hello of a peer, heard during an inquiry: what the peer had heard from this node when it left there.

    after_s: how long after the inquiry's first packet left this node it came. up_s: for so long the peer's responder
    had listened. by_responder: this node's own responder heard it and told.
    """

    after_s: float
    up_s: float
    heard: Heard
    by_responder: bool = False

    @property
    def heard_since(self) -> bool:
        """Whether the peer had heard a packet of this inquiry (or one that left as long before it as a hello travels).

        The age was counted by the peer alone, so the two clocks need not agree.
        """
        return self.heard.packet_age_s is not None and self.heard.packet_age_s <= self.after_s + AGE_ERROR_S

    @property
    def listened_before(self) -> bool:
        """Whether the peer's responder was there before the first packet of this inquiry left."""
        return self.up_s >= self.after_s + AGE_ERROR_S


@dataclass(frozen=True, slots=True)
class AskResult:
    """Everything that could be found out about a peer that does not answer.

    sent: packets that left this node; answered: answers to them that came after all.
    rejected: what came from the responder's place to this node's socket and was no answer, by reason; strays: answers
    that came from another place, by `ADDRESS:PORT`.
    report: what the peer told by mailbox; None with the reason in `unavailable` and its words in `detail`.
    probes_received: of the probes that the peer says it sent, those that this node's socket got.
    on_interface: datagrams from the peer to our socket's port that came in on the overlay interface; None if it could
    not be watched, with the reason in `unwatched`.
    hello: the peer's newest hello; None if none was heard, with the reason in `unheard`.
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

    @property
    def reached_socket(self) -> bool:
        """Whether anything of the peer's got as far as this node's socket."""
        return bool(self.answered or self.probes_received or self.rejected or self.strays)

    @property
    def overflowed_there(self) -> int:
        """Datagrams that lately found the receive queue of the peer's responder full, as far as it told."""
        told = self.report.overflowed if self.report else 0
        return max(told, self.hello.heard.overflowed if self.hello else 0)
