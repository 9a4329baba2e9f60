"""One part of a lab: a property of a set-up, or a fault. Parts compose.

A part changes the plan before anything is built (`shape`), and the network at one of three stages. Each factory of
parts takes plain values, so that a scenario can be written as data.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from preflight.lab.blueprint import Blueprint

if TYPE_CHECKING:
    from preflight.lab.network import Network

Step = Callable[["Network"], None]
"""Changes a network that is partly or wholly built. Raises LabError."""


def _unchanged(plan: Blueprint) -> Blueprint:
    return plan


def _nothing(network: "Network") -> None:
    return None


@dataclass(frozen=True, slots=True)
class Part:
    """What one part does, and when.

    shape: to the plan. underlay: when links and routes of the underlay are there, before any tunnel. tunnels: when the
    tunnels are up, before any program of the cluster. inject: when everything runs and has answered once.
    loopback: it also works without root, where there is no network.
    """

    summary: str
    shape: Callable[[Blueprint], Blueprint] = _unchanged
    inject: Step = _nothing
    loopback: bool = False
    underlay: Step = _nothing
    tunnels: Step = _nothing


def planned(summary: str, *, loopback: bool = False, **changes: Any) -> Part:
    """Another plan: `changes` are fields of `Blueprint`."""
    return Part(summary, shape=lambda plan: replace(plan, **changes), loopback=loopback)
