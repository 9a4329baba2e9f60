"""Every fault is really there: it is made on a set-up, and proves itself without the product."""

from dataclasses import replace
from functools import cache

import pytest

from preflight.lab.axes.setup import AXES, Setup
from preflight.lab.draws import Draw
from preflight.lab.labs import fresh_lab
from preflight.lab.names import LabError
from preflight.lab.part import Part
from preflight.lab.scenario_file import scenario_of
from preflight.lab.stations.catalogue import FAULTS
from preflight.lab.stations.fault import NotThereError

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


@cache
def simplest(name: str) -> Setup:
    """The set-up nearest to the plain one that can have a fault."""
    near = [Setup(), *(replace(Setup(), **{axis: value}) for axis in AXES for value in AXES[axis].values)]
    pairs = [*near, *(replace(one, **{axis: value}) for one in near for axis in AXES for value in AXES[axis].values)]
    return next(setup for setup in pairs if Draw(setup, (name,)).impossible() is None)


@pytest.mark.parametrize("name", FAULTS)
def test_it_is_there(name: str) -> None:
    """Protects the score: a fault that is not there would make a right report look wrong."""
    with fresh_lab(scenario_of(Draw(simplest(name), (name,)))) as lab:
        for truth in (FAULTS[name].expected(simplest(name)),):
            assert truth.resolved(lab.network).code


HEALTHY = sorted({simplest(name) for name in FAULTS}, key=str)


@pytest.mark.parametrize("setup", HEALTHY, ids=str)
def test_it_is_not_there_without_it(setup: Setup) -> None:
    """Protects the proofs: on the same set-up without the fault, the proof of each fails."""
    with fresh_lab(scenario_of(Draw(setup))) as lab:
        assert lab.network is not None
        for name in FAULTS:
            if simplest(name) == setup:
                with pytest.raises(LabError):
                    FAULTS[name].proof(lab.network)


def test_a_fault_without_effect_breaks_the_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the score from a fault that was made wrongly: the lab refuses to run on it."""
    name = "filter-out-drop"
    monkeypatch.setitem(FAULTS, name, replace(FAULTS[name], made=lambda setup: (Part("nothing"),)))
    with pytest.raises(NotThereError), fresh_lab(scenario_of(Draw(Setup(), (name,)))):
        pass


VALUES = [(axis, value) for axis in AXES for value in AXES[axis].values if value != AXES[axis].plain]


@pytest.mark.parametrize(("axis", "value"), VALUES)
def test_a_set_up_works(axis: str, value: str) -> None:
    """Protects healthy draws: the nearest possible set-up with each value of each axis can be built."""
    near = [replace(Setup(), **{axis: value})]
    near += [replace(near[0], **{other: each}) for other in AXES if other != axis for each in AXES[other].values]
    setup = next((each for each in near if Draw(each).impossible() is None), None)
    assert setup is not None
    if not AXES[axis].values[value].virtual_machine:
        with fresh_lab(scenario_of(Draw(setup))) as lab:
            assert lab.network is not None
