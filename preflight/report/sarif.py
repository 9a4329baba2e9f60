"""The report as SARIF 2.1.0 (OASIS, 2020), for tools that collect findings of many programs."""

import json
from collections.abc import Sequence
from datetime import timedelta
from importlib.resources import files
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import quote

from preflight import codes
from preflight.model.facts import LeakFacts
from preflight.report.common import labelled
from preflight.report.facts import read_facts
from preflight.report.model import AcceptedEntry, CauseEntry, Report, ResultEntry

LEVELS = {"fail": "error", "error": "error", "warn": "warning", "inconclusive": "none"}
"""Levels of section 3.27.10; an undecided result has none; passes and skips are not findings and are left out."""
SETTINGS: Final = "preflight.yaml"
"""The file that a finding is shown at where the command names no other."""
_SEVERITIES: Final = {"fail": "error", "warn": "warning"}


def render(report: Report) -> str:
    """One run with a rule for each code that was found, and a result for each bad result.

    What is meant is the logical location (section 3.33): a network has no files. But GitHub's code scanning refuses a
    result without a file and a line, so each has the settings file that the run was made with as well, and a finding
    about files has those. A result that is a root cause has the highest rank.
    """
    found = [result for result in report.results if result.status in LEVELS and result.code]
    rules = list(dict.fromkeys(str(result.code) for result in found))
    roots = {cause.explains[0]: cause for cause in report.diagnosis if cause.explains}
    settings = _uri(_settings_file(report.run.command))
    run: dict[str, Any] = {
        "tool": {"driver": _driver(report, rules)},
        "automationDetails": {"id": f"preflight/{report.run.node.hostname}/", "guid": report.run.id},
        "invocations": [_invocation(report)],
        "results": [_result(result, rules, roots.get(result.id), settings) for result in found],
        "columnKind": "utf16CodeUnits",
    }
    document = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _driver(report: Report, rules: list[str]) -> dict[str, Any]:
    return {"name": report.tool.name, "version": report.tool.version, "rules": [_rule(slug) for slug in rules]}


def _rule(slug: str) -> dict[str, Any]:
    """GitHub wants both descriptions and a help; the page is what `explain` prints."""
    known = codes.ALL.get(slug)
    title = known.title if known else slug
    page = files("preflight_runbook").joinpath(f"{slug}.md").read_text(encoding="utf-8") if known else title
    level = _SEVERITIES.get(known.severity.value, "note") if known else "warning"
    return {
        "id": slug,
        "shortDescription": {"text": title},
        "fullDescription": {"text": title},
        "help": {"text": f"preflight explain {slug}", "markdown": page},
        "defaultConfiguration": {"level": level},
        "properties": {"tags": [slug.partition(".")[0], "network"]},
    }


def _settings_file(command: Sequence[str]) -> str:
    """The settings file that the command names."""
    named = [value for word, value in pairwise(command) if word == "--config"]
    return named[-1] if named else SETTINGS


def _uri(path: str) -> str:
    """A reference (RFC 3986). A relative one is found in the repository; an absolute one gets a scheme."""
    file = PurePosixPath(path)
    return f"file://{quote(str(file))}" if file.is_absolute() else quote(str(file))


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


def _result(result: ResultEntry, rules: list[str], cause: CauseEntry | None, settings: str) -> dict[str, Any]:
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
                "physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}},
                "logicalLocations": [
                    {"name": result.target, "fullyQualifiedName": result.id, "kind": "resource"},
                ],
            }
            for uri in _files(result) or [settings]
        ],
        "partialFingerprints": {"resultId/v1": result.id, "code/v1": str(result.code)},
        "properties": {
            "direction": result.direction,
            "check": result.check,
            "measurements": dict(result.measurements),
            "rootCause": cause is not None,
        },
    }


def _files(result: ResultEntry) -> list[str]:
    """The files that a finding is about, if it is about files."""
    facts = read_facts(result.check, result.measurements)
    return [_uri(each) for each in facts.file] if isinstance(facts, LeakFacts) else []
