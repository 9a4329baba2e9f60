"""Findings that the settings list as known: shown with reason and date, and not failing until then. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase

from preflight.api import Result, Status
from preflight.engine.diagnosis import Cause
from preflight.settings.schema import AcceptedFinding

_ACCEPTABLE = (Status.FAIL, Status.WARN, Status.INCONCLUSIVE)
"""A check that broke says nothing about the network."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the settings accept. today: UTC; file: where it is listed; codes: that each check may give, by its id."""

    entries: tuple[AcceptedFinding, ...] = ()
    today: date = date.min
    file: str = "the settings"
    codes: Mapping[str, Collection[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What of a run is accepted. results: by id; causes: one for each cause, None if it is not accepted.

    remarks: sentences about what is accepted, what is not any more, and what does not occur any more.
    """

    results: Mapping[str, AcceptedFinding]
    causes: tuple[AcceptedFinding | None, ...]
    remarks: tuple[str, ...] = ()


def accept(results: Sequence[Result], causes: Sequence[Cause], known: Known) -> Acceptance:
    """What is accepted: results with the code and target, and what only accepted causes explain."""
    valid = [entry for entry in known.entries if known.today <= entry.until]
    of_causes = tuple(_entry_of(valid, cause.code.slug, cause.target) for cause in causes)
    found: dict[str, AcceptedFinding] = {}
    for result in results:
        entry = _entry_of(valid, _slug(result), result.target) or _by_causes(result.id, causes, of_causes)
        if entry is not None and result.status in _ACCEPTABLE:
            found[result.id] = entry
    used = [*found.values(), *(entry for entry in of_causes if entry is not None)]
    return Acceptance(found, of_causes, tuple(_remarks(results, causes, known, used)))


def is_accepted(result: Result, known: Known) -> bool:
    """Whether a result itself is accepted, whatever explains it."""
    valid = [entry for entry in known.entries if known.today <= entry.until]
    return result.status in _ACCEPTABLE and _entry_of(valid, _slug(result), result.target) is not None


def _entry_of(entries: Sequence[AcceptedFinding], slug: str, target: str) -> AcceptedFinding | None:
    return next((entry for entry in entries if _fits(entry, slug, target)), None)


def _fits(entry: AcceptedFinding, slug: str, target: str) -> bool:
    return entry.code == slug and fnmatchcase(target, entry.target)


def _slug(result: Result) -> str:
    return result.code.slug if result.code else ""


def _by_causes(id: str, causes: Sequence[Cause], of_causes: Sequence[AcceptedFinding | None]) -> AcceptedFinding | None:
    """The entry of the first cause that explains a result, if all that do are accepted."""
    explaining = [entry for cause, entry in zip(causes, of_causes, strict=True) if id in cause.explains]
    return explaining[0] if explaining and None not in explaining else None


def _remarks(
    results: Sequence[Result], causes: Sequence[Cause], known: Known, used: Collection[AcceptedFinding]
) -> Iterator[str]:
    seen = {(_slug(result), result.target) for result in results if result.status in _ACCEPTABLE}
    seen |= {(cause.code.slug, cause.target) for cause in causes}
    for entry in known.entries:
        name, occurs = f"{entry.code} at {entry.target}", any(_fits(entry, *each) for each in seen)
        if entry in used:
            yield f"accepted until {entry.until}: {name} ({entry.reason})"
        elif occurs and known.today > entry.until:
            yield f"not accepted any more since {entry.until}: {name} ({entry.reason})"
        elif not occurs and _is_gone(entry, results, known):
            yield f"accepted, but it does not occur any more: {name}; take it out of `accept` in {known.file}"


def _is_gone(entry: AcceptedFinding, results: Sequence[Result], known: Known) -> bool:
    """Whether the run would have shown it: its check passed there, or all that was looked at there is well."""
    there = [result for result in results if fnmatchcase(result.target, entry.target)]
    passed = [result for result in there if result.status is Status.PASS]
    well = all(result.status in (Status.PASS, Status.WARN, Status.SKIP) for result in there)
    return any(entry.code in known.codes.get(result.check, ()) for result in passed) or (bool(passed) and well)
