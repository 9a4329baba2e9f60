"""The facts of a result in a report: from measurements, which may come from anyone, back to typed values."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from preflight.model.facts import GIVEN_BY, Facts
from preflight.model.pmtu import EchoSizes, Fate, ProbeSizes
from preflight.model.spread import Spread

MOST_BINS = 100
"""A histogram with more bars does not come from us."""


def read_facts(check: str, measurements: Mapping[str, Any]) -> Facts | None:
    """What a check of ours measured, in its own types; None where the measurements do not make such facts.

    measurements: as a report holds them, JSON that a stranger may have written.
    """
    first, *others = GIVEN_BY.get(check, ()) or (None,)
    if first is not None and isinstance(facts := _read(first, measurements), first):
        return facts
    for kind in others:
        # A class without a required field fits whatever lacks what the first one needs: it must hold something.
        facts = _read(kind, measurements)
        if isinstance(facts, kind) and facts.measurements():
            return facts
    return None


def read_sizes(data: object) -> dict[Fate, tuple[int, ...]] | None:
    """The sizes that a path-MTU search tried, from the data of its evidence; None where these are something else."""
    for kind in (ProbeSizes, EchoSizes):
        sizes = _read(kind, data)
        if isinstance(sizes, kind):
            return sizes.by_fate
    return None


def read_spread(data: object) -> Spread | None:
    """The distribution of times in the data of a piece of evidence; None where it is something else."""
    known = _read(Spread, data)
    sound = isinstance(known, Spread) and 0 < len(known.counts) <= MOST_BINS
    return known if sound and isinstance(known, Spread) and min(known.counts) >= 0 < sum(known.counts) else None


def _read(kind: type, value: object) -> object:
    try:
        # Only from JSON does a strict validator take an object for a dataclass, and a list for a sequence.
        return _validator(kind).validate_json(to_json(value, inf_nan_mode="null"), strict=True)
    except ValidationError:
        return None


@cache
def _validator(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
