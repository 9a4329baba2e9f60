"""The report as JUnit XML: one suite per category, as the contract maps it."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from preflight.report.common import accepted_note, aspect_of, labelled
from preflight.report.model import Report, ResultEntry


def render(report: Report) -> str:
    """JUnit XML that CI systems read: fail → failure, error → error; skip, inconclusive and accepted → skipped."""
    xml: Any = JUnitXml("preflight")
    for category, results in groupby(sorted(report.results, key=lambda r: r.category), key=lambda r: r.category):
        suite = TestSuite(category)
        suite.hostname = report.run.node.hostname
        suite.timestamp = report.run.started_at.strftime("%Y-%m-%dT%H:%M:%S")
        suite.add_testcases(_cases(results))
        xml.add_testsuite(suite)
    xml.update_statistics()
    # Jenkins' schema (xunit plugin, junit-10.xsd) knows this count on suites only.
    xml._elem.attrib.pop("skipped", None)
    return str(xml.tostring().decode()) + "\n"


def _cases(results: Iterable[ResultEntry]) -> list[Any]:
    kinds = {"fail": Failure, "error": Error, "skip": Skipped, "inconclusive": Skipped}
    cases = []
    for result in results:
        case = TestCase(_name(result), classname=result.check, time=round(result.duration_ms / 1000, 3))
        if result.accepted is not None:
            case.result = [Skipped(f"{result.code}, {accepted_note(result)}: {result.message}", result.code)]
        elif result.status in kinds:
            entry = kinds[result.status](f"{result.code}: {result.message}", result.code)
            entry.text = "\n".join(filter(None, (result.message, *labelled(result), result.doc)))
            case.result = [entry]
        elif result.status == "warn":
            case.system_out = f"warning {result.code}: {result.message}"
        cases.append(case)
    return cases


def _name(result: ResultEntry) -> str:
    """Target and direction, and the aspect if one check has several results about both."""
    return " ".join(filter(None, (result.target, result.direction, aspect_of(result))))
