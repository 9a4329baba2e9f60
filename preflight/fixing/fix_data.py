"""A fix as JSON values, read back strictly: a report, or a file of the journal, may be a stranger's."""

import json
from functools import cache
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from preflight.model.fix import Fix

FixEntry = Annotated[Fix, Field(discriminator="id")]


@cache
def _fix_type() -> TypeAdapter[Fix]:
    """Made with the first fix: most runs find nothing to fix."""
    return TypeAdapter(FixEntry)


def as_data(fix: Fix) -> dict[str, Any]:
    """A fix as JSON values: its id and its parameters."""
    data: dict[str, Any] = _fix_type().dump_python(fix, mode="json")
    return data


def read_fix(data: object) -> Fix:
    """A fix from JSON values. Raises ValueError for an unknown id, or any parameter that is not exactly right."""
    try:
        return _fix_type().validate_json(json.dumps(data), strict=True)
    except (ValidationError, TypeError, RecursionError) as error:
        raise ValueError(f"this is not a fix that can be made: {error}") from None
