"""Selection and order of checks, as tables."""

from collections.abc import AsyncGenerator

import pytest

from preflight.api import Check, Context, Facts, Result, check
from preflight.engine.catalog import assemble
from preflight.engine.plan import Plan, Selection, SelectionError, make_plan
from preflight.model.facts import AnswerFacts, MtuFacts


def declare(
    id: str,
    *needs: str,
    tags: tuple[str, ...] = (),
    after: tuple[str, ...] = (),
    reads: tuple[type[Facts], ...] = (),
) -> Check:
    @check(id, title=id, subject="node", codes=(), needs=needs, tags=tags, after=after, reads=reads)
    async def nothing(ctx: Context) -> AsyncGenerator[Result, None]:
        return
        yield

    return nothing


CHECKS = [
    declare("mtu.path", "reach.udp"),
    declare("reach.udp", "overlay.session"),
    declare("overlay.session", "overlay.interface"),
    declare("overlay.interface"),
    declare("host.clock"),
    declare("udp.nat-timeout", "reach.udp", tags=("slow",)),
]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), {"mtu.path", "reach.udp", "overlay.session", "overlay.interface", "host.clock"}),
        (Selection(named=("mtu.*",)), {"mtu.path", "reach.udp", "overlay.session", "overlay.interface"}),
        (Selection(only=("host.*",)), {"host.clock"}),
        (Selection(named=("mtu.path",), skip=("overlay.session",)), {"mtu.path", "reach.udp", "overlay.interface"}),
        (
            Selection(named=("udp.nat-timeout",), skip=("reach.*",)),
            {"udp.nat-timeout", "overlay.session", "overlay.interface"},
        ),
        (Selection(tags=("slow",)), {c.id for c in CHECKS}),
    ],
)
def test_selection(selection: Selection, expected: set[str]) -> None:
    """Named checks bring what they need; opt-in checks run only when asked for."""
    chosen = {check.id for check in make_plan(CHECKS, selection).checks}
    assert chosen == expected


def test_order_follows_needs() -> None:
    """Each check comes after what it needs."""
    order = [check.id for check in make_plan(CHECKS, Selection()).checks]
    assert order.index("overlay.interface") < order.index("overlay.session") < order.index("reach.udp")
    assert order.index("reach.udp") < order.index("mtu.path")


def test_a_glob_that_matches_nothing_is_a_mistake() -> None:
    """A typing error must not turn into a green run of nothing."""
    with pytest.raises(SelectionError, match=r"'mtu.pth'.*mtu.path"):
        make_plan(CHECKS, Selection(named=("mtu.pth",)))


@pytest.mark.parametrize(
    ("selection", "asked"),
    [
        (Selection(), {"all": {c.id for c in CHECKS} - {"udp.nat-timeout"}}),
        (Selection(named=("mtu.*", "host.clock")), {"mtu.*": {"mtu.path"}, "host.clock": {"host.clock"}}),
        (Selection(only=("overlay.*",)), {"--only overlay.*": {"overlay.session", "overlay.interface"}}),
        (
            Selection(named=("*",), only=("udp.*", "mtu.*"), skip=("overlay.*",)),
            {
                "*": {"udp.nat-timeout", "mtu.path"},
                "--only udp.*": {"udp.nat-timeout"},
                "--only mtu.*": {"mtu.path"},
            },
        ),
    ],
)
def test_what_was_asked_for(selection: Selection, asked: dict[str, set[str]]) -> None:
    """Each thing that was asked for is known with the checks that it chose; what they need is in none of them."""
    assert make_plan(CHECKS, selection).asked == asked


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (Selection(skip=("*",)), "all leaves no check to run; 6 checks: left out by --skip '*'"),
        (
            Selection(skip=("host.*",), skip_in_file=("[!h]*",), file="a.yaml"),
            "all leaves no check to run; host.clock: left out by --skip 'host.*'; "
            "5 checks: left out by checks.skip '[!h]*' in a.yaml",
        ),
        (
            Selection(only=("udp.*",)),
            "--only udp.* leaves no check to run; udp.nat-timeout: opt-in, add --tag slow",
        ),
        (
            Selection(named=("mtu.path", "host.*"), only=("host.*",)),
            "mtu.path leaves no check to run; mtu.path: left out by --only",
        ),
        (
            Selection(named=("mtu.path",), tags=("slow",)),
            "--tag slow leaves no check to run; udp.nat-timeout: not among the named checks",
        ),
        (Selection(tags=("slwo",)), "no check has the tag 'slwo'; nearest: slow (there are: slow)"),
    ],
)
def test_what_leaves_nothing_to_run_is_a_mistake(selection: Selection, said: str) -> None:
    """A user who asks for something learns what left it out; a run of nothing would be green."""
    with pytest.raises(SelectionError) as caught:
        make_plan(CHECKS, selection)
    assert str(caught.value) == said


