"""Many peers in few lines: equal results share a line, with the spread of their numbers; bad peers keep their names."""

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
)
from preflight.model.readings import carried_bytes, quickest_ms
from preflight.report.common import by_id, status_of
from preflight.report.model import CauseEntry, Report, ResultEntry

T = TypeVar("T")

FEW = 8
"""Up to this many peers, each has its own lines; at most this many bad ones are always named."""
NOBODY = ("node", "control")
"""Targets that are not peers."""
SAID_ONCE = frozenset({"run.needs-responder", "run.needs-privilege", "run.needs-tool", "run.needs-platform"})
"""What this node lacks, or every peer: one sentence for all checks and peers."""


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
    """The peers of the results, each once, in natural order: p2 before p10."""
    targets = dict.fromkeys(result.target for result in results)
    return sorted((target for target in targets if target not in NOBODY), key=_natural)


def by_key(items: Iterable[T], keys: Iterable[Hashable]) -> list[list[T]]:
    """Group items by key, in the order of each key's first item."""
    groups: dict[Hashable, list[T]] = {}
    for item, key in zip(items, keys, strict=True):
        groups.setdefault(key, []).append(item)
    return list(groups.values())


def names(targets: Sequence[str], shown: int = 6) -> str:
    """`p1, p2, p3 and 251 more`."""
    more = len(targets) - shown
    return ", ".join(targets[:shown]) + (f" and {more} more" if more > 0 else "")


def spread(results: Sequence[ResultEntry]) -> str:
    """The main numbers of many results, from smallest to largest; empty if there are none."""
    return _told(results, _TELLING)


def _told(results: Sequence[ResultEntry], telling: Iterable[tuple[Callable[[Facts], float | None], str, str]]) -> str:
    texts, known = [], [facts for result in results if (facts := result.facts) is not None]
    for read, before, behind in telling:
        numbers = sorted(value for facts in known if (value := read(facts)) is not None)
        if numbers:
            ends = dict.fromkeys((_number(numbers[0]), _number(numbers[-1])))
            texts.append(f"{before}{'–'.join(ends)}{behind}")
    return ", ".join(texts)


def gist(results: Sequence[ResultEntry]) -> str:
    """The same for results of different checks: only what means the same in all of them."""
    return _told(results, _TELLING[1:])


def say_the_same(results: Iterable[ResultEntry], addresses: Mapping[str, str]) -> bool:
    """Whether the messages differ only in the peer's name and address (`addresses`, by name)."""
    return len({_without_names(result, addresses) for result in results}) == 1


def _without_names(entry: ResultEntry | CauseEntry, addresses: Mapping[str, str]) -> str:
    words = "|".join(map(re.escape, filter(None, (addresses.get(entry.target), entry.target))))
    # Only as a word: a name may be one letter.
    return re.sub(rf"(?<!\w)(?:{words})(?!\w)", "\0", entry.message) if words else entry.message


@dataclass(frozen=True, slots=True)
class CauseGroup:
    """One cause at one or many peers; `number` is its number in the report."""

    number: int
    status: str
    causes: tuple[CauseEntry, ...]

    @property
    def first(self) -> CauseEntry:
        """The cause shown for all."""
        return self.causes[0]

    @property
    def peers(self) -> list[str]:
        """Names, in natural order."""
        return sorted((cause.target for cause in self.causes), key=_natural)

    @property
    def of_this_user(self) -> bool:
        """Whether a privilege is missing: the peers have nothing to do with it."""
        return self.first.code == "run.needs-privilege"

    @property
    def who(self) -> str:
        """The target, or the number of peers and the first names."""
        if self.of_this_user and len(self.causes) > 1:
            return ""
        many = len(self.causes)
        return f"{many} peers: {names(self.peers)}" if many > 1 else self.first.target

    @property
    def message(self) -> str:
        """The first cause's message, with its peer's name if it represents many."""
        many = len(self.causes) > 1 and not self.of_this_user
        return f"{self.first.target}: {self.first.message}" if many else self.first.message

    @property
    def said_once(self) -> bool:
        """Whether something is missing for all checks, so that their own messages say nothing more."""
        return self.first.code in SAID_ONCE

    @property
    def explains(self) -> frozenset[str]:
        """Ids of all results that they explain."""
        return frozenset(id for cause in self.causes for id in cause.explains)

    @property
    def explained(self) -> int:
        """How many results they explain, not counting one of each cause itself."""
        return len(self.explains) - len(self.causes)


def cause_groups(report: Report, *, whole: bool, once: bool = False) -> list[CauseGroup]:
    """Group causes with one code, direction and status at many peers; each stays separate if few, or `whole`.

    once: what is missing for all checks and peers (`SAID_ONCE`) is one cause, however few they are.
    """
    known, addresses = by_id(report), {peer.target: peer.address for peer in report.run.peers}
    statuses = [status_of(cause, known) for cause in report.diagnosis]
    keys = [
        _likeness(cause, status, addresses, once=once) for cause, status in zip(report.diagnosis, statuses, strict=True)
    ]
    alike = Counter(keys)
    together = [alike[key] > FEW or (once and key[0] in SAID_ONCE) for key in keys]
    apart = [
        key if joins and not whole else place for place, (key, joins) in enumerate(zip(keys, together, strict=True))
    ]
    pairs = by_key(list(zip(report.diagnosis, statuses, strict=True)), apart)
    return [
        CauseGroup(number, group[0][1], tuple(cause for cause, _ in group)) for number, group in enumerate(pairs, 1)
    ]


def _likeness(cause: CauseEntry, status: str, addresses: Mapping[str, str], *, once: bool) -> tuple[str, ...]:
    """Causes for which it is the same are alike."""
    known = "" if cause.accepted is None else f"{cause.accepted.until} {cause.accepted.reason}"
    if once and cause.code == "run.needs-privilege":  # whatever it is missing for
        return cause.code, status, known
    if once and cause.code in SAID_ONCE:
        return cause.code, status, known, _without_names(cause, addresses)
    return cause.code, status, known, cause.direction, str(cause.target in NOBODY)


def explained_by(groups: Iterable[CauseGroup]) -> Mapping[str, CauseGroup]:
    """The last of the groups that explains each result."""
    return {id: group for group in groups for cause in group.causes for id in cause.explains}


def _number(value: float) -> str:
    if value == int(value):
        return str(int(value))
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 0.1 else f"{value:.2g}"


def _natural(name: str) -> list[tuple[int, str]]:
    """Compare digits as numbers."""
    parts = [part.lstrip("0") if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
    return [(len(part) if number % 2 else -1, part) for number, part in enumerate(parts)]
