"""How far large packets get on a way that carries small ones only, as plain data. Sizes are IP packets in bytes."""

from dataclasses import dataclass, replace

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
