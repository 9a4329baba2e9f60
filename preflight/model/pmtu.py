"""The result of a path-MTU search, as plain data. All sizes are IP packets: header, UDP and payload, in bytes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Literal

OneWay = Literal["forward", "reverse"]
"""forward: this node sends the large packets; reverse: the peer does."""


class SearchOutcome(StrEnum):
    """How a search ended."""

    MEASURED = "measured"  # `mtu_bytes` is exact
    NO_ANSWER = "no-answer"  # not even the smallest probe was answered
    REFUSED = "refused"  # the peer's kernel reported a closed port
    NOT_PERMITTED = "not-permitted"  # this process may not send such probes (echoes)
    UNDECIDED = "undecided"  # answers came, but loss left the size between `mtu_bytes` and `ceiling_bytes`


Fate = Literal["passed", "fragmented", "vanished", "recovered"]
"""The fate of a size: recovered was lost at first and arrived later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSizes:
    """The sizes that a search by a responder's answers tried, as its evidence holds them: IP packets in bytes."""

    passed: tuple[int, ...]
    fragmented: tuple[int, ...]
    vanished: tuple[int, ...]
    lost_once_but_arrived: tuple[int, ...]
    icmp_too_big_from: tuple[str, ...]

    @property
    def by_fate(self) -> dict[Fate, tuple[int, ...]]:
        """The sizes by their fate."""
        return {
            "passed": self.passed,
            "fragmented": self.fragmented,
            "vanished": self.vanished,
            "recovered": self.lost_once_but_arrived,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoSizes:
    """The sizes that a search by echoes tried, as its evidence holds them: IP packets in bytes."""

    came_back: tuple[int, ...]
    in_fragments: tuple[int, ...]
    unanswered: tuple[int, ...]
    lost_once_but_came_back: tuple[int, ...]
    icmp_too_big_from: tuple[str, ...]

    @property
    def by_fate(self) -> dict[Fate, tuple[int, ...]]:
        """The sizes by their fate, there and back."""
        return {
            "passed": self.came_back,
            "fragmented": self.in_fragments,
            "vanished": self.unanswered,
            "recovered": self.lost_once_but_came_back,
        }


def as_data(sizes: ProbeSizes | EchoSizes) -> dict[str, list[int] | list[str]]:
    """The sizes as the evidence of a result holds them."""
    return {name: list(tried) for name, tried in asdict(sizes).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class PathMtu:
    """Result of one search in one direction.

    mtu_bytes: the largest packet that arrives whole; None if none did.
    ceiling_bytes: the sender's interface MTU, the largest size that was tried.
    signalled: an ICMP "too big" reported a size that does pass to the sender.
    passed, fragmented, vanished: sizes that arrived whole, arrived in outer fragments, never arrived.
    recovered: sizes that were lost at first and arrived later.
    miscounted: fragments of other traffic disturbed the count, so fragmented packets may count as whole.
    rejected: datagrams from the responder's address that are not answers, by reason.
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
    rejected: Mapping[str, int] = field(default_factory=dict)

    @property
    def silent(self) -> bool:
        """Whether nobody answered the search."""
        return self.outcome in (SearchOutcome.NO_ANSWER, SearchOutcome.REFUSED)

    @property
    def fits(self) -> bool:
        """Whether packets as large as the sender's interface allows arrive whole."""
        return self.outcome is SearchOutcome.MEASURED and self.mtu_bytes == self.ceiling_bytes

    @property
    def fragmented_outside(self) -> bool:
        """Whether the next larger packet arrives too, but fragmented outside (RFC 4459 section 3.1)."""
        return (
            self.outcome is SearchOutcome.MEASURED
            and self.mtu_bytes is not None
            and (self.mtu_bytes + 1 in self.fragmented)
        )

    @property
    def in_pieces(self) -> bool:
        """Whether the largest packet of the sender's interface arrives too, fragmented outside."""
        return self.fragmented_outside and self.ceiling_bytes in self.fragmented

    @property
    def black_hole(self) -> bool:
        """Whether larger packets vanish without a report to the sender (RFC 2923 section 2.1)."""
        return (
            self.outcome is SearchOutcome.MEASURED
            and not self.fits
            and not self.signalled
            and not self.fragmented_outside
        )
