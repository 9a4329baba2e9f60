"""Whatever is selected, whatever the checks do: good means that a check passed and nothing was left unsaid."""

import asyncio
import html
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from junitparser import JUnitXml

from preflight.api import Check, Context, Direction, Peer, Result, Status, Subject, check, codes
from preflight.cli.outputs import FORMATS, render
from preflight.cli.request import Request
from preflight.cli.session import Session
from preflight.engine.catalog import OURS
from preflight.engine.plan import Plan, Selection, SelectionError, make_plan
from preflight.model.plugins import BrokenPlugin
from preflight.report.model import Report
from preflight.settings.load import Settings

IDS = ("a.one", "a.two", "b.one", "b.two", "c.one")
PEERS = (Peer("10.0.0.1", "b"), Peer("10.0.0.2", "c"))
CODES = {
    Status.PASS: None,
    Status.WARN: codes.UDP_JITTER,
    Status.FAIL: codes.MTU_BLACK_HOLE,
    Status.INCONCLUSIVE: codes.RUN_NEEDS_RESPONDER,
    Status.SKIP: codes.RUN_NOT_APPLICABLE,
    Status.ERROR: codes.RUN_CHECK_ERROR,
}
SUBJECTS: tuple[Subject, ...] = ("node", "control", "peer")
VERDICTS = {0: "pass", 1: "fail", 3: "inconclusive", 4: "error"}


@dataclass(frozen=True)
class Case:
    """One run: a catalogue whose checks do as the test says, and the command line."""

    catalogue: tuple[Check, ...]
    request: Request
    skip_in_file: tuple[str, ...]
    broken: tuple[BrokenPlugin, ...]
    format: str


Said = tuple[Status, ...] | None
"""The statuses that a check gives for its target, or for each peer; None: it breaks."""


def made(id: str, subject: Subject, needs: tuple[str, ...], tags: tuple[str, ...], says: Said) -> Check:
    """A check that does as the test says."""

    async def function(ctx: Context) -> AsyncGenerator[Result, None]:
        if says is None:
            raise ZeroDivisionError
        for target in [peer.target for peer in ctx.peers] if subject == "peer" else [subject]:
            for number, status in enumerate(says):
                yield Result(
                    target=target,
                    direction=Direction.LOCAL,
                    status=status,
                    message=f"{id} is {status}",
                    code=CODES[status],
                    aspect=f"n{number}",
                )

    declared = tuple(code for code in CODES.values() if code is not None)
    return check(id, title=id, subject=subject, codes=declared, needs=needs, tags=tags)(function)


