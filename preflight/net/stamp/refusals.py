"""What hosts said about packets to a peer, kept until it answers: they say it seldom, and not about each packet."""

from collections.abc import Mapping
from dataclasses import replace

from preflight.model.path import StampStats, summed
from preflight.model.peer import Peer


class Refusals:
    """The ICMP errors of a run, by peer.

    Kernels limit how many they send, and other checks may have had theirs already (RFC 1812 section 4.3.2.8).
    """

    def __init__(self) -> None:
        self._errors: dict[str, Mapping[str, int]] = {}
        self._closed: set[str] = set()

    def note(self, peer: Peer, *sessions: StampStats) -> None:
        """Keep what these sessions brought; an answer ends what was said before it."""
        if any(each.answered for each in sessions):
            self._errors.pop(peer.address, None)
            self._closed.discard(peer.address)
            return
        known = (self._errors.get(peer.address, {}), *(each.icmp_errors for each in sessions))
        self._errors[peer.address] = summed(known)
        if any(each.port_unreachable for each in sessions):
            self._closed.add(peer.address)

    def closed(self, peer: Peer) -> bool:
        """Whether the peer's host has said that nobody listens on the responder's port, without an answer since."""
        return peer.address in self._closed

    def completed(self, peer: Peer, stats: StampStats) -> StampStats:
        """A session without an answer, with all that was said in this run since the last one."""
        if stats.answered:
            return stats
        closed = stats.port_unreachable or self.closed(peer)
        return replace(stats, port_unreachable=closed, icmp_errors=self._errors.get(peer.address, stats.icmp_errors))
