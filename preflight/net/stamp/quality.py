"""How good the paths to the peers are, measured so gently that what is found is the path's and not our own load's."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

from preflight.model.path import StampStats, combined
from preflight.model.peer import Peer
from preflight.net.turns import Turns
from preflight.proto.stamp.enough import Limits, as_bad, certain, clean, is_graded, open_question, present
from preflight.proto.stamp.pace import (
    CARRIED_SHARE,
    FEWEST,
    FIRST_PER_S,
    SLOWEST_PER_S,
    Pace,
    carried_per_s,
    made_by_load,
    packets,
    queued,
    slower_per_s,
    waits,
)
from preflight.proto.stamp.policer import ABOVE, AGAIN_COUNT, may_be_policed, suspected_per_s

if TYPE_CHECKING:
    from preflight.net.stamp.path import PathProbes

MOST_PACKETS = 10_000
LEAST_EACH, MOST_EACH, LEAST_MORE = 20, 200, 10
"""Of the first sessions with each peer: a large mesh shares `MOST_PACKETS`, because this must not become a load test.
There the packets of this run that came before count too, and at least a few more are sent."""
ALONE = 300
"""Packets of the first session with the only peer. A loss of 2 % takes none of 200 once in 57 runs, and none of 300
once in 429."""
ALONE_QUICKER, QUICKER_COUNT, QUICKEST = 2.4, 60, 3.2
"""No other session is in the uplink of the only peer, so the pace may grow: some packets leave quicker than the first
few, and the rest more quickly still. A step is small, so that what it overloads is a queue and not yet a loss."""
ALONE_WAITING = 1.5
"""How much quicker than the first few the rest leaves where some of the quicker ones waited."""
SILENT_COUNT = 10
"""Packets to a responder that was silent before, in case it has started."""
CONFIRM_COUNT = 300
CONFIRM_MOST, CONFIRM_S = 3000, 12.0
"""Packets and seconds for the first peers with trouble: enough to distinguish a loss of 2 % from one below 1 %."""
SLOW_COUNT, SLOW_TIMES = 100, 3
"""Packets of two sessions at a quarter of the pace, of which the first may be enough; how many such pairs at most for
trouble that the first did not show at all."""
LONGEST_QUEUE_S = 2.0
FULLY_CONFIRMED = 3
BRIEFLY, BRIEF_MOST = 32, 600
"""The next peers get less: if this many have trouble, its cause is at this node. After these, a session is all."""


class Quality:
    """Sessions with the peers of a run.

    turns: of the run's checks. decided: whether a peer's sessions are enough for a finding. troubled: gets each
    peer whose packets are lost. peers: how many answer.
    """

    def __init__(
        self,
        path: "PathProbes",
        turns: Turns,
        limits: Limits,
        decided: Callable[[Peer, StampStats], bool],
        troubled: Callable[[Peer], None],
        peers: int,
    ) -> None:
        self._path, self._turns, self._limits, self._peers = path, turns, limits, peers
        self._decided, self._troubled = decided, troubled
        self.pace = Pace()
        self._sessions = Turns(lambda: self.pace.at_once)
        self._first = packets_each(peers)
        self._unclean = 0

    async def measure(self, peer: Peer) -> StampStats:
        """About a second if all is well.

        Trouble is measured for longer, because a share of few packets is not a finding, and slower. Where packets
        waited in a queue, that is done alone: by no other session, and by no other check.
        """
        if (silence := self._path.proven_silent(peer)) is not None:
            return silence
        if self._path.silent(peer) and self._path.first(peer) is None:
            stats = await self._session(peer, FIRST_PER_S, SILENT_COUNT)
            if not stats.answered or clean(stats, self._limits):
                return stats
        async with self._sessions.shared():
            running, stats = self._sessions.sharing, await self._first_session(peer)
            if stats.answered and clean(stats, self._limits):
                self.pace.went_well()
                return stats
            if not stats.answered and self._path.first(peer) is None:
                return stats
            if stats.lost:
                self._troubled(peer)
            # Who has answered before may be behind a queue that is longer than all patience.
            if stats.answered and not queued(stats):
                return await self._settled(peer, FIRST_PER_S, stats)
        async with self._sessions.alone(), self._turns.alone_instead():
            return await self._alone(peer, stats, running)

    async def _first_session(self, peer: Peer) -> StampStats:
        """The first packets leave alone: they show a slow link before it is loaded."""
        per_s, most, before = self.pace.session_per_s, self._first, self._path.first(peer)
        if before is not None and most < MOST_EACH:
            if clean(before, self._limits):
                more = max(packets(per_s, most - before.sent, self._peers), LEAST_MORE)
                again = await self._session(peer, per_s, more)
                return combined([before, again]) if again.answered else again
            most = MOST_EACH
        count = packets(per_s, most, self._peers)
        feeler = await self._session(peer, per_s, min(count, FEWEST))
        if count <= FEWEST or not feeler.answered or not clean(feeler, self._limits):
            return feeler
        if self._peers == 1 and per_s >= FIRST_PER_S and count - FEWEST > QUICKER_COUNT:
            return await self._growing(peer, per_s, feeler, count - FEWEST)
        return combined([feeler, await self._session(peer, per_s, count - FEWEST)])

    async def _growing(self, peer: Peer, per_s: float, feeler: StampStats, count: int) -> StampStats:
        """`count` more packets to the only peer, quicker while none of them waits: a queue shows before a loss does."""
        quicker = await self._session(peer, per_s * ALONE_QUICKER, QUICKER_COUNT)
        so_far = combined([feeler, quicker])
        if not quicker.answered or not clean(quicker, self._limits):
            return so_far
        pace = ALONE_WAITING if waits(quicker) else QUICKEST
        return combined([so_far, await self._session(peer, per_s * pace, count - QUICKER_COUNT)])

    async def _alone(self, peer: Peer, stats: StampStats, running: int) -> StampStats:
        """Once more with no other work, at a pace that the link carries if that is known.

        What was lost before may have met a full queue, or a limit on the rate below what the link carries. A few
        packets at a quicker pace, which meet nobody else's now, show which.
        """
        await asyncio.sleep(_queue_s(stats))
        carried = carried_per_s(stats)
        per_s = self.pace.session_per_s
        if carried is not None:
            per_s = max(min(per_s, CARRIED_SHARE * carried * running), SLOWEST_PER_S)
        again = await self._session(peer, per_s, packets(per_s, self._first, self._peers))
        if not again.answered:
            return stats
        if not clean(again, self._limits):
            again = await self._settled(peer, per_s, again)
        elif carried is not None:
            self.pace.slow_to(per_s)
            if may_be_policed(stats):
                stats = await self._session(peer, min(carried * ABOVE, FIRST_PER_S), AGAIN_COUNT)
        return replace(again, quicker=again.quicker or (stats if stats.answered else None))

    async def _settled(self, peer: Peer, per_s: float, stats: StampStats) -> StampStats:
        """What is left of a session's trouble at slower paces, or what more packets show of it at this one.

        What is certain at a slower pace already, and in all packets together, is the path's: no more are needed if
        they would not make a failure of a warning.
        """
        sessions, slow, quicker, slower_s = [stats], list[StampStats](), None, slower_per_s(per_s)
        while slower_s is not None and not clean(combined(sessions), self._limits):
            slower = await self._slower(peer, slower_s, combined(sessions))
            if not made_by_load(combined(sessions), slower, self._limits.jitter_ms):
                slow = [slower]
                break
            per_s, quicker, sessions = slower_s, combined(sessions), [slower]
            self.pace.slow_to(per_s)
            slower_s = slower_per_s(per_s)
        if slower_s is None and not clean(combined(sessions), self._limits):
            sessions = await self._lasting(peer, per_s, combined(sessions))
        both = (combined(slow), combined([*sessions, *slow])) if slow else ()
        if not both or not all(self._decided(peer, each) and is_graded(each, self._limits) for each in both):
            sessions = await self._confirmed(peer, per_s, sessions, slow)
        if slow and slower_s is not None and await self._only_quickly(peer, slower_s, combined(sessions), slow):
            self.pace.slow_to(slower_s)
            return replace(combined(slow), quicker=combined(sessions))
        return replace(combined([*sessions, *slow]), quicker=quicker, slower=combined(slow) if slow else None)

    async def _lasting(self, peer: Peer, per_s: float, stats: StampStats) -> list[StampStats]:
        """What is left of trouble at the slowest pace a moment later: other packets may have passed on a slow link."""
        again = await self._session(peer, per_s, packets(per_s, SLOW_COUNT))
        return [again] if made_by_load(stats, again, self._limits.jitter_ms) else [stats, again]

    async def _only_quickly(self, peer: Peer, per_s: float, stats: StampStats, slow: list[StampStats]) -> bool:
        """Whether nothing of what is certain at one pace happens at a slower one; takes more of those sessions.

        What the path does by itself happens there too, sooner or later.
        """
        bad = certain(stats, self._limits)
        if not bad:
            return False
        while not bad & present(combined(slow), self._limits):
            if len(slow) >= SLOW_TIMES or made_by_load(stats, combined(slow), self._limits.jitter_ms):
                return True
            slow.append(await self._slower(peer, per_s, stats))
        return False

    async def _slower(self, peer: Peer, per_s: float, fast: StampStats) -> StampStats:
        """At a slower pace: half of the packets are enough where they are about as bad as those of a fast one.

        Each session meets a policer's bucket full again, so where one may be there is one session.
        """
        count = packets(per_s, SLOW_COUNT)
        if suspected_per_s(fast, "forward") is not None or suspected_per_s(fast, "reverse") is not None:
            return await self._session(peer, per_s, count)
        half = await self._session(peer, per_s, count // 2)
        if as_bad(half, fast, self._limits):
            return half
        return combined([half, await self._session(peer, per_s, count - count // 2)])

    async def _confirmed(
        self, peer: Peer, per_s: float, sessions: list[StampStats], slow: list[StampStats]
    ) -> list[StampStats]:
        """The sessions, and as many more as it takes until something is certain of them and the slow ones together."""
        self._unclean += 1
        most, ends = _confirm_most(self._unclean), monotonic() + CONFIRM_S
        while sum(each.sent for each in sessions) < most and monotonic() < ends:
            so_far = combined([*sessions, *slow])
            if self._decided(peer, so_far) or not so_far.answered or not open_question(so_far, self._limits):
                break
            sessions.append(await self._session(peer, per_s, packets(per_s, CONFIRM_COUNT)))
        return sessions

    async def _session(self, peer: Peer, per_s: float, count: int) -> StampStats:
        return await self._path.stamp(peer, count=count, interval_s=1 / per_s)


def _queue_s(stats: StampStats) -> float:
    """For how long packets may still wait in a queue: as long as they have at most, if any came."""
    if not stats.answered:
        return LONGEST_QUEUE_S
    ways = (way for way in (stats.forward, stats.reverse) if way is not None)
    return min(max((max(way.delay_variation_ms, default=0.0) for way in ways), default=0.0) / 1000, LONGEST_QUEUE_S)


def packets_each(peers: int) -> int:
    """Packets of the first session with each peer, for a number of peers."""
    if peers == 1:
        return ALONE
    return max(LEAST_EACH, min(MOST_EACH, MOST_PACKETS // max(peers, 1)))


def _confirm_most(unclean: int) -> int:
    if unclean <= FULLY_CONFIRMED:
        return CONFIRM_MOST
    return BRIEF_MOST if unclean <= BRIEFLY else 0
