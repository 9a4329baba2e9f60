"""What the fields of a report may hold: every text printable, every number finite, even if another program wrote it."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from preflight.model.printable import one_line, printable

StatusName = Literal["pass", "warn", "fail", "inconclusive", "skip", "error"]
DirectionName = Literal["forward", "reverse", "round-trip", "local"]
LARGEST = 2**53
"""Beyond it not every JSON reader can represent every integer (RFC 8259 section 6)."""
DEEPEST = 32
"""Levels of a measurement or evidence; deeper levels are cut."""


def plain(value: Any, depth: int = 0) -> Any:
    """Measurements and evidence as JSON values: printable text, finite numbers, lists and objects, not too deep."""
    if isinstance(value, str):
        return printable(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value)
    if depth >= DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {one_line(str(key)): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, depth + 1) for item in value]
    return printable(str(value))


def _number(value: float) -> float | None:
    """The number, as a float if it is large; None if no reader accepts it."""
    try:
        number = float(value)
    except OverflowError:
        return None
    if not isfinite(number):
        return None
    return value if abs(value) <= LARGEST else number


def _made(change: Callable[[str], str]) -> BeforeValidator:
    """Runs before pydantic, which rejects text with an unpaired surrogate."""
    return BeforeValidator(lambda value: change(value) if isinstance(value, str) else value)


Lines = Annotated[str, _made(printable)]
Line = Annotated[str, _made(one_line)]
Word = Annotated[str, _made(lambda text: "_".join(one_line(text).split()))]
Plain = Annotated[Any, AfterValidator(plain)]
Milliseconds = Annotated[float, Field(ge=0, le=1e12)]
Count = Annotated[int, Field(ge=0, le=LARGEST)]


def _of_our_time(moment: datetime) -> datetime:
    if not 1970 <= moment.year < 3000:
        raise ValueError(f"the year {moment.year} is out of range")
    return moment.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_of_our_time)]


class Part(BaseModel):
    """Frozen; readers ignore fields of a newer version."""

    model_config = ConfigDict(frozen=True, extra="ignore")
