"""What an observer says of a station: seen, killed, absent, clear or blind, and what decided."""

from dataclasses import dataclass
from typing import Literal

from preflight.codes import REVALIDATED, Code
from preflight.model.facts import DeathFacts
from preflight.model.remedy import Remedies
from preflight.proto.way.stations import Station

Finding = Literal["seen", "killed", "absent", "clear", "blind"]
"""seen: packets were here, so they passed all before. killed: this station itself says that it dropped them (a
refusal, a rule that moved, an ICMP error). absent: an observer that was shown to see packets like these saw none.
clear: nothing at this station can drop them. blind: nobody could look; the reason says what would have let us."""
Passing = Literal["ICMP echo", "TCP"]
"""What a peer answers whose responder is silent."""
PacketClass = Literal["inner", "handshake", "data", "large"]
"""Packets are only compared with packets of the same class; `inner` are those inside the tunnel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """What killed packets at a station.

    message: one sentence, with the values of the facts that decide. certain: False for what fits and is not proven,
    such as a rule that can match and whose counter nobody could read: something proven outranks it. later: the station
    decides, and the packets die further on, as with a wrong source: that they were seen behind it contradicts nothing.
    """

    __pydantic_config__ = REVALIDATED

    code: Code
    message: str
    facts: DeathFacts | None = None
    remedies: Remedies = ()
    certain: bool = True
    later: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One observer's word on one station of one way.

    direction: `forward` to the peer, `reverse` from it. by: who says so, `node` or such as `b by mailbox`. sent, seen:
    packets of the class in the burst, and how many of them were seen here. death: what a `killed` station says.
    """

    __pydantic_config__ = REVALIDATED

    station: Station
    finding: Finding
    direction: Literal["forward", "reverse"] = "forward"
    by: str = "node"
    reason: str = ""
    packets: PacketClass = "inner"
    sent: int = 0
    seen: int = 0
    death: Death | None = None
