"""Every fault is really there: it is made on a set-up, and proves itself without the product."""

import os
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from itertools import combinations, product

import pytest

from preflight.lab.axes.rules import broken_rule
from preflight.lab.axes.setup import AXES, Setup
from preflight.lab.draws import Draw, draws
from preflight.lab.labs import fresh_lab
from preflight.lab.names import LabError
from preflight.lab.pairs import may_meet
from preflight.lab.part import Part
from preflight.lab.scenario_file import scenario_of
from preflight.lab.scenarios import Scenario
from preflight.lab.stations.catalogue import FAULTS
from preflight.lab.stations.fault import NotThereError
from tests.lab.bare import bare
from tests.lab.test_forty_draws import COUNT, SEED

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


@cache
def possible(changes: int) -> tuple[Setup, ...]:
    """The set-ups that differ from the plain one in this many axes."""
    found = []
    for axes in combinations(AXES, changes):
        for values in product(*([value for value in AXES[axis].values if value != AXES[axis].plain] for axis in axes)):
            setup = replace(Setup(), **dict(zip(axes, values, strict=True)))
            found += [setup] if broken_rule(setup) is None else []
    return tuple(found)


@cache
def simplest(name: str) -> Setup:
    """The set-up nearest to the plain one that can have a fault."""
    near = (setup for changes in range(3) for setup in possible(changes))
    return next(setup for setup in near if FAULTS[name].excluded(setup) is None)


def kind(name: str) -> tuple[object, ...]:
    """What faults of one kind have in common: where they strike, and where their reader is to look."""
    truth = FAULTS[name].expected(simplest(name))
    return FAULTS[name].place, truth.direction, truth.where


def chosen() -> list[str]:
    """The first fault of each kind; all of them with PREFLIGHT_EVERY_FAULT=1, which takes ten minutes more.

    Kinds that the forty draws build are proven there.
    """
    if os.environ.get("PREFLIGHT_EVERY_FAULT"):
        return list(FAULTS)
    drawn = {kind(name) for each in draws(SEED, COUNT) for name in each.faults}
    first: dict[object, str] = {}
    for name in FAULTS:
        first.setdefault(kind(name), name)
    return [name for each, name in first.items() if each not in drawn]


def together(names: list[str]) -> list[Draw]:
    """Each fault, two in one lab where they may meet: a lab takes two seconds, and both must prove themselves there."""
    left, found = list(names), []
    while left:
        first, *left = left
        pairs = (
            Draw(simplest(each), tuple(sorted((first, other), key=list(FAULTS).index)))
            for other in left
            if may_meet(FAULTS[first], FAULTS[other])
            for each in (first, other)
        )
        drawn = next((pair for pair in pairs if pair.impossible() is None), Draw(simplest(first), (first,)))
        left = [name for name in left if name not in drawn.faults]
        found.append(drawn)
    return found


def shown_by_network(name: str) -> bool:
    """Whether a fault's proof needs no program of ours: packets die of it before they reach one."""
    place = FAULTS[name].place
    return place.way == "packet" and place.station != "socket"


def lab_scenario(setup: Setup, made: tuple[str, ...], proven: Iterable[str]) -> Scenario:
    """A set-up with faults, and with programs if the proofs need them."""
    scenario = scenario_of(Draw(setup, made))
    return bare(scenario) if all(map(shown_by_network, proven)) else scenario


DRAWS = [draw for asked in (True, False) for draw in together([n for n in chosen() if shown_by_network(n) is asked])]


@pytest.mark.parametrize("drawn", DRAWS, ids=lambda drawn: "+".join(drawn.faults))
def test_it_is_there(drawn: Draw) -> None:
    """Protects the score: a fault that is not there would make a right report look wrong."""
    with fresh_lab(lab_scenario(drawn.setup, drawn.faults, drawn.faults)) as lab:
        truths = [truth.resolved(lab.network) for truth in drawn.truths()]
    assert not [each for each in truths if each.deciding is not None and callable(each.deciding.value)]


HEALTHY = sorted({simplest(name) for name in FAULTS}, key=str)


@pytest.mark.parametrize("setup", HEALTHY, ids=str)
def test_it_is_not_there_without_it(setup: Setup) -> None:
    """Protects the proofs: on the same set-up without the fault, the proof of each fails."""
    names = [name for name in FAULTS if simplest(name) == setup]
    with fresh_lab(lab_scenario(setup, (), names)) as lab:
        assert lab.network is not None
        for name in names:
            with pytest.raises(LabError):
                FAULTS[name].proof(lab.network)


def test_a_fault_without_effect_breaks_the_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the score from a fault that was made wrongly: the lab refuses to run on it."""
    name = "filter-out-drop"
    monkeypatch.setitem(FAULTS, name, replace(FAULTS[name], made=lambda setup: (Part("nothing"),)))
    with pytest.raises(NotThereError), fresh_lab(scenario_of(Draw(Setup(), (name,)))):
        pass


VALUES = [(axis, value) for axis in AXES for value in AXES[axis].values if value != AXES[axis].plain]


def nearest(axis: str, value: str) -> Setup:
    """The possible set-up nearest to the plain one with a value of an axis."""
    near = [replace(Setup(), **{axis: value})]
    near += [replace(near[0], **{other: each}) for other in AXES if other != axis for each in AXES[other].values]
    return next(each for each in near if Draw(each).impossible() is None)


def set_ups() -> list[Setup]:
    """Few possible set-ups with every value of every axis that this kernel can have."""
    left = [(axis, value) for axis, value in VALUES if not AXES[axis].values[value].virtual_machine]
    found = []
    while left:
        setup = nearest(*left[0])
        for axis, value in left:
            more = replace(setup, **{axis: value})
            if axis not in setup.changed() and Draw(more).impossible() is None:
                setup = more
        left = [(axis, value) for axis, value in left if setup[axis] != value]
        found.append(setup)
    return found


@pytest.mark.parametrize(("axis", "value"), VALUES)
def test_a_value_can_exist(axis: str, value: str) -> None:
    """Protects the axes from a value that some rule excludes everywhere."""
    assert nearest(axis, value)[axis] == value


@pytest.mark.parametrize("setup", set_ups(), ids=str)
def test_a_set_up_works(setup: Setup) -> None:
    """Protects healthy draws: each value of each axis can be built, together with many others."""
    with fresh_lab(scenario_of(Draw(setup))) as lab:
        assert lab.network is not None
