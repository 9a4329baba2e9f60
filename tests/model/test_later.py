"""A type that is built later is the same type: what it takes, what it refuses, how it is written, and its schema."""

from dataclasses import dataclass
from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from preflight.fixing.fix_data import FixEntry
from preflight.model.fix import LinkUp
from preflight.model.later import Later
from preflight.model.remedy import Remedy, heal
from preflight.report.remedies import RemedyEntry, remedy_entry

(REMEDY,) = heal(lambda: LinkUp(interface="wg0"))


class Odd:
    """Nothing that pydantic could build."""


@dataclass
class Holder:
    """As a remedy holds its fix."""

    odd: Annotated[Odd, Later(Odd)] | None = None


def test_nothing_is_built_before_the_first_value() -> None:
    """Most runs find nothing to fix, and fifty kinds of fixes took a third of what pydantic builds for them."""
    assert TypeAdapter(Holder).validate_json("{}") == Holder()


def test_a_remedy_is_the_same_after_a_way_through_json() -> None:
    """A result of a check in another process, and an entry of a report."""
    results, entries = TypeAdapter(Remedy), TypeAdapter(RemedyEntry)
    assert results.validate_json(results.dump_json(REMEDY)) == REMEDY
    assert results.validate_python(REMEDY, strict=True) == REMEDY
    entry = remedy_entry(REMEDY)
    assert entries.validate_json(entries.dump_json(entry)) == entry
    assert entry.remedy == REMEDY


def test_a_fix_with_a_parameter_that_is_not_right_is_refused_in_one_line() -> None:
    """A check of another package may make one past its own checks, and the reason is part of a sentence."""
    results = TypeAdapter(Remedy)
    (broken,) = heal(lambda: LinkUp(interface="wg0"))
    assert broken.fix is not None
    object.__setattr__(broken.fix, "interface", 5)
    with pytest.raises(ValidationError) as refused:
        results.validate_python(broken, strict=True)
    assert "\n" not in refused.value.errors()[0]["msg"]


def test_the_schema_is_that_of_the_type() -> None:
    """The report's schema is published: it names each fix and its parameters."""
    schema = RemedyEntry.model_json_schema(mode="serialization")
    own = TypeAdapter(FixEntry).json_schema(mode="serialization")
    assert schema["properties"]["fix"]["anyOf"][0] == {key: own[key] for key in own if key != "$defs"}
    assert schema["$defs"] == own["$defs"]
