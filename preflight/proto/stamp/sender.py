"""A stateful STAMP session-sender without I/O: paced packets out, answers in, and what they prove by direction.

The reflector counts its own packets (RFC 8762 section 4), so that with N sent and R = its highest sequence number + 1
the forward loss is N - R and the reverse loss R - received. Losses behind the last answer have no direction: a session
in which some packet is not answered ends with tail packets until one of them is.
"""

import errno
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from preflight.model.event import Tell, silent
from preflight.model.path import Drops, StampStats
from preflight.model.rejected import ECHOED, FOREIGN, OTHER_KEY, UNSIGNED
from preflight.proto.core import Address, Core, Datagram, Received, Refusal
from preflight.proto.stamp import tlv as stamp_tlv
from preflight.proto.stamp import wire as stamp
from preflight.proto.stamp.stats import MAX_TAIL as MAX_TAIL
from preflight.proto.stamp.stats import Arrival, judged
from preflight.proto.stamp.wire import Answer, ErrorEstimate, StampError

TAIL_INTERVAL_S = 0.02
SHORTEST_PATIENCE_S = 0.25
"""The shortest wait for a late packet, once the round trip is known."""
LONGEST_PATIENCE_S = 3.0
"""The longest wait, if answers took longer than `SessionPlan.timeout_s`: a slow path does not lose packets."""
COPIES = 4
"""At most this many answers to a packet are kept, on average: a peer that sends more must not fill the memory."""
MOST_ROUTERS = 32
"""At most this many senders of ICMP errors are counted separately: their addresses may be forged."""
_COUNTS = struct.Struct("!III")


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """A session to run.

    count: packets, tail not counted; interval_s: between them; timeout_s: how long to wait for a first answer behind
    the last packet. size: smallest UDP payload, bytes. key: turns on the authenticated mode. enough: end early
    after this many answers. peer: its literal address; only its own "port unreachable" ends a session. to: where
    packets go; None on a connected socket.
    """

    ssid: int
    count: int
    interval_s: float
    timeout_s: float = 1.0
    size: int = 0
    key: bytes | None = None
    error: ErrorEstimate = ErrorEstimate()
    enough: int | None = None
    peer: str = ""
    to: Address | None = None


