"""What a flow of load towards a peer gave, as plain data: bytes and seconds, or why there was none."""

from dataclasses import dataclass
from typing import Literal

FlowKind = Literal["tcp-up", "tcp-down", "udp-up", "udp-down"]
"""up: from this node to the peer; down: from the peer to this node."""

Refusal = Literal["busy", "spent"]
"""Why a responder that takes load takes no more of it now: another flow runs, or its bytes of this hour are used up."""

NoFlow = Literal["refused", "silent", "unreachable", "key", "busy", "spent", "broken"]
"""refused: nothing listens on the responder's TCP port. silent: nothing answers there. unreachable: this node's system
says that there is no way. key: the responder ended the talk, as it does with who has another key. busy, spent: see
`Refusal`. broken: the flow ended before anything was counted."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What an end counted. bytes: payload of all packets; seconds: from the first to the last of them.

    steady_bytes, steady_s: the same without the beginning, in which a sender still finds its rate. packets: of UDP,
    else how many pieces were read. overflowed: datagrams that found the receive queue of that end full.
    """

    bytes: int = 0
    packets: int = 0
    seconds: float = 0.0
    steady_bytes: int = 0
    steady_s: float = 0.0
    overflowed: int = 0

    @property
    def mbit_s(self) -> float | None:
        """Payload a second, megabits, once the rate is steady; None if too little came to say."""
        return self.steady_bytes * 8 / self.steady_s / 1e6 if self.steady_s > 0 and self.steady_bytes else None


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow that ran. arrived: as its receiver counted; sent_bytes: what its sender handed to its system.

    began_ns, ended_ns: when it ran by this node's clock, UNIX nanoseconds.
    """

    kind: FlowKind
    arrived: Counted
    sent_bytes: int
    began_ns: int
    ended_ns: int


@dataclass(frozen=True, slots=True)
class FailedFlow:
    """No flow. detail: the system's words, if there are any."""

    kind: FlowKind
    why: NoFlow
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AddedDelay:
    """What a flow adds to the delay of small packets in one direction, or to the round trip, milliseconds.

    idle: without the flow; loaded: during it, less the same smallest delay. Medians, and the 95th percentile.
    """

    idle_ms: float
    loaded_ms: float
    loaded_p95_ms: float
    packets: int

    @property
    def added_ms(self) -> float:
        """The difference of the medians; never below zero."""
        return max(self.loaded_ms - self.idle_ms, 0.0)


@dataclass(frozen=True, slots=True)
class LoadedDelay:
    """One flow, and what packets during it waited: in its own direction, and the whole round trip.

    idle_rtt_ms, loaded_rtt_ms: medians. lost, sent: small packets during the flow.
    """

    flow: Flow
    way: AddedDelay | None
    idle_rtt_ms: float
    loaded_rtt_ms: float
    lost: int
    sent: int