def test_a_circle_is_named() -> None:
    """Needs that go in a circle are reported, not waited for."""
    with pytest.raises(SelectionError, match="circle"):
        make_plan([declare("a.a", "b.b"), declare("b.b", "a.a")], Selection())


def starts(plan: Plan) -> list[str]:
    """The ids in an order in which the runner may start them."""
    return list(plan.sorter().static_order())


def test_after_is_order_and_nothing_else() -> None:
    """What a check only comes after runs first if it runs, is not added to the plan, and is not a prerequisite."""
    checks = [declare("a.late", after=("b.early",)), declare("b.early"), declare("c.c")]
    both = make_plan(checks, Selection())
    assert starts(both).index("b.early") < starts(both).index("a.late")
    assert both.needs["a.late"] == ()
    alone = make_plan(checks, Selection(named=("a.*",)))
    assert [check.id for check in alone.checks] == ["a.late"]
    assert starts(alone) == ["a.late"]
    assert starts(both.part(["a.late", "c.c"])) == ["a.late", "c.c"]


def test_whoever_reads_facts_runs_after_all_that_give_them() -> None:
    """Facts of a base class come from every check that gives a class made from it; nobody waits for itself."""
    checks = [declare("mtu.echo", reads=(MtuFacts,)), declare("mtu.path"), declare("host.clock")]
    plan = make_plan(checks, Selection())
    assert plan.before == {"mtu.echo": ("mtu.path",), "mtu.path": (), "host.clock": ()}


def test_order_alone_does_not_move_results_in_the_report() -> None:
    """The plan lists checks by their needs: a new rule about the order must not shuffle all reports."""
    plain = [declare("a.a"), declare("b.b"), declare("c.c", "a.a")]
    ordered = [declare("a.a", after=("b.b",)), *plain[1:]]
    listed = [[check.id for check in make_plan(checks, Selection()).checks] for checks in (plain, ordered)]
    assert listed[0] == listed[1]


@pytest.mark.parametrize(
    "checks",
    [
        [declare("a.a", after=("b.b",)), declare("b.b", "a.a")],
        [declare("a.a", after=("b.b",)), declare("b.b", after=("a.a",))],
        [declare("mtu.path", reads=(AnswerFacts,)), declare("reach.udp", after=("mtu.path",))],
    ],
    ids=["needs", "after", "reads"],
)
def test_a_circle_of_any_kind_is_named(checks: list[Check]) -> None:
    """Two checks that wait for each other would never start, and the run would hang."""
    with pytest.raises(SelectionError, match="circle"):
        make_plan(checks, Selection())
    catalog = assemble([*checks, declare("z.z")])
    assert [check.id for check in catalog.checks] == ["z.z"]
    assert {broken.name for broken in catalog.broken} == {check.id for check in checks}
    assert all("wait" in broken.reason for broken in catalog.broken)


def test_a_check_after_one_that_does_not_exist_is_broken() -> None:
    """A typing error in an order must not stay unseen until the day on which the order matters."""
    catalog = assemble([declare("a.a", after=("no.such",)), declare("b.b")])
    assert [check.id for check in catalog.checks] == ["b.b"]
    assert [broken.reason for broken in catalog.broken] == ["it comes after no.such, which does not exist"]


def test_a_check_after_one_that_cannot_be_used_runs() -> None:
    """Order is not a prerequisite: what will not run is not waited for."""
    catalog = assemble([declare("a.a", after=("b.b",)), declare("b.b", "no.such")])
    assert [check.id for check in catalog.checks] == ["a.a"]


def test_unknown_need_and_taken_id_break_only_the_plugin() -> None:
    """A third-party check that does not fit is left out and reported, all others stay."""
    catalog = assemble([declare("a.a"), declare("a.a"), declare("b.b", "no.such"), declare("c.c", "b.b")])
    assert [check.id for check in catalog.checks] == ["a.a"]
    assert {broken.name for broken in catalog.broken} == {"a.a", "b.b", "c.c"}


def test_load_comes_last() -> None:
    """What fills a path on purpose would be measured by every check that runs at the same time."""
    checks = [
        *CHECKS,
        declare("perf.a", "reach.udp", tags=("load",)),
        declare("perf.b", after=("perf.a",), tags=("load",)),
    ]
    plan = make_plan(checks, Selection(tags=("load",)))
    others = {check.id for check in plan.checks if not check.id.startswith("perf.")}
    assert set(plan.before["perf.a"]) == others
    assert set(plan.before["perf.b"]) == {*others, "perf.a"}
    assert not any(id.startswith("perf.") for id in others for id in plan.before[id])
