"""How far large packets get on a path that carries only small ones, as plain data. Sizes are IP packets in bytes."""

from dataclasses import dataclass, replace

ASKED_ENOUGH, ASKED_AT_MOST = 6, 8
"""Unanswered large packets after which a hop counts as not reached by them."""
ANSWERED_ENOUGH = 5
"""Small packets, each sent after a large one, that the hop must have answered meanwhile."""


@dataclass(frozen=True, slots=True)
class HopFate:
    """The answers of one hop. asked: how many large packets were sent to it, each followed by a small one.

    small_answers: answers to small packets since then. addresses: who answered at this distance.
    """

    ttl: int
    addresses: tuple[str, ...] = ()
    asked: int = 0
    small_answers: int = 0
    large_answers: int = 0

    @property
    def starved(self) -> bool:
        """Whether it is certain that large packets do not get here while small ones do."""
        enough = self.asked >= ASKED_ENOUGH and self.small_answers >= ANSWERED_ENOUGH
        return enough and self.large_answers == 0

    @property
    def exhausted(self) -> bool:
        """Whether another probe cannot change the result."""
        return self.starved or self.asked >= ASKED_AT_MOST

    @property
    def address(self) -> str:
        """Its address."""
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
    """How far large packets get on a path that carries small ones. `destination`: its distance, None = not seen."""

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
        """Why it is not known where they vanish; empty if it is known: right after `last`, or before the first hop.

        The caller knows that they do not reach the destination.
        """
        if self.destination == 1:
            return "there is no hop in between"
        if not self.hops:
            return "no hop answers"
        ahead = 1 + (self.last.ttl if self.last else 0)
        behind = next((hop for hop in self.hops if hop.ttl == ahead), None)
        if any(len(hop.addresses) != 1 for hop in (self.last, behind) if hop):
            return "the path changes"
        if self.destination == ahead or (behind and behind.starved):
            return ""
        return f"hop {ahead} does not answer" if behind is None else f"hop {ahead} does not answer often enough"
