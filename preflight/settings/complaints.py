"""What is wrong with a value of the settings file, in words that do not need Python."""

from collections.abc import Mapping, Sequence
from typing import Any

_LINES = "must be `key: value` lines"
_TEXT, _WHOLE, _NUMBER = "must be text", "must be a whole number", "must be a number"
_NETWORK = "must be a network, as 10.66.0.0/24 or fd66::/64"
_LIST, _FLAG = "must be a list, as [a, b]", "must be true or false"
_WORDS: Mapping[str, str] = {
    "missing": "is missing",
    "tuple_type": _LIST,
    "list_type": _LIST,
    "model_type": _LINES,
    "dict_type": _LINES,
    "dataclass_type": _LINES,
    "string_type": _TEXT,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _FLAG,
    "bool_parsing": _FLAG,
    "path_type": "must be the path of a file",
    "literal_error": "must be {expected}",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "ip_v4_network": _NETWORK,
    "ip_v6_network": _NETWORK,
    "date_parsing": "must be a date, as 2027-01-31",
    "date_type": "must be a date, as 2027-01-31",
    "date_from_datetime_parsing": "must be a date, as 2027-01-31",
    "date_from_datetime_inexact": "must be a date, as 2027-01-31",
    "string_too_short": "must not be empty",
}

_INSIDE = ("function-", "lax-or-strict[")
"""How pydantic names its own steps among the keys of a place."""


def keys_of(location: Sequence[int | str]) -> tuple[int | str, ...]:
    """The keys and positions of an error's place, as they are in the file."""
    return tuple(part for part in location if not str(part).startswith(_INSIDE))


def complaint(error: Mapping[str, Any]) -> str:
    """A sentence without its subject, for an error of pydantic; ours say it themselves."""
    words = _WORDS.get(error["type"])
    if words is None:
        return str(error["msg"]).removeprefix("Value error, ")
    return words.format(**error.get("ctx", {}))
