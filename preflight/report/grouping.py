"""Many peers in few lines: what is alike stands together, with the spread of its numbers; the bad keep their names."""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from preflight.model.facts import (
    AnswerFacts,
    EchoFacts,
    Facts,
    HandshakeFacts,
    LossFacts,
    ReverseTraceFacts,
    TraceFacts,
    carried_bytes,
    quickest_ms,
)
from preflight.report.common import by_id, status_of
from preflight.report.model import CauseEntry, Report, ResultEntry

T = TypeVar("T")

FEW = 8
"""Up to so many peers, each has lines of its own; of what is bad so many are named one by one in any case."""
NOBODY = ("node", "control")
"""Targets that are no peers."""


def _sent(facts: Facts) -> int | None:
    return facts.sent if isinstance(facts, AnswerFacts | EchoFacts | LossFacts) else None


def _loss_percent(facts: Facts) -> float | None:
    return facts.loss_percent if isinstance(facts, LossFacts) else None


def _jitter_ms(facts: Facts) -> float | None:
    return facts.jitter_p95_ms if isinstance(facts, LossFacts) else None


def _hops(facts: Facts) -> int | None:
    return facts.hops if isinstance(facts, TraceFacts | ReverseTraceFacts) else None


def _handshake_age_s(facts: Facts) -> float | None:
    return facts.handshake_age_s if isinstance(facts, HandshakeFacts) else None


# Of the facts those that say most in one line, with the words before the numbers and behind them.
_TELLING: tuple[tuple[Callable[[Facts], float | None], str, str], ...] = (
    (_sent, "", " packets each"),
    (quickest_ms, "round trip ", " ms"),
    (carried_bytes, "", " bytes"),
    (_loss_percent, "", " % lost"),
    (_jitter_ms, "jitter ", " ms"),
    (_hops, "hops: ", ""),
    (_handshake_age_s, "last handshake ", " s ago"),
)


def peers_of(results: Iterable[ResultEntry]) -> list[str]:
    """The peers that results are about, each once, in the order of their names: p2 before p10."""
    targets = dict.fromkeys(result.target for result in results)
    return sorted((target for target in targets if target not in NOBODY), key=_natural)


def by_key(items: Iterable[T], keys: Iterable[Hashable]) -> list[list[T]]:
    """Items with equal keys together, in the order in which the keys first come."""
    groups: dict[Hashable, list[T]] = {}
    for item, key in zip(items, keys, strict=True):
        groups.setdefault(key, []).append(item)
    return list(groups.values())


def names(targets: Sequence[str], shown: int = 6) -> str:
    """`p1, p2, p3 and 251 more`."""
    more = len(targets) - shown
    return ", ".join(targets[:shown]) + (f" and {more} more" if more > 0 else "")


def spread(results: Sequence[ResultEntry]) -> str:
    """The telling numbers of many results, from the smallest to the largest; nothing where there are none."""
    told, known = [], [facts for result in results if (facts := result.facts) is not None]
    for read, before, behind in _TELLING:
        numbers = sorted(value for facts in known if (value := read(facts)) is not None)
        if numbers:
            ends = dict.fromkeys((_number(numbers[0]), _number(numbers[-1])))
            told.append(f"{before}{'–'.join(ends)}{behind}")
    return ", ".join(told)


def say_the_same(results: Iterable[ResultEntry], addresses: Mapping[str, str]) -> bool:
    """Whether the messages differ in nothing but the peer's name and address (`addresses`, by name)."""

    def without_names(result: ResultEntry) -> str:
        message = result.message.replace(addresses.get(result.target) or result.target, "\0")
        return message.replace(result.target, "\0")

    return len({without_names(result) for result in results}) == 1


@dataclass(frozen=True, slots=True)
class CauseGroup:
    """The same cause at one or many peers; `number` is how the report counts it."""

    number: int
    status: str
    causes: tuple[CauseEntry, ...]

    @property
    def first(self) -> CauseEntry:
        """The one that stands for all."""
        return self.causes[0]

    @property
    def peers(self) -> list[str]:
        """Names, in their order."""
        return sorted((cause.target for cause in self.causes), key=_natural)

    @property
    def who(self) -> str:
        """The target, or how many peers and the first of them."""
        many = len(self.causes)
        return f"{many} peers: {names(self.peers)}" if many > 1 else self.first.target

    @property
    def message(self) -> str:
        """What the first one says, with its name where it stands for many."""
        return f"{self.first.target}: {self.first.message}" if len(self.causes) > 1 else self.first.message

    @property
    def explains(self) -> frozenset[str]:
        """Ids of all results that they account for."""
        return frozenset(id for cause in self.causes for id in cause.explains)

    @property
    def explained(self) -> int:
        """How many results they account for, one of each cause's own not counted."""
        return len(self.explains) - len(self.causes)


def cause_groups(report: Report, *, whole: bool) -> list[CauseGroup]:
    """Causes of the same code, direction and status at many peers as one; each by itself if few, or `whole`."""
    known = by_id(report)
    statuses = [status_of(cause, known) for cause in report.diagnosis]
    keys = [
        (cause.code, cause.direction, status, cause.target in NOBODY)
        for cause, status in zip(report.diagnosis, statuses, strict=True)
    ]
    alike = Counter(keys)
    apart = [key if alike[key] > FEW and not whole else place for place, key in enumerate(keys)]
    pairs = by_key(list(zip(report.diagnosis, statuses, strict=True)), apart)
    return [
        CauseGroup(number, group[0][1], tuple(cause for cause, _ in group)) for number, group in enumerate(pairs, 1)
    ]


def told_by(groups: Iterable[CauseGroup]) -> Mapping[str, CauseGroup]:
    """The last of the groups that explains each result."""
    return {id: group for group in groups for cause in group.causes for id in cause.explains}


def _number(value: float) -> str:
    if value == int(value):
        return str(int(value))
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 0.1 else f"{value:.2g}"


def _natural(name: str) -> list[tuple[int, str]]:
    """Digits count as numbers, of which the longer one is the greater one."""
    parts = [part.lstrip("0") if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
    return [(len(part) if number % 2 else -1, part) for number, part in enumerate(parts)]