class SessionSender(Core[StampStats]):
    """One session. Times in packets are UNIX nanoseconds.

    unix_ns: this host's clock, read for each packet. sift: is shown every datagram first; where it returns True, the
    datagram was for another user of the socket.
    """

    def __init__(
        self,
        plan: SessionPlan,
        now: float,
        unix_ns: Callable[[], int],
        *,
        sift: Callable[[Received, float], bool] = lambda received, now: False,
        tell: Tell = silent,
    ) -> None:
        self._plan, self._unix_ns, self._sift, self._tell = plan, unix_ns, sift, tell
        self._error = plan.error.encode()
        self._sequence = 0
        self._next_at = now
        self._last_at = now
        self._first_at: float | None = None
        self._failed = 0
        self._send_errors: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._arrivals: list[Arrival] = []
        self._answered: set[int] = set()
        self._stamped_ns = 0
        self._sent_ns: list[int] = []
        self._largest = 0
        self._drops: list[tuple[int, int, int]] = []
        self._worst_rtt_s = 0.0
        self._stateful = False
        self._over = False
        self.port_unreachable = False
        self._icmp_errors: Counter[str] = Counter()
        self._icmp_from: dict[str, str] = {}

    @property
    def result(self) -> StampStats | None:
        """What the session measured, once it is over."""
        return self.stats() if self._over else None

    @property
    def arrivals(self) -> tuple[Arrival, ...]:
        """The answers so far, in the order in which they came."""
        return tuple(self._arrivals)

    @property
    def sent_ns(self) -> tuple[int, ...]:
        """When each packet left, UNIX nanoseconds, by its number."""
        return tuple(self._sent_ns)

    def get_timer(self) -> float | None:
        """The next packet's time, or when waiting is over."""
        if self._over:
            return None
        if self._complete():
            return self._last_at
        return self._due_at() if self._sending() else self._last_at + self._patience_s()

    def handle_timer(self, now: float) -> None:
        """End the session when all is answered, waiting is over, or the peer's host says that nobody listens."""
        if self._over:
            return
        waited = not self._sending() and now >= self._last_at + self._patience_s()
        if self._complete() or waited or self.port_unreachable:
            self._over = True
            sent, answered = self._sequence, len(self._answered)
            self._tell(now, "concluded", sent=sent, answered=answered, port_unreachable=self.port_unreachable)

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """The next packet, if it is due."""
        if self._over or self._complete() or not self._sending() or now < self._due_at():
            return []
        return [Datagram(self._packet(self._unix_ns()), self._plan.to)]

    def _packet(self, unix_ns: int) -> bytes:
        """Sequence number, time, and TLVs that the reflector fills in: its counts, and its drops."""
        plan = self._plan
        self._stamped_ns = unix_ns
        counts = stamp_tlv.Tlv(stamp_tlv.Kind.DIRECT_MEASUREMENT, _COUNTS.pack(self._sequence + 1, 0, 0))
        tlvs = stamp_tlv.encode([counts, stamp_tlv.drops()], sequence=self._sequence, key=plan.key)
        packet = stamp.build_request(self._sequence, unix_ns, self._error, plan.ssid, key=plan.key, tlvs=tlvs)
        return packet + stamp_tlv.padding(plan.size - len(packet))

    def sent(self, datagram: Datagram, now: float) -> None:
        """The packet has left; only then it uses up its sequence number."""
        self._tell(now, "packet-sent", number=self._sequence, size_bytes=len(datagram.data))
        self._first_at = now if self._first_at is None else self._first_at
        self._sequence += 1
        self._sent_ns.append(self._stamped_ns)
        self._largest = max(self._largest, len(datagram.data))
        self._schedule(now)

    def unsent(self, datagram: Datagram, error: OSError, now: float) -> None:
        """The packet did not leave; it counts as tried."""
        self._largest = max(self._largest, len(datagram.data))
        self._failed += 1
        self._send_errors[errno.errorcode.get(error.errno or 0, str(error.errno))] += 1
        self._schedule(now)

    def _schedule(self, now: float) -> None:
        self._last_at = now
        interval = self._plan.interval_s
        # Late by less than an interval: keep the rhythm. Later: go on from here, never catch up in a burst.
        self._next_at = (self._next_at if now - self._next_at < interval else now) + interval

    def receive(self, received: Received, now: float) -> None:
        """Take a datagram; what is not an answer of this session is counted and dropped."""
        if self._sift(received, now) or self.take(received, now):
            return
        reason = self._refusal(received.data)
        self._rejected[reason] += 1
        self._tell(now, "rejected", reason=reason, size_bytes=len(received.data))

    def refused(self, refusal: Refusal, now: float) -> None:
        """Take an ICMP error: from the peer's host, or from a router."""
        if refusal.port_unreachable and refusal.offender == self._plan.peer:
            self.port_unreachable = True
            self._tell(now, "port-unreachable", by=refusal.offender)
        elif not refusal.local:
            self._note(refusal)
            kind, code = refusal.icmp_type, refusal.icmp_code
            self._tell(now, "icmp-error", type=kind, code=code, by=refusal.offender)

    def _note(self, refusal: Refusal) -> None:
        who = refusal.offender or "an unknown router"
        if who not in self._icmp_from and len(self._icmp_from) >= MOST_ROUTERS:
            who = "other routers"
        self._icmp_errors[f"type {refusal.icmp_type} code {refusal.icmp_code} from {who}"] += 1
        if who == refusal.offender:
            self._icmp_from[who] = refusal.interface

    def answered_by(self, data: bytes) -> bool:
        """Whether a datagram answers a packet of this session."""
        return self._read(data) is not None

    def take(self, received: Received, now: float) -> bool:
        """Take a datagram if it answers a packet of this session, and whether it does."""
        answer = self._read(received.data)
        if answer is None:
            return False
        arrival = Arrival(answer, received.received_ns, self._unix_ns())
        first = answer.sender_sequence not in self._answered
        if first or len(self._arrivals) < COPIES * (self._plan.count + MAX_TAIL):
            self._arrivals.append(arrival)
        self._answered.add(answer.sender_sequence)
        self._worst_rtt_s = max(self._worst_rtt_s, arrival.elapsed_ns / 1e9)
        self._read_tlvs(answer, received.data)
        number, rtt_s = answer.sender_sequence, arrival.elapsed_ns / 1e9
        self._tell(now, "packet-answered", number=number, reflected=answer.sequence, rtt_s=rtt_s, first=first)
        return True

    def _read(self, data: bytes) -> Answer | None:
        try:
            answer = stamp.parse_answer(data, self._plan.key)
        except StampError:
            return None
        return answer if self._answers(answer) else None

    def _answers(self, answer: Answer) -> bool:
        """Whether it is about a packet of this session: it copies the packet's number and time, so nobody who has not
        seen the packet can make it up.
        """
        # A reflector without SSID support sends zeros in its place (RFC 8972 section 3).
        return answer.ssid in (self._plan.ssid, 0) and self._sent_at(answer.sender_sequence) == answer.sender_ns

    def _sent_at(self, sequence: int) -> int | None:
        """When the packet with this number left, UNIX ns."""
        return self._sent_ns[sequence] if sequence < self._sequence else None

    def _refusal(self, data: bytes) -> str:
        """Why a datagram does not answer this session, in a word of `preflight.model.rejected`."""
        try:
            if self._echoed(data):
                return ECHOED
            if self._plan.key is None:
                stamp.parse_answer(data)
                return FOREIGN
            return self._refusal_by_key(data, self._plan.key)
        except StampError as error:
            return error.reason

    def _echoed(self, data: bytes) -> bool:
        """Whether it is a packet of this session itself."""
        try:
            request = stamp.parse_request(data, self._plan.key)
        except StampError:
            return False
        read = stamp.ns_from_ptp if request.error & stamp.PTP else stamp.ns_from_ntp
        return request.ssid == self._plan.ssid and self._sent_at(request.sequence) == read(request.timestamp)

    def _refusal_by_key(self, data: bytes, key: bytes) -> str:
        """Why this node, which has a key, does not take it. Raises StampError."""
        unsigned = stamp.read_unverified(data, signed=False)
        # A reflector that takes our signed packets for unsigned ones copies the zeros in the place of the time.
        times = (self._sent_at(unsigned.sender_sequence), stamp.ns_from_ntp(0))
        if unsigned.sender_sequence < self._sequence and unsigned.sender_ns in times and any(data[16:24]):
            return UNSIGNED
        if self._answers(stamp.read_unverified(data, signed=True)):
            return OTHER_KEY
        stamp.parse_answer(data, key)
        return FOREIGN

    def stats(self) -> StampStats:
        """What the session has measured so far."""
        base = StampStats(
            sent=self._sequence,
            answered=len(self._answered),
            send_errors=dict(self._send_errors),
            rejected=dict(self._rejected),
            authenticated=self._plan.key is not None,
            drops=self._dropped(),
            port_unreachable=self.port_unreachable,
            icmp_errors=dict(self._icmp_errors),
            icmp_from=dict(self._icmp_from),
            payload_bytes=self._largest,
            lasted_s=0.0 if self._first_at is None else self._last_at - self._first_at + self._plan.interval_s,
        )
        return judged(base, self._arrivals, self._stateful, self._plan.error) if self._arrivals else base

    def _sending(self) -> bool:
        spent = self._sequence + self._failed
        if spent < self._plan.count:
            return True
        tail_answered = bool(self._answered) and max(self._answered) >= self._plan.count
        return bool(self._answered) and not tail_answered and spent < self._plan.count + MAX_TAIL

    def _due_at(self) -> float:
        spent = self._sequence + self._failed
        if spent < self._plan.count:
            return self._next_at
        # The tail begins when the answers to all before it had time to come: usually there is nothing to send then.
        grace = min(1.5 * self._worst_rtt_s, self._patience_s()) if spent == self._plan.count else 0.0
        return self._last_at + max(grace, TAIL_INTERVAL_S)

    def _complete(self) -> bool:
        """Everything has left and is answered: only copies could still come."""
        if self._plan.enough is not None and len(self._answered) >= self._plan.enough:
            return True
        return self._sequence + self._failed >= self._plan.count and len(self._answered) == self._sequence

    def _patience_s(self) -> float:
        if not self._answered:
            return self._plan.timeout_s
        most = max(self._plan.timeout_s, min(1.5 * self._worst_rtt_s, LONGEST_PATIENCE_S), SHORTEST_PATIENCE_S)
        return min(max(3 * self._worst_rtt_s, SHORTEST_PATIENCE_S), most)

    def _read_tlvs(self, answer: Answer, data: bytes) -> None:
        """Learn from an answer whether the reflector is stateful, and what it dropped.

        It is stateful if it filled in its counts, or if its number is not the sender's.
        """
        base = stamp.UNAUTHENTICATED_BYTES if self._plan.key is None else stamp.AUTHENTICATED_BYTES
        counted = answer.sequence != answer.sender_sequence
        for tlv in stamp_tlv.parse(data[base:]):
            if tlv.kind == stamp_tlv.Kind.DIRECT_MEASUREMENT and not tlv.flags:
                counted = counted or any(tlv.value[4:])
            elif (drops := stamp_tlv.read_drops(tlv)) is not None:
                self._drops = [*self._drops[:1], drops]
        self._stateful = self._stateful or counted

    def _dropped(self) -> Drops:
        """What the reflector dropped between the first answer that came and the last one."""
        if not self._drops:
            return Drops()
        overflowed, limited, unsent = (
            max(last - first, 0) for first, last in zip(self._drops[0], self._drops[-1], strict=True)
        )
        return Drops(overflowed, limited, unsent, uncounted=min(self._answered))