POOLS = ("pass skip", "pass skip", "skip", "pass skip inconclusive", "pass warn skip", " ".join(Status))
"""What the checks of one run may say: single-minded enough for many runs to end well, or nearly."""


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A run of up to four checks; each may need those before it."""
    status = st.sampled_from(draw(st.sampled_from(POOLS)).split()).map(Status)
    says: st.SearchStrategy[Said] = st.lists(status, min_size=1, max_size=2).map(tuple)
    says = draw(st.sampled_from([says, says, says | st.just(()), says | st.none()]))
    ids = draw(st.lists(st.sampled_from(IDS), min_size=1, max_size=4, unique=True))
    catalogue = tuple(
        made(
            id,
            draw(st.sampled_from(SUBJECTS)),
            tuple(draw(st.sets(st.sampled_from(ids[:place]), max_size=2))) if place else (),
            ("slow",) if draw(st.integers(0, 4)) == 4 else (),
            draw(says),
        )
        for place, id in enumerate(ids)
    )
    globs = st.lists(st.sampled_from([*ids, f"{ids[0][:2]}*"]), min_size=1, max_size=2, unique=True).map(tuple)

    def sometimes(one_in: int) -> tuple[str, ...]:
        return draw(globs) if draw(st.integers(1, one_in)) == one_in else ()

    request = Request(
        named=sometimes(2),
        only=sometimes(4),
        skip=sometimes(5),
        tags=("slow",) if draw(st.integers(0, 4)) == 4 else (),
        fail_on=draw(st.sampled_from(["fail", "fail", "warn"])),
        allow_inconclusive=draw(st.booleans()),
        quiet=True,
    )
    origin = draw(st.sampled_from(["acme", "acme", "", "", OURS]))
    broken = (BrokenPlugin(origin, "acme.check", "ImportError: no"),) if origin else ()
    return Case(catalogue, request, sometimes(8), broken, draw(st.sampled_from(FORMATS)))


def planned(case: Case) -> Plan:
    asked = case.request
    file = "preflight.yaml"
    selection = Selection(asked.named, asked.only, asked.skip, asked.tags, skip_in_file=case.skip_in_file, file=file)
    return make_plan(case.catalogue, selection)


def measured(case: Case, plan: Plan) -> Report:
    session = Session(case.request, Settings(peers=PEERS), plan, case.broken)

    async def once() -> Report:
        return (await session.measured(lambda event: None, asyncio.Event())).report

    return session.redactor(()).report(asyncio.run(once()))


def meant(case: Case) -> Mapping[str, set[str]]:
    """What was asked for by name, and the ids that it may mean: computed again, independently of the plan."""
    from fnmatch import fnmatchcase

    ids, request = [each.id for each in case.catalogue], case.request
    words = [(glob, glob) for glob in request.named] + [(f"--only {glob}", glob) for glob in request.only]
    by_glob = {name: {id for id in ids if fnmatchcase(id, glob)} for name, glob in words}
    by_tag = {f"--tag {tag}": {each.id for each in case.catalogue if tag in each.tags} for tag in request.tags}
    return by_glob | by_tag


def as_read(document: str, format: str) -> str:
    """What a reader takes from a document: without wrapping, escapes and mark-up."""
    if format in ("json", "sarif"):
        read = json.loads(document)
        said = (
            read.get("remarks", ()) if format == "json" else [read["runs"][0]["invocations"][0]["exitCodeDescription"]]
        )
        document = " ".join(said)
    return " ".join(html.unescape(document).replace("\\", "").replace("`", "").split())


def hold_to_its_word(case: Case, plan: Plan, report: Report, document: str) -> None:
    """What exit code 0 promises."""
    ran = {result.check: [r.status for r in report.results if r.check == result.check] for result in report.results}
    chosen = {id for ids in plan.asked.values() for id in ids}
    counts = report.summary
    assert any(status in ("pass", "warn") for id in chosen for status in ran.get(id, ()))
    assert counts.fail == counts.error == 0
    assert all(each.origin != OURS for each in case.broken)
    assert case.request.fail_on == "fail" or counts.warn == 0
    assert case.request.allow_inconclusive or counts.inconclusive == 0
    # JUnit and OpenMetrics have no place for a sentence: the first tells each result, the second the numbers.
    shown = " ".join(report.remarks) if case.format in ("junit", "openmetrics") else as_read(document, case.format)
    if counts.inconclusive:
        assert "--allow-inconclusive" in shown
    for name, ids in meant(case).items():
        if all(status == "skip" for id in ids for status in ran.get(id, ())):
            assert f"{name} was skipped completely" in shown or "no result from" in shown
    for id in chosen - set(ran):
        assert id in shown.partition("no result from")[2]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(cases())
def test_exit_code_0_is_a_promise(case: Case) -> None:
    """Exit 0 means: something passed, nothing failed or broke, and what is open was allowed and is listed.

    What passed was asked for. Nothing that was asked for by name was left out silently. Each document says the same.
    """
    try:
        plan = planned(case)
    except SelectionError:
        event("exit code 2, and nothing was run")
        return
    assert all(plan.asked.values())
    assert set(meant(case)) <= set(plan.asked)
    report = measured(case, plan)
    event(f"exit code {report.run.exit_code}")
    document = render(report, case.format)
    assert report.verdict == VERDICTS[report.run.exit_code]
    agrees(report, document, case.format)
    if report.run.exit_code == 0:
        hold_to_its_word(case, plan, report, document)


def agrees(report: Report, document: str, format: str) -> None:
    """The document's own verdict is the report's."""
    code = report.run.exit_code
    if format in ("text", "markdown", "html"):
        assert report.verdict.upper() in document
    elif format == "json":
        assert (json.loads(document)["verdict"], json.loads(document)["run"]["exit_code"]) == (report.verdict, code)
    elif format == "sarif":
        assert json.loads(document)["runs"][0]["invocations"][0]["exitCode"] == code
    elif format == "openmetrics":
        assert f"preflight_run_exit_code {float(code)}" in document
    else:
        suites = list(JUnitXml.fromstring(document.encode()))
        assert sum(suite.failures for suite in suites) == report.summary.fail
        assert sum(suite.errors for suite in suites) == report.summary.error


@pytest.mark.parametrize("kept", [{"a.one"}, {"a.one", "b.two"}, set(), set(IDS)])
def test_a_part_of_a_plan_asks_for_no_more_than_the_whole(kept: set[str]) -> None:
    """What an exporter or a repeated attempt runs is judged by what is in it."""
    catalogue = [made(id, "node", IDS[:place], (), (Status.PASS,)) for place, id in enumerate(IDS)]
    part = make_plan(catalogue, Selection()).part(kept)
    assert {each.id for each in part.checks} == kept == set(part.needs)
    assert all(ids <= kept for ids in part.asked.values())
    assert all(set(needs) <= kept for needs in part.needs.values())
