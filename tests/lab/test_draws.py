"""Draws of set-ups and faults: they depend on the seed alone, fit together, and can be written down."""

from collections import Counter
from fnmatch import fnmatchcase

import pytest
import yaml

from preflight.lab.axes.rules import RULES, broken_rule
from preflight.lab.axes.setup import AXES, Setup
from preflight.lab.draws import Draw, Wanted, cover, definition, draw, draws, met_by, simpler
from preflight.lab.scenario_file import parse_scenario
from preflight.lab.stations.catalogue import FAULTS
from preflight.lab.truth import FIELDS, STATIONS

MANY = 400


def test_a_draw_depends_on_the_seed_alone() -> None:
    """Protects replays: the draw of a number is the same, whatever is drawn before it."""
    assert [draw(7, number) for number in range(20)] == list(draws(7, 20))
    assert list(draws(7, 20)) != list(draws(8, 20))


def test_every_draw_can_exist() -> None:
    """Protects the laboratory's time: nothing is built that a rule or a fault excludes."""
    assert not [drawn for drawn in draws(1, MANY) if drawn.impossible()]


def test_everything_is_reached() -> None:
    """Protects against an axis, a value or a fault that no draw contains, and against too few healthy set-ups."""
    drawn = list(draws(2, 15 * MANY))
    reached = {(name, each.setup[name]) for each in drawn for name in AXES}
    usable = {(name, key) for name, axis in AXES.items() for key, value in axis.values.items()
              if not value.virtual_machine}  # fmt: skip
    assert reached == usable
    for name in FAULTS:
        assert draw(2, 0, Wanted((name,))).faults == (name,)
    healthy = sum(not each.faults for each in drawn) / len(drawn)
    assert 0.2 < healthy < 0.3


@pytest.mark.parametrize("seed", range(20))
def test_a_draw_is_a_scenario_file(seed: int) -> None:
    """Protects replays by hand: the printed file is the same draw again."""
    drawn = draw(seed, 0)
    scenario = parse_scenario(drawn.name, yaml.safe_dump(definition(drawn)))
    assert scenario.draw == drawn or drawn == Draw(Setup())
    assert len(scenario.faults) == len(drawn.setup.parts()) + sum(len(f.made(drawn.setup)) for f in drawn.made())


def test_simpler_draws_are_simpler() -> None:
    """Protects shrinking: each step has one thing less, so it ends."""
    for drawn in draws(3, 60):
        for less in simpler(drawn):
            size = len(drawn.faults) + len(drawn.setup.changed())
            assert len(less.faults) + len(less.setup.changed()) == size - 1
            assert less.impossible() is None


@pytest.mark.parametrize(
    ("pair", "possible"),
    [
        (("filter-out-drop", "server-list-503"), True),
        (("filter-out-drop", "token-spent"), True),
        (("server-list-503", "token-spent"), False),
        (("token-spent", "nodes-stale"), False),
    ],
)
def test_two_faults_do_not_hide_one_another(pair: tuple[str, str], possible: bool) -> None:
    """Protects the truth of two faults: nobody could see the second one behind answers that never come."""
    assert (Draw(Setup(), pair).impossible() is None) is possible


@pytest.mark.parametrize(
    ("faults", "silent"),
    [
        (("socket-stopped", "tls-expired"), {"run.no-answer"}),
        (("socket-stopped",), set()),
        (("tls-expired",), set()),
        (("socket-stopped", "tls-expiring"), set()),
    ],
)
def test_without_any_other_clock_this_node_s_is_not_confirmed(faults: tuple[str, ...], silent: set[str]) -> None:
    """A clock that nobody confirms is not a further cause where faults have silenced all who could."""
    assert Draw(Setup.of({"transport": "tls"}), faults).silent() == silent


def test_only_what_is_wanted_is_drawn() -> None:
    """Protects `--only`: a glob chooses faults, and `healthy` is a name like theirs."""
    assert {each.faults for each in draws(4, 30, Wanted(("healthy",)))} == {()}
    chosen = {name for each in draws(4, 60, Wanted(("filter-*",))) for name in each.faults}
    assert chosen
    assert all(fnmatchcase(name, "filter-*") for name in chosen)
    with pytest.raises(ValueError, match="no fault has such a name"):
        draw(4, 0, Wanted(("no-such-fault",)))


def test_a_cover_leaves_nothing_out() -> None:
    """Protects the bench: a fault that is right on the plain set-up only is not right."""
    names = ("filter-out-drop", "healthy")
    met = Counter((each.faults, pair) for each in cover(1, 2, Wanted(names)) for pair in met_by(each.setup))
    possible = {
        (each.faults, pair)
        for seed in (7, 8)
        for each in draws(seed, MANY, Wanted(names))
        for pair in met_by(each.setup)
    }
    assert {pair for pair in possible if met[pair] < 2} == set()


def test_every_rule_excludes_something() -> None:
    """Protects the rules from names that no axis has: such a rule would never hold."""
    for rule in RULES:
        for axis, pattern in rule.where.items():
            names = pattern.removeprefix("!").split()
            assert names, rule.why
            assert set(names) <= set(AXES[axis].values), rule.why


def test_the_plain_set_up_can_exist() -> None:
    """Protects the starting point of every shrink."""
    assert broken_rule(Setup()) is None
    assert Setup().changed() == {}
    assert str(Setup()) == "plain"


@pytest.mark.parametrize("wrong", [{"colour": "red"}, {"product": "carrier-pigeon"}])
def test_unknown_names_are_refused(wrong: dict[str, str]) -> None:
    """Protects authors of scenario files from a typing mistake that changes nothing."""
    with pytest.raises(ValueError, match=r"no axis is called|cannot be"):
        Setup.of(wrong)


def test_deciding_fields_are_known() -> None:
    """Protects the contract between faults and facts: a field that nobody defines would never be found."""
    truths = [truth for drawn in draws(5, MANY) for truth in drawn.truths()]
    assert {truth.deciding.field for truth in truths if truth.deciding} <= set(FIELDS)


def test_places_are_stations() -> None:
    """Protects the contract of ways: a fault strikes at a station that a way has."""
    for fault in FAULTS.values():
        assert fault.place.station in STATIONS[fault.place.way], fault.name
    for drawn in draws(6, MANY):
        for truth in drawn.truths():
            assert truth.place is None or truth.place.station in STATIONS[truth.place.way], drawn
