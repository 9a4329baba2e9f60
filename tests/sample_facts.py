"""Facts for tests: a whole object of a class from the few fields that a test is about."""

from dataclasses import MISSING, fields
from types import NoneType
from typing import Any, get_args, get_type_hints

from preflight.model.facts import F


def sample(kind: type[F], **known: Any) -> F:
    """Facts of this class; a required field that is not given is None where it may be, else zero, false or empty."""
    hints = get_type_hints(kind)
    blank = {
        field.name: None if NoneType in get_args(hints[field.name]) else _ZERO.get(hints[field.name], ())
        for field in fields(kind)
        if field.default is MISSING
    }
    return kind(**{**blank, **known})


_ZERO: dict[Any, int | float | bool | str] = {int: 0, float: 0.0, bool: False, str: ""}
