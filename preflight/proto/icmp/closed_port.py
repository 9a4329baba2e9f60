"""Is a UDP port closed? One empty datagram and the host's ICMP answer, without I/O; silence proves nothing."""

from preflight.model.event import Tell, silent
from preflight.model.icmp import PortWord
from preflight.proto.core import Core, Datagram, Received, Refusal


class ClosedPort(Core[bool]):
    """True if the host says "port unreachable"; False if it answers anything else, or nothing within `timeout_s`.

    otherwise: what came back where it does not say so.
    """

    result: bool | None = None
    otherwise: PortWord = "silent"

    def __init__(self, now: float, timeout_s: float, tell: Tell = silent) -> None:
        self._ends_at = now + timeout_s
        self._sent = False
        self._tell = tell

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """The datagram, once."""
        if self._sent or self.result is not None:
            return []
        self._sent = True
        return [Datagram(b"")]

    def refused(self, refusal: Refusal, now: float) -> None:
        """Take the host's answer."""
        self._end(refusal.port_unreachable, now)

    def receive(self, received: Received, now: float) -> None:
        """The port is open: a program listens there."""
        self.otherwise = "open"
        self._end(False, now)

    def unsent(self, datagram: Datagram, error: OSError, now: float) -> None:
        """This host did not send it, so that nothing can come back."""
        self.otherwise = "unsent"
        self._end(False, now)

    def get_timer(self) -> float | None:
        """When to give up."""
        return None if self.result is not None else self._ends_at

    def handle_timer(self, now: float) -> None:
        """Give up: silence proves nothing."""
        if now >= self._ends_at:
            self._end(False, now)

    def _end(self, closed: bool, now: float) -> None:
        if self.result is None:
            self.result = closed
            self._tell(now, "concluded", closed=closed)
