"""Asking STUN servers where they see one socket (RFC 8489 section 6.2.1, over UDP), without I/O."""

import errno
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from preflight.model.event import Tell, silent
from preflight.model.host_port import join_host_port
from preflight.model.rejected import ECHOED, FOREIGN, UNSIGNED
from preflight.model.stun import StunAnswer
from preflight.proto.core import Address, Core, Datagram, Received, Refusal
from preflight.proto.stun import binding as stun

RTO_S = (0.5, 1.0, 1.5)
"""Waits after each request: 3 s in all, while the standard would wait for 39.5 s."""


@dataclass(slots=True)
class Asked:
    """One server. transaction: random, of RFC 8489's 12 bytes. target: where it is. answer: what is known so far."""

    transaction: bytes
    target: Address
    answer: StunAnswer
    sent_at: float = 0.0
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def open(self) -> bool:
        """Whether its answer is still missing."""
        return self.answer.mapped is None and self.answer.why is None


class StunQuestions(Core[Sequence[StunAnswer]]):
    """Asks servers of one address family from one socket, and repeats the request to those that are silent.

    key: sign the requests and take only signed answers.
    """

    result: Sequence[StunAnswer] | None = None

    def __init__(self, asked: Sequence[Asked], key: bytes | None = None, tell: Tell = silent) -> None:
        self._asked, self._key, self._tell = asked, key, tell
        self._waits = iter(RTO_S)
        self._again_at = 0.0

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """A request to each server that has not answered, when its time has come."""
        if self.result is not None or now < self._again_at:
            return []
        wait_s = next(self._waits, None)
        if wait_s is None:
            self._conclude(now)
            return []
        self._again_at = now + wait_s
        waiting = [each for each in self._asked if each.open]
        for each in waiting:
            each.sent_at = now
            self._tell(now, "asked", server=each.answer.server)
        return [Datagram(stun.request(each.transaction, self._key), each.target) for each in waiting]

    def unsent(self, datagram: Datagram, error: OSError, now: float) -> None:
        """A request did not leave this host."""
        for each in self._asked:
            if each.open and each.target == datagram.to:
                detail = errno.errorcode.get(error.errno or 0, str(error.errno))
                each.answer = replace(each.answer, why="no-route", detail=detail)

    def receive(self, received: Received, now: float) -> None:
        """Only the server itself may answer: an answer from elsewhere says nothing about the way to it."""
        for each in self._asked:
            if each.open and received.source[:2] == each.target[:2]:
                self._take(each, received.data, now)

    def refused(self, refusal: Refusal, now: float) -> None:
        """A server's host says that nobody listens."""
        for each in self._asked:
            says_so = refusal.port_unreachable and refusal.offender == each.answer.address
            if each.open and says_so and refusal.destination and refusal.destination[:2] == each.target[:2]:
                each.answer = replace(each.answer, why="closed")
                self._tell(now, "port-unreachable", server=each.answer.server)

    def get_timer(self) -> float | None:
        """When to ask again, or to give up."""
        return None if self.result is not None else self._again_at

    def handle_timer(self, now: float) -> None:
        """End when nobody is missing; the last wait ends with the next request that would be due."""
        if self.result is None and not any(each.open for each in self._asked):
            self._conclude(now)

    def _conclude(self, now: float) -> None:
        for each in self._asked:
            if each.open:
                each.answer = replace(each.answer, why="silent", rejected=dict(each.rejected))
            self._tell(now, "concluded", server=each.answer.server, mapped=each.answer.mapped, why=each.answer.why)
        self.result = tuple(each.answer for each in self._asked)

    def _take(self, asked: Asked, data: bytes, now: float) -> None:
        try:
            mapped = stun.mapped_address(data, asked.transaction, self._key)
        except stun.StunError as error:
            asked.answer = replace(asked.answer, why="refused", detail=str(error))
            return
        if mapped is None:
            reason = self._refusal(asked, data)
            asked.rejected[reason] += 1
            self._tell(now, "rejected", server=asked.answer.server, reason=reason)
            return
        host, port = mapped
        text = join_host_port(host, port)
        rtt_ms = round((now - asked.sent_at) * 1000, 3)
        asked.answer = replace(asked.answer, mapped=text, rtt_ms=rtt_ms)
        self._tell(now, "answered", server=asked.answer.server, mapped=text, rtt_ms=rtt_ms)

    def _refusal(self, asked: Asked, data: bytes) -> str:
        """Why a datagram of a server does not answer."""
        if data == stun.request(asked.transaction, self._key):
            return ECHOED
        try:
            unsigned = self._key is not None and stun.mapped_address(data, asked.transaction) is not None
        except stun.StunError:
            unsigned = False
        return UNSIGNED if unsigned else FOREIGN
