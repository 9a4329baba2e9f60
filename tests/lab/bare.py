"""Labs without our programs, for tests of what the network does: to start those is most of what a lab costs."""

from dataclasses import replace

from preflight.lab.part import planned
from preflight.lab.scenarios import Scenario

NO_PROGRAM = planned("neither a responder nor a control plane", responder=False, server="absent")


def bare(scenario: Scenario) -> Scenario:
    """The scenario with its network and faults only."""
    return replace(scenario, faults=(*scenario.faults, NO_PROGRAM))
