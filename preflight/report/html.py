"""The report as one HTML file that works from an e-mail: no request, no font, no foreign script; it prints well."""

import base64
import hashlib
import json
import shlex
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from preflight.report import common, ways
from preflight.report.model import Report
from preflight.report.page import make_page

STATUSES = ("fail", "error", "warn", "inconclusive", "pass", "skip")


def render(report: Report) -> str:
    """The whole page. Everything from the report is escaped; the page's policy allows only its own script."""
    script = _asset("report.js")
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            page=make_page(report),
            report=report,
            style=style(),
            script=script,
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            counts=common.counts(report),
            overlay=common.overlay_line(report),
            note=common.lab_note(report),
            marks=common.MARKS,
            statuses=STATUSES,
            words=common.WORDS,
            way_marks=ways.MARKS,
        )
    )


@cache
def environment() -> Environment:
    """Templates that escape everything; cached, because loading takes longer than rendering."""
    templates = Environment(
        loader=PackageLoader("preflight.report", "html_assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["pretty"] = _pretty
    templates.filters["number"] = _number
    templates.filters["shell"] = shlex.join
    templates.filters["advice"] = common.advice
    templates.filters["accepted"] = common.accepted_note
    templates.filters["legs"] = ways.legs
    return templates


def style() -> str:
    """The style sheet of all pages."""
    return _asset("report.css")


def _asset(name: str) -> str:
    return files("preflight.report").joinpath("html_assets", name).read_text(encoding="utf-8")


def _pretty(value: Any) -> str:
    """Evidence for a reader: text as it is, everything else as JSON, lists of numbers on one line."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "\n".join(f"{key}: {json.dumps(item, ensure_ascii=False)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(json.dumps(item, ensure_ascii=False) for item in value)
    return json.dumps(value, ensure_ascii=False)


def _number(value: float | None, unit: str = "") -> str:
    """A number with useful digits; a dash if it was not measured."""
    if value is None:
        return "–"
    digits = 2 if abs(value) < 1 else 1 if abs(value) < 100 else 0
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{text} {unit}".rstrip()
