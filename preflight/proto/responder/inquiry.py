"""Who sends what to the socket of an inquiry: the peer's probes, late answers, and answers from elsewhere. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from preflight.model.event import Tell, silent
from preflight.model.host_port import join_host_port
from preflight.proto.core import Received
from preflight.proto.responder.mailbox_probe import probe_number

MOST_STRAYS = 8
"""At most this many places that answers come from are counted separately, and this many hosts that send probes."""


class ProbeSession(Protocol):
    """What the sorter asks of a session, as `preflight.proto.stamp.sender.SessionSender` has it."""

    def take(self, received: Received, now: float) -> bool:
        """Take a datagram if it answers a packet of this session, and whether it does."""

    def answered_by(self, data: bytes) -> bool:
        """Whether a datagram answers a packet of this session."""


class Sorter:
    """Sorts the datagrams of one inquiry.

    place: address and port that the packets go to. nonce: of the request by mailbox. count: probes that it asks for.
    """

    def __init__(self, place: tuple[str, int], nonce: bytes, count: int, tell: Tell = silent) -> None:
        self._tell = tell
        self._place, self._nonce, self._count = place, nonce, count
        self._probes: dict[str, set[int]] = {}
        self._strays: Counter[str] = Counter()
        self.sessions: Sequence[ProbeSession] = ()

    def sift(self, received: Received, now: float) -> bool:
        """Take a datagram. False: it is for the running session, which counts why it is not an answer."""
        host, port = received.source[:2]
        number = probe_number(received.data, self._nonce)
        if number is not None:
            self._tell(now, "probe-received", number=number, by=host)
            if number < self._count and (host in self._probes or len(self._probes) < MOST_STRAYS):
                self._probes.setdefault(host, set()).add(number)
            return True
        if (host, port) == self._place:
            return any(session.take(received, now) for session in self.sessions)
        place = join_host_port(host, port)
        known = place in self._strays or len(self._strays) < MOST_STRAYS
        if known and any(session.answered_by(received.data) for session in self.sessions):
            self._strays[place] += 1
            self._tell(now, "answer-from-elsewhere", by=place)
        return True

    @property
    def strays(self) -> Mapping[str, int]:
        """Answers that came from elsewhere, by place."""
        return dict(self._strays)

    @property
    def probes(self) -> int:
        """How many of the peer's probes arrived."""
        return len(self._probes.get(self._place[0], ()))

    @property
    def others(self) -> Sequence[str]:
        """Other hosts that sent probes: they read the peer's mailbox."""
        return sorted(self._probes.keys() - {self._place[0]})
