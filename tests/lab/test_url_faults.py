"""Faults of the control URL on every kind of control plane: each is there, and no right URL looks like it; pure."""

from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from preflight.lab.axes.setup import AXES, Setup
from preflight.lab.blueprint import Blueprint
from preflight.lab.draws import Draw
from preflight.lab.stations.catalogue import FAULTS
from preflight.lab.stations.fault import NotThereError
from preflight.lab.stations.outside import plan_of

FROM_THE_PLAN = [name for name in FAULTS if name.startswith(("parse-", "source-missing", "source-bind-all"))]
"""Faults whose proof reads a's URLs alone."""
SHAPING = ("control", "transport", "home", "families", "cluster")
"""The axes that decide how a URL looks."""


def set_ups() -> list[Setup]:
    """Every combination of these axes."""
    values = product(*(AXES[axis].values for axis in SHAPING))
    return [replace(Setup(), **dict(zip(SHAPING, each, strict=True))) for each in values]


def is_there(name: str, plan: Blueprint) -> bool:
    """Whether the fault's proof finds it."""
    network: Any = SimpleNamespace(plan=plan)
    try:
        FAULTS[name].proof(network)
    except NotThereError:
        return False
    return True


@pytest.mark.parametrize("name", FROM_THE_PLAN)
def test_it_is_there_on_every_control_plane(name: str) -> None:
    """Protects against a fault that is not made, or a proof that always holds, where the URL is another one: with TLS,
    with a path, with an IPv6 address, in the second variable.
    """
    possible = [setup for setup in set_ups() if Draw(setup, (name,)).impossible() is None]
    assert len(possible) > 10
    for setup in possible:
        whole = broken = plan_of(setup)
        for part in FAULTS[name].made(setup):
            broken = part.shape(broken)
        assert (is_there(name, broken), is_there(name, whole)) == (True, False), setup
