"""What a peer's responder observed of packets between it and this node: plain data, as it comes by mailbox."""

from dataclasses import dataclass
from typing import Literal

from preflight.model.facts import DeathFacts
from preflight.model.fix import Fix
from preflight.model.peer_tunnel import PeerTunnel

Direction = Literal["forward", "reverse"]
Finding = Literal["seen", "killed", "absent", "clear", "blind"]
PacketClass = Literal["inner", "handshake", "data", "large"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerObservation:
    """The word of one of the peer's observers on one station at the peer.

    direction: as this node has it: `forward` to the peer, which is then the receiver; `reverse` from it, the sender.
    So no word of a peer is about another host. finding, packets: as `preflight.proto.way.observation` has them.
    sent, seen: packets of the class in the burst, and how many of them were seen. code: the slug of what killed them,
    as it is called on the peer itself; facts: what decided; certain: False for what fits and is not proven. fixes: what
    the peer would change on itself, all of it together.
    """

    station: str
    finding: Finding
    direction: Direction
    packets: PacketClass = "inner"
    sent: int = 0
    seen: int = 0
    code: str | None = None
    facts: DeathFacts | None = None
    certain: bool = True
    fixes: tuple[Fix, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSight:
    """All that the peer's observers report. tunnel: the peer's end of the tunnel, where both ends compare keys."""

    observed: tuple[PeerObservation, ...] = ()
    tunnel: PeerTunnel | None = None
