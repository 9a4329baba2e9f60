"""What a path-MTU search found, as plain data. All sizes are IP packets: header, UDP and payload, in bytes."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

OneWay = Literal["forward", "reverse"]
"""forward: this node sends the large packets; reverse: the peer does."""


class SearchOutcome(StrEnum):
    """How a search ended."""

    MEASURED = "measured"  # `mtu_bytes` is exact
    NO_ANSWER = "no-answer"  # not even the smallest probe was answered
    REFUSED = "refused"  # the peer's kernel said that nobody listens on the port
    NOT_PERMITTED = "not-permitted"  # this process may not send such probes (echoes)
    UNDECIDED = "undecided"  # answers came, but loss left the size between `mtu_bytes` and `ceiling_bytes`


@dataclass(frozen=True, slots=True, kw_only=True)
class PathMtu:
    """Result of one search in one direction.

    mtu_bytes: the largest packet that arrives whole; None if none did.
    ceiling_bytes: the sender's interface MTU, the largest size that was tried.
    signalled: the sender was told (ICMP "too big") a size that does pass.
    passed, fragmented, vanished: sizes that arrived whole, arrived in outer fragments, never arrived.
    recovered: sizes that were lost at first and arrived later.
    miscounted: fragments of other traffic were in the way, so packets that came in them may count as whole.
    """

    direction: OneWay
    outcome: SearchOutcome
    ceiling_bytes: int
    mtu_bytes: int | None = None
    signalled: bool = False
    passed: tuple[int, ...] = ()
    fragmented: tuple[int, ...] = ()
    vanished: tuple[int, ...] = ()
    recovered: tuple[int, ...] = ()
    miscounted: bool = False
    icmp_from: tuple[str, ...] = ()
    probes_sent: int = 0
    rounds: int = 0
    rtt_s: float | None = None
    duration_s: float = 0.0

    @property
    def fits(self) -> bool:
        """Whether packets as large as the sender's interface allows arrive whole."""
        return self.outcome is SearchOutcome.MEASURED and self.mtu_bytes == self.ceiling_bytes

    @property
    def fragmented_outside(self) -> bool:
        """Whether the next larger packet arrives too, but split by whatever carries it (RFC 4459 section 3.1)."""
        return (
            self.outcome is SearchOutcome.MEASURED
            and self.mtu_bytes is not None
            and (self.mtu_bytes + 1 in self.fragmented)
        )

    @property
    def black_hole(self) -> bool:
        """Whether larger packets vanish and nobody tells the sender (RFC 2923 section 2.1)."""
        return (
            self.outcome is SearchOutcome.MEASURED
            and not self.fits
            and not self.signalled
            and not self.fragmented_outside
        )


ASKED_ENOUGH, ASKED_AT_MOST = 6, 8
"""Large packets that a hop must have left unanswered before it counts as one that they do not reach."""
ANSWERED_ENOUGH = 5
"""Small ones, each sent after such a large one, that it must have answered meanwhile."""


@dataclass(frozen=True, slots=True)
class HopFate:
    """What one hop answered. asked: how often a large packet was sent to it, each time with a small one behind.

    small_answers: to small packets since large ones were sent. addresses: who answered at this distance.
    """

    ttl: int
    addresses: tuple[str, ...] = ()
    asked: int = 0
    small_answers: int = 0
    large_answers: int = 0

    @property
    def starved(self) -> bool:
        """Whether it is beyond doubt that large packets do not get here while small ones do."""
        enough = self.asked >= ASKED_ENOUGH and self.small_answers >= ANSWERED_ENOUGH
        return enough and self.large_answers == 0

    @property
    def exhausted(self) -> bool:
        """Whether there is no point in asking once more."""
        return self.starved or self.asked >= ASKED_AT_MOST

    @property
    def address(self) -> str:
        """Who it is."""
        return " or ".join(self.addresses)

    def heard_from(self, address: str, large: bool) -> "HopFate":
        """With one more answer."""
        addresses = self.addresses if address in self.addresses else (*self.addresses, address)
        return replace(
            self,
            addresses=addresses,
            small_answers=self.small_answers + (not large and self.asked > 0),
            large_answers=self.large_answers + large,
        )

    def tried(self) -> "HopFate":
        """With one more pair of packets sent."""
        return replace(self, asked=self.asked + 1)


@dataclass(frozen=True, slots=True)
class Vanishing:
    """How far large packets get on a way that carries small ones only. `destination`: its distance, None = not seen."""

    small_bytes: int
    large_bytes: int
    hops: tuple[HopFate, ...] = ()
    destination: int | None = None

    @property
    def last(self) -> HopFate | None:
        """The last hop that a large packet provably reached."""
        return next((hop for hop in reversed(self.hops) if hop.large_answers), None)

    @property
    def doubt(self) -> str:
        """Why it is not known where they vanish; empty if it is known: right behind `last`, or before the first hop.

        That they do not reach the destination is the caller's to know.
        """
        if self.destination == 1:
            return "no hop is between"
        if not self.hops:
            return "no hop answers"
        ahead = 1 + (self.last.ttl if self.last else 0)
        behind = next((hop for hop in self.hops if hop.ttl == ahead), None)
        if any(len(hop.addresses) != 1 for hop in (self.last, behind) if hop):
            return "the way changes"
        if self.destination == ahead or (behind and behind.starved):
            return ""
        return f"hop {ahead} does not answer" if behind is None else f"hop {ahead} does not answer often enough"
