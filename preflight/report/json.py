"""The report as JSON, and its JSON Schema."""

import json
from typing import Any

from preflight.report.model import Report


def render(report: Report) -> str:
    """The contract's document, indented, with a newline at its end; with remarks where there are any."""
    empty = None if report.remarks else {"remarks"}
    return report.model_dump_json(by_alias=True, indent=2, exclude=empty) + "\n"


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the report."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Report.model_json_schema(mode="serialization", by_alias=True),
        "title": "preflight report",
    }


def parse(text: str) -> Report:
    """Read a report. Raises ValueError (pydantic's) with what does not fit."""
    return Report.model_validate(json.loads(text))
