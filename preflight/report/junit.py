"""The report as JUnit XML: one suite per category, as the contract maps it."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from preflight.report.common import WORST_FIRST, accepted_note, aspect_of, labelled
from preflight.report.model import CauseEntry, Report, ResultEntry

Causes = Mapping[str, CauseEntry]
"""Result id to the cause that explains it."""


def render(report: Report) -> str:
    """JUnit XML that CI systems read: fail → failure, error → error; skip, inconclusive and accepted → skipped.

    Suites and cases with failures go first, and a failure that is only an effect names its cause: most viewers list
    failures in the order of the file, without the report's diagnosis.
    """
    xml: Any = JUnitXml("preflight")
    causes = {id: cause for cause in reversed(report.diagnosis) for id in cause.explains}
    by_category = groupby(sorted(report.results, key=lambda r: r.category), key=lambda r: r.category)
    suites = [(category, sorted(results, key=_rank)) for category, results in by_category]
    for category, results in sorted(suites, key=lambda suite: _rank(suite[1][0])):
        suite = TestSuite(category)
        suite.hostname = report.run.node.hostname
        suite.timestamp = report.run.started_at.strftime("%Y-%m-%dT%H:%M:%S")
        suite.add_testcases(_cases(results, causes))
        xml.add_testsuite(suite)
    xml.update_statistics()
    # Jenkins' schema (xunit plugin, junit-10.xsd) knows this count on suites only.
    xml._elem.attrib.pop("skipped", None)
    return str(xml.tostring().decode()) + "\n"


def _cases(results: Iterable[ResultEntry], causes: Causes) -> list[Any]:
    kinds = {"fail": Failure, "error": Error, "skip": Skipped, "inconclusive": Skipped}
    cases = []
    for result in results:
        case = TestCase(_name(result), classname=result.check, time=round(result.duration_ms / 1000, 3))
        if result.accepted is not None:
            case.result = [Skipped(f"{result.code}, {accepted_note(result)}: {result.message}", result.code)]
        elif result.status in kinds:
            entry = kinds[result.status](f"{result.code}: {result.message}", result.code)
            said = (result.message, *labelled(result), _because(result, causes), result.doc)
            entry.text = "\n".join(filter(None, said))
            case.result = [entry]
        elif result.status == "warn":
            case.system_out = f"warning {result.code}: {result.message}"
        cases.append(case)
    return cases


def _rank(result: ResultEntry) -> int:
    """What is worst first; an accepted finding counts as good."""
    known = result.status in WORST_FIRST and result.accepted is None
    return WORST_FIRST.index(result.status) if known else len(WORST_FIRST)


def _because(result: ResultEntry, causes: Causes) -> str:
    """The cause of an effect; empty for what is a cause itself, or has none."""
    cause = causes.get(result.id)
    if cause is None or cause.code == result.code:
        return ""
    return f"explained by {cause.code} ({cause.target}): {cause.message}"


def _name(result: ResultEntry) -> str:
    """Target and direction, and the aspect if one check has several results about both."""
    return " ".join(filter(None, (result.target, result.direction, aspect_of(result))))
