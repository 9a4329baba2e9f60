"""The report as SARIF 2.1.0 (OASIS, 2020), for tools that collect findings of many programs."""

import json
from datetime import timedelta
from typing import Any

from preflight import codes
from preflight.report.common import labelled
from preflight.report.model import AcceptedEntry, CauseEntry, Report, ResultEntry

LEVELS = {"fail": "error", "error": "error", "warn": "warning", "inconclusive": "none"}
"""Levels of section 3.27.10; an undecided result has none; passes and skips are not findings and are left out."""


def render(report: Report) -> str:
    """One run with a rule for each code that was found, and a result for each bad result.

    Locations are logical (section 3.33): a network has no files. A result that is a root cause has the highest rank.
    """
    found = [result for result in report.results if result.status in LEVELS and result.code]
    rules = list(dict.fromkeys(str(result.code) for result in found))
    roots = {cause.explains[0]: cause for cause in report.diagnosis if cause.explains}
    run: dict[str, Any] = {
        "tool": {"driver": _driver(report, rules)},
        "automationDetails": {"id": f"preflight/{report.run.node.hostname}/", "guid": report.run.id},
        "invocations": [_invocation(report)],
        "results": [_result(result, rules, roots.get(result.id)) for result in found],
        "columnKind": "utf16CodeUnits",
    }
    document = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _driver(report: Report, rules: list[str]) -> dict[str, Any]:
    return {"name": report.tool.name, "version": report.tool.version, "rules": [_rule(slug) for slug in rules]}


def _rule(slug: str) -> dict[str, Any]:
    known = codes.ALL.get(slug)
    return {
        "id": slug,
        "shortDescription": {"text": known.title if known else slug},
        "help": {"text": f"preflight explain {slug}"},
    }


def _invocation(report: Report) -> dict[str, Any]:
    """Successful if no check broke and the user did not end it; the network's state does not matter."""
    run = report.run
    return {
        "executionSuccessful": run.exit_code not in (4, 130),
        "startTimeUtc": _utc(report),
        "endTimeUtc": _utc(report, run.duration_ms),
        "exitCode": run.exit_code,
        "exitCodeDescription": "; ".join((report.verdict, *report.remarks)),
        "arguments": list(run.command[1:]),
        "machine": run.node.hostname,
    }


def _utc(report: Report, after_ms: float = 0.0) -> str:
    moment = report.run.started_at + timedelta(milliseconds=after_ms)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _suppression(accepted: AcceptedEntry) -> dict[str, Any]:
    """Section 3.35: somebody outside the tool's run has looked at it, and lets it be until a day."""
    justification = f"{accepted.reason} (until {accepted.until})"
    return {"kind": "external", "status": "accepted", "justification": justification}


def _result(result: ResultEntry, rules: list[str], cause: CauseEntry | None) -> dict[str, Any]:
    text = "\n\n".join(filter(None, (result.message, "\n".join(labelled(result)))))
    return {
        "ruleId": result.code,
        "ruleIndex": rules.index(str(result.code)),
        "level": LEVELS[result.status],
        "kind": "open" if result.status == "inconclusive" else "fail",
        "rank": 100.0 if cause else 50.0,
        "message": {"text": text},
        "suppressions": [] if result.accepted is None else [_suppression(result.accepted)],
        "locations": [
            {
                "logicalLocations": [
                    {"name": result.target, "fullyQualifiedName": result.id, "kind": "resource"},
                ]
            }
        ],
        "partialFingerprints": {"resultId/v1": result.id, "code/v1": str(result.code)},
        "properties": {
            "direction": result.direction,
            "check": result.check,
            "measurements": dict(result.measurements),
            "rootCause": cause is not None,
        },
    }
