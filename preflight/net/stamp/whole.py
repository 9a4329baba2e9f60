"""From which peers everything came here in this run that they are known to have sent."""

from preflight.model.path import StampStats
from preflight.model.peer import Peer


class Whole:
    """What the sessions of a run showed of the way here.

    A machine that has this node's key takes what a peer sends. Where nothing of that is missing, nobody does.
    """

    def __init__(self) -> None:
        self._came: dict[str, bool] = {}

    def note(self, peer: Peer, stats: StampStats) -> None:
        """Take a session. One without any answer leaves open what the peer has sent."""
        way = stats.reverse if stats.answered else None
        whole = way is not None and way.lost == 0 and not stats.undirected
        self._came[peer.address] = whole and self._came.get(peer.address, True)

    def came(self, peer: Peer) -> bool:
        """Whether each session with a peer was answered, and no answer is missing; False where there was none."""
        return self._came.get(peer.address, False)
