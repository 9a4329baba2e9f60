"""A STAMP session-reflector without I/O (RFC 8762 section 4.3): a datagram in, an answer as long as it out."""

from collections import OrderedDict
from dataclasses import dataclass

from preflight.proto.stamp import tlv as stamp_tlv
from preflight.proto.stamp import wire as stamp
from preflight.proto.stamp.wire import ErrorEstimate

MAX_SOURCES = 1024
MAX_SESSIONS = 64
"""Of one source: a flood from many ports of one address pushes out only sessions of that address."""
REFWAIT_S = 900.0
"""A session that was silent for longer counts as new when packets come again (RFC 5357 section 4.2)."""
UNKNOWN_TTL = 255


class Marked(bytes):
    """An answer that leaves with its own DSCP, because a Class of Service TLV asked for it."""

    traffic_class: int


@dataclass(slots=True)
class ReflectedSession:
    """Counters of one session: `received` packets of its sender; `previous` answer's number and time (UNIX ns)."""

    received: int = 0
    last_ns: int = 0
    previous: tuple[int, int] = (0, 0)


class SessionReflector:
    """Answers test packets.

    key: the shared key; only with one are authenticated packets served. stateful: count the answers of each
    session, so that the sender can distinguish the directions; else copy its number and report no counts. error: of
    this node's clock. Answers have the format of timestamp that their sender uses, because it can read that one.
    """

    def __init__(self, *, key: bytes | None = None, stateful: bool = True, error: ErrorEstimate | None = None) -> None:
        self._key = key
        self._stateful = stateful
        self.set_clock(error or ErrorEstimate())
        self._sources: OrderedDict[str, OrderedDict[tuple[int, int], ReflectedSession]] = OrderedDict()

    def set_clock(self, error: ErrorEstimate) -> None:
        """What to say about this node's clock from now on."""
        self._synchronised = error.synchronised
        self._error = error.encode() & ~stamp.PTP

    def handle(
        self,
        data: bytes,
        source: tuple[str, int],
        *,
        received_ns: int,
        transmitted_ns: int,
        ttl: int | None,
        traffic_class: int | None = None,
        local: tuple[str, int] | None = None,
        drops: tuple[int, int, int] | None = None,
        authenticated_only: bool = False,
    ) -> bytes:
        """The answer to a session-sender's packet. Raises StampError for what must be dropped.

        received_ns: when the kernel got it, transmitted_ns: now, both UNIX nanoseconds. traffic_class: DSCP and ECN it
        came with; local: address and port it came to; drops: see `stamp_tlv.read_drops`. authenticated_only: the source
        may be anyone, so only the key counts.
        """
        if authenticated_only and not stamp.is_authenticated(data):
            raise stamp.StampError("not-allowed")
        request = stamp.parse_request(data, self._key)
        session = self._session(source, request.ssid, received_ns)
        sequence = session.received if self._stateful else request.sequence
        session.received += 1
        answer = stamp.build_answer(
            request,
            sequence=sequence & 0xFFFFFFFF,
            transmitted_ns=transmitted_ns,
            received_ns=received_ns,
            ttl=UNKNOWN_TTL if ttl is None else ttl,
            error=self._error | request.error & stamp.PTP,
            key=self._key,
        )
        if len(data) > len(answer):
            facts = self._facts(session, source, traffic_class, local, drops)
            answer = self._extended(answer, data[len(answer) :], request, sequence & 0xFFFFFFFF, facts)
        session.previous = (sequence & 0xFFFFFFFF, transmitted_ns)
        return answer if len(answer) == len(data) else answer[: len(data)]

    def received(self, address: str, port: int, ssid: int) -> int:
        """How many packets of a session came from its source."""
        sessions = self._sources.get(address)
        session = sessions.get((port, ssid)) if sessions else None
        return session.received if session else 0

    def received_elsewhere(self, address: str, ssid: int, since_ns: int) -> int:
        """How many packets with this SSID came from other addresses, in sessions that were alive after `since_ns`."""
        return sum(
            session.received
            for source, sessions in self._sources.items()
            for (_, session_ssid), session in sessions.items()
            if source != address and session_ssid == ssid and session.last_ns >= since_ns
        )

    def heard(self, address: str) -> tuple[int, int] | None:
        """How many packets the sessions of an address that are remembered had, and when the last came, UNIX ns."""
        sessions = self._sources.get(address)
        if not sessions:
            return None
        return sum(each.received for each in sessions.values()), max(each.last_ns for each in sessions.values())

    def _session(self, source: tuple[str, int], ssid: int, now_ns: int) -> ReflectedSession:
        """The session's state; a full table forgets the session that was unused for longest."""
        sessions = self._sources.get(source[0])
        if sessions is None:
            if len(self._sources) >= MAX_SOURCES:
                self._sources.popitem(last=False)
            sessions = self._sources[source[0]] = OrderedDict()
        else:
            self._sources.move_to_end(source[0])
        name = (source[1], ssid)
        session = sessions.get(name)
        if session is None or now_ns - session.last_ns > REFWAIT_S * 1e9:
            if len(sessions) >= MAX_SESSIONS:
                sessions.popitem(last=False)
            session = sessions[name] = ReflectedSession()
        sessions.move_to_end(name)
        session.last_ns = now_ns
        return session

    def _facts(
        self,
        session: ReflectedSession,
        source: tuple[str, int],
        traffic_class: int | None,
        local: tuple[str, int] | None,
        drops: tuple[int, int, int] | None,
    ) -> stamp_tlv.Facts:
        counted = (session.received, session.received, session.previous) if self._stateful else (0, 0, (0, 0))
        return stamp_tlv.Facts(*counted, self._synchronised, traffic_class, source, local, drops)

    def _extended(
        self, answer: bytes, area: bytes, request: stamp.Request, sequence: int, facts: stamp_tlv.Facts
    ) -> bytes:
        """The answer with its TLVs, and with the DSCP that one of them may have asked for."""
        tlvs = stamp_tlv.reflect(
            area,
            facts,
            request=request.sequence,
            answer=sequence,
            key=self._key,
            authenticated=request.authenticated,
        )
        traffic_class = stamp_tlv.answer_class(tlvs)
        if traffic_class is None:
            return answer + tlvs
        marked = Marked(answer + tlvs)
        marked.traffic_class = traffic_class
        return marked
