"""The contract of a check: its declaration and its results. Pure; each breach is one sentence."""

import inspect
import re
import traceback
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from preflight import codes
from preflight.api import Check, Evidence, Facts, Remedy, Result, Status
from preflight.model.facts import GIVEN_BY, givers
from preflight.model.printable import excerpt

RESULT = TypeAdapter(Result)
LONGEST_S = 3600.0
"""The longest time limit that a check may ask for."""
MOST_RESULTS = 50_000
"""That one check may give: thousands of peers, each way, in several aspects."""
_LONGEST_REASON = 500
_MOST_FRAMES = 50
_ID = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)+")
_WORD = re.compile(r"[a-z0-9][a-z0-9_-]*")


class ContractError(Exception):
    """A check that is declared wrongly, or that gives what a check may not give."""


class CheckBrokeError(Exception):
    """A check that broke in another process: the text says how, `frames` where, innermost last."""

    def __init__(self, words: str, frames: list[str]) -> None:
        super().__init__(words)
        self.frames = frames


def declared(check: Check) -> Check:
    """A check that is declared well. Raises ContractError."""
    try:
        check_type().validate_python(check, strict=True)
    except ValidationError as error:
        raise ContractError(_first_fault(error)) from None
    limits = (check.timeout, check.timeout_per_peer)
    faults = {
        f"the id {check.id!r} is not of the form area.name": not _ID.fullmatch(check.id),
        "its title is not one printable line": not (check.title.strip() and check.title.isprintable()),
        f"the category {check.category!r} is not one word": not _WORD.fullmatch(check.category),
        f"a time limit is not from 0 to {LONGEST_S:g} s": not all(0 <= limit <= LONGEST_S for limit in limits),
        "it is not an async generator (async def with a yield)": not inspect.isasyncgenfunction(check.function),
        "a tag or privilege is not one word": not all(map(_WORD.fullmatch, (*check.tags, *check.privileges))),
        **{f"it reads {kind.__name__}, which no check gives": not _may_read(kind) for kind in check.reads},
        **{f"the code {code.slug!r} is not its own to define": not _may_define(code) for code in check.codes},
    }
    fault = next((sentence for sentence, found in faults.items() if found), None)
    if fault:
        raise ContractError(fault)
    return check


@cache
def check_type() -> TypeAdapter[Check]:
    """What a declaration may hold. Made when a package of others declares checks: most runs have none."""
    return TypeAdapter(Check)


def _may_read(kind: type[Facts]) -> bool:
    return kind is not Facts and bool(givers((kind,)))


def _may_define(code: codes.Code) -> bool:
    """A code of ours as it is, or a new one outside of `run`, which is the runner's area."""
    if code.slug in codes.ALL:
        return codes.ALL[code.slug] == code
    return bool(_ID.fullmatch(code.slug)) and code.area != "run" and code.title.isprintable()


def well_formed(given: object) -> Result:
    """What a check gave, as a result that every output can hold. Raises ContractError.

    Text may come from strangers, so half a surrogate pair in it is replaced; a value of a wrong type is the check's.
    """
    if not isinstance(given, Result):
        raise ContractError(f"it gave {type(given).__name__} instead of a Result")
    try:
        RESULT.validate_python(given, strict=True)
        try:
            RESULT.dump_json(given)
        except PydanticSerializationError:
            given = replace(given, **{field.name: _clean(getattr(given, field.name)) for field in fields(given)})
            RESULT.dump_json(given)
    except ValidationError as error:
        raise ContractError(f"it gave a result with {_first_fault(error)}") from None
    except (PydanticSerializationError, RecursionError) as error:
        raise ContractError(f"it gave evidence that is not JSON: {error}") from None
    return given


def kept(check: Check, given: object, known: set[tuple[str, str, str]]) -> Result:
    """The result, if the check keeps its word: a code for whatever is not good, its own codes and facts, no id twice.

    known: targets, directions and aspects that it has given so far; this one is added. Raises ContractError.
    """
    result = well_formed(given)
    if (result.status is Status.PASS) != (result.code is None):
        raise ContractError(f"{result.status} with code {result.code}")
    if result.code is not None and result.code not in check.codes and not _of_the_runner(result.code):
        raise ContractError(f"it does not declare {result.code}")
    if result.blocked_by is not None and not result.blocked_by.startswith(f"{check.id}/"):
        raise ContractError("blocked by a result of another check: that is for the runner to say")
    if result.facts is not None and type(result.facts) not in GIVEN_BY.get(check.id, ()):
        raise ContractError(f"{type(result.facts).__name__} are not facts that it may give (preflight.model.facts)")
    place = (result.target, result.direction, result.aspect)
    if place in known:
        raise ContractError(f"two results for {result.target}/{result.direction}/{result.aspect}")
    if len(known) >= MOST_RESULTS:
        raise ContractError(f"more than {MOST_RESULTS} results")
    known.add(place)
    return result


def _of_the_runner(code: codes.Code) -> bool:
    return code.area == "run" and codes.ALL.get(code.slug) == code


def breakage(error: BaseException) -> CheckBrokeError:
    """How and where a check broke: places in the code, no values of variables (they could be secrets)."""
    if isinstance(error, CheckBrokeError):
        return error
    frames = [
        f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)[-_MOST_FRAMES:]
    ]
    return CheckBrokeError(reason(error), frames)


def reason(error: BaseException) -> str:
    """An exception in one line that can be shown. Its own text is a stranger's, and may even raise."""
    try:
        text = str(error)
    except BaseException:
        text = "it cannot say why"
    return excerpt(f"{type(error).__name__}: {text}", _LONGEST_REASON)


def _first_fault(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'value'}: {first['msg']}"


def _clean(value: Any) -> Any:
    """The same with every half of a surrogate pair replaced; enumerations, which are texts too, stay what they are."""
    if type(value) is str:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_clean, value))
    if isinstance(value, Facts):
        return replace(value, **{field.name: _clean(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, Remedy):  # the parameters of a fix are clean, or there would be no fix
        return replace(value, lines=_clean(value.lines), host=_clean(value.host), lasting=_clean(value.lasting))
    if isinstance(value, Evidence):
        return Evidence(_clean(value.kind), _clean(value.summary), _clean(value.data), _clean(value.path))
    return value
