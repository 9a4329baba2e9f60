"""The report as JSON, its JSON Schema, and the reader of reports, which may come from anyone."""

import json
from collections import Counter
from math import isfinite
from typing import Any

from pydantic import ValidationError

from preflight.model.printable import one_line
from preflight.report.model import (
    EXIT_ERROR,
    EXIT_FAIL,
    EXIT_INCONCLUSIVE,
    EXIT_INTERRUPTED,
    EXIT_PASS,
    Report,
    ResultEntry,
)

LARGEST_BYTES = 64_000_000
"""Limit for a report to read; a thousand peers make a tenth of it."""
DEEPEST = 64
"""Levels of lists and objects in a report to read."""
_TOO_DEEP = f"it is nested more than {DEEPEST} levels deep"
MANY = 50
"""From more peers on a good result is written without its empty fields, which the schema does not require."""
_NO_RESULTS = '\n  "results": []'
_DIGITS = 20
"""Digits of an integer: 64 bits and a sign."""
_ACCEPTED = frozenset({"accepted"})
_EXIT_CODES = {"pass": EXIT_PASS, "fail": EXIT_FAIL, "inconclusive": EXIT_INCONCLUSIVE, "error": EXIT_ERROR}


def render(report: Report) -> str:
    """The contract's document: indented, but each result on one line, because a mesh has thousands.

    Remarks and `accepted` are there only if there are any. In a mesh, what is good has no empty fields: they were a
    fifth of its report, and a reader of the schema fills them in.
    """
    empty: dict[str, Any] = {} if report.remarks else {"remarks": True}
    if not any(entry.accepted for entry in report.diagnosis):
        empty["diagnosis"] = {"__all__": {"accepted"}}
    unsaid = frozenset() if any(entry.accepted for entry in report.results) else _ACCEPTED
    is_mesh = len(report.run.peers) > MANY
    frame = report.model_copy(update={"results": ()}).model_dump_json(by_alias=True, indent=2, exclude=empty or None)
    lines = ",".join(f"\n    {_line(entry, unsaid, is_mesh=is_mesh)}" for entry in report.results)
    return frame.replace(_NO_RESULTS, f'\n  "results": [{lines}\n  ]' if lines else _NO_RESULTS, 1) + "\n"


def _line(entry: ResultEntry, unsaid: frozenset[str], *, is_mesh: bool) -> str:
    """One result. unsaid: what no result of the report has."""
    brief = is_mesh and entry.status == "pass" and entry.accepted is None
    return entry.model_dump_json(by_alias=True, exclude=set(unsaid) or None, exclude_defaults=brief)


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the report."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Report.model_json_schema(mode="serialization", by_alias=True),
        "title": "preflight report",
    }


def parse(data: bytes) -> Report:
    """Read a report from any bytes. Raises ValueError with one printable clause that says what is wrong."""
    if len(data) > LARGEST_BYTES:
        raise ValueError(f"it has more than {LARGEST_BYTES // 1_000_000} MB")
    document = _document(data)
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - one kind for all that does not fit
    _shallow(document)
    try:
        report = Report.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(one_line(f"{place}: {first['msg']}")) from None
    _agrees(report)
    return report


def _document(data: bytes) -> Any:
    try:
        text = data.decode("utf-8")
        document = json.loads(
            text, object_pairs_hook=_object, parse_constant=_number, parse_float=_number, parse_int=_integer
        )
        if "\\u" in text:  # an escape may be half of a surrogate pair
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("it contains an unpaired surrogate") from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{one_line(error.msg)} in line {error.lineno}" if text else "it is empty") from None
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    known = dict(pairs)
    if len(known) < len(pairs):
        raise ValueError("one object has a key twice")
    return known


def _number(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("it contains a number that JSON does not allow, or that is too large")
    return number


def _integer(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError("it contains a number that is too large")
    return int(text)


def _shallow(document: Any) -> None:
    """Raises ValueError if it is nested too deep."""
    level = [document]
    for _ in range(DEEPEST):
        holders = [value for value in level if isinstance(value, dict | list)]
        level = [item for holder in holders for item in (holder.values() if isinstance(holder, dict) else holder)]
    if level:
        raise ValueError(_TOO_DEEP)


def _agrees(report: Report) -> None:
    """Raises ValueError for a summary, verdict or exit code that does not follow from the results under any gate."""
    counts = Counter(result.status for result in report.results)
    if counts != Counter(report.summary.model_dump(by_alias=True)):
        raise ValueError("its summary does not count its results")
    verdict, code = report.verdict, report.run.exit_code
    known = Counter(result.status for result in report.results if result.accepted is not None)
    failing = counts["fail"] - known["fail"]
    borne_out = {
        "pass": (counts["pass"] or counts["warn"] or known.total()) and not (failing or counts["error"]),
        "fail": failing or counts["warn"] - known["warn"],
        "inconclusive": not (failing or counts["error"]),
        "error": counts["error"] and not failing,
    }
    if not borne_out[verdict] or code not in (_EXIT_CODES[verdict], EXIT_INTERRUPTED):
        raise ValueError(f"its results do not support the verdict {verdict!r} with exit code {code}")
