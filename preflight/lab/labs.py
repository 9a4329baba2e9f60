"""A lab for one command: a running one by its name, or a new one that is taken down at the end."""

import os
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from preflight.lab import build, fleet, processes, state, users
from preflight.lab.blueprint import Kind
from preflight.lab.names import KIND_VARIABLE, LabError, LabNames, UnknownLabError, state_root
from preflight.lab.network import Network, may_make_namespaces
from preflight.lab.scenario_file import parse_scenario, read_scenario
from preflight.lab.scenarios import SCENARIOS, Scenario, scenario_called
from preflight.lab.signals import interruptible
from preflight.lab.site import Site
from preflight.lab.state import State
from preflight.lab.topology import TOPOLOGIES

WITHOUT_ROOT = "without root there are no tunnels: this lab is loopback"


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that is up."""

    names: LabNames
    state: State
    network: Network | None = None
    """What was built just now; None: loopback, or a lab of an earlier command."""

    @property
    def name(self) -> str:
        """The name of the lab."""
        return self.names.lab

    @property
    def kind(self) -> Kind:
        """The product whose real tunnels run between namespaces, or `loopback`: processes on 127.0.0.0/8."""
        return self.state.kind

    @property
    def is_fleet(self) -> bool:
        """Whether it is nodes that are managed by SSH, without a control plane: for `preflight fleet`."""
        return fleet.is_fleet(self.state.scenario)

    @property
    def inventory(self) -> Path:
        """The inventory of a fleet."""
        return fleet.FleetPlan.of(self.names, self.state.scenario).inventory

    @property
    def nodes(self) -> tuple[str, ...]:
        """Its nodes, the router among them."""
        return _nodes(self.state)

    @property
    def control_node(self) -> str:
        """The node on which the control plane runs."""
        return _scenario(self.state).plan().topology.control_node

    def renew_token(self) -> None:
        """Give a an unused one-time token, and let the control plane know it. Raises LabError."""
        _renew_token(self.names, self.state)

    def command(self, argv: Sequence[str], node: str = "a") -> list[str]:
        """The command line that runs a program in a node; run it with `environment()`."""
        if self.is_fleet:
            return fleet.FleetPlan.of(self.names, self.state.scenario).command(node, argv)
        return _site(self.names, self.state).command(node, list(argv))

    def users_command(self, argv: Sequence[str]) -> list[str]:
        """Like `command`, for what the user of node a runs, who may be an ordinary one."""
        return self.command(users.as_user(_scenario(self.state).plan(), argv))

    def command_in(self, node: str, argv: Sequence[str]) -> list[str]:
        """Like `command`, for a node name from the user. Raises UnknownLabError if the lab has no such node."""
        if node not in _nodes(self.state):
            raise UnknownLabError(f"the lab {self.name} has no node {node!r}; it has {', '.join(_nodes(self.state))}")
        return self.command(argv, node)

    def environment(self) -> dict[str, str]:
        """The environment of a program in a node: ours, without proxies and settings of the caller's cluster."""
        own = {} if self.is_fleet else _site(self.names, self.state).node_variables()
        # Joins in a lab are recorded in the lab, and removed with it.
        state = {"XDG_STATE_HOME": str(self.names.directory / "state")}
        return processes.clean_environment(os.environ) | {KIND_VARIABLE: self.kind} | state | own

    def preflight_arguments(self) -> list[str]:
        """Options of `preflight all` on node a: its settings, and the enrolment, if any, with its token."""
        files = self.names.files("a")
        words, plan = ["--config", str(files / "preflight.yaml")], _scenario(self.state).plan()
        words += ["--tag", "load"] if plan.load != "none" else []
        if not plan.configured:
            return words
        words += ["--enroll"]
        if plan.bootstrap != "none":
            words += ["--bootstrap-token-file", str(files / "bootstrap-token")]
            words += ["--credentials-out", str(files / "credentials")]
        return words


@contextmanager
def lab_for(name: str) -> Iterator[Lab]:
    """The running lab of that name, or a new one of a topology or scenario that is taken down at the end.

    No other command can use or remove the lab meanwhile. Raises UnknownLabError with the nearest names, or LabError.
    """
    with interruptible():
        labs_left_behind(remove=True)
        names = None if _is_file(name) else LabNames.of(name)
        if names is not None and state.load(names) is not None:
            with state.locked(names):
                if fleet.is_fleet(running_lab(name).state.scenario):
                    raise LabError(f"the lab {name} is a fleet: `preflight fleet run` measures it")
                yield Lab(names, _with_fresh_token(names))
        else:
            scenario = scenario_for(name)
            with fresh_lab(scenario) as lab:
                if lab.kind == "loopback" and scenario.topology != "loopback":
                    sys.stderr.write(f"{WITHOUT_ROOT}\n")
                yield lab


@contextmanager
def fresh_lab(scenario: Scenario) -> Iterator[Lab]:
    """A new lab for one command, with a unique name."""
    names = LabNames.of(f"{scenario.name}-{secrets.token_hex(4)}")
    with state.locked(names):
        try:
            yield Lab(names, *build.build(names, scenario, ephemeral=True))
        finally:
            build.down(names)


def running_lab(name: str) -> Lab:
    """A lab that is up, to look at. Raises UnknownLabError."""
    names = LabNames.of(name)
    found = state.load(names)
    if found is None:
        raise UnknownLabError(_no_such(f"no lab {name!r} is up", name, state.known_labs(names.root)))
    return Lab(names, found)


def _nodes(found: State) -> tuple[str, ...]:
    return found.parts.namespaces if found.kind != "loopback" else _scenario(found).plan().topology.members


def scenario_for(name: str) -> Scenario:
    """The scenario, the topology without faults, or the scenario in a file.

    Raises UnknownLabError with the nearest names, LabError for an invalid file.
    """
    if _is_file(name):
        return read_scenario(Path(name))
    scenario = scenario_called(name)
    if scenario is None:
        choices = [*TOPOLOGIES, *SCENARIOS, *state.known_labs(state_root())]
        raise UnknownLabError(_no_such(f"there is no lab, topology or scenario {name!r}", name, choices))
    return scenario


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _no_such(said: str, name: str, choices: Sequence[str]) -> str:
    near = get_close_matches(name, choices, n=3, cutoff=0.6)
    return f"{said}; did you mean {' or '.join(near)}?" if near else f"{said}; `preflight lab list` shows all"


def _scenario(found: State) -> Scenario:
    if found.definition:
        return parse_scenario(found.scenario, found.definition)
    scenario = scenario_called(found.scenario)
    if scenario is None:
        raise LabError(f"the lab was built as {found.scenario}, which this version does not know; take it down")
    return scenario


def _site(names: LabNames, found: State) -> Site:
    return Site(names, _scenario(found).plan(), found.kind, found.places)


def _with_fresh_token(names: LabNames) -> State:
    """The state of a running lab with an unused one-time token: a used one is replaced."""
    found = running_lab(names.lab).state
    if found.token_used:
        _renew_token(names, found)
    return state.hand_out_token(names, found)


def _renew_token(names: LabNames, found: State) -> None:
    site = _site(names, found)
    site.new_bootstrap_token()
    # The control plane reads its token when it starts; its database stays.
    site.restart_control_plane(time.monotonic() + build.READY_WITHIN_S)


def labs_left_behind(*, remove: bool) -> list[str]:
    """The labs that killed commands have left: no command holds them, and they were not meant to stay.

    remove: take them down. Skips a lab in use, or of another user.
    """
    root, found = state_root(), []
    for name in state.known_labs(root):
        try:
            names = LabNames.of(name, root)
            if not _left_behind(names):
                continue
            with state.locked(names, wait_s=0):
                if _left_behind(names):
                    found.append(name)
                    if remove:
                        build.down(names)
        except LabError:
            continue
    return found


def _left_behind(names: LabNames) -> bool:
    found = state.load(names)
    return found is None or found.ephemeral


def take_up(name: str, topology: str | None, scenario: str | None) -> tuple[Lab, bool]:
    """The lab of that name, built if it does not exist; and whether it was built.

    Raises UnknownLabError for an unknown topology or scenario, LabError if the lab cannot be built.
    """
    if fleet.is_fleet(topology or name) and scenario is None:
        return _fleet_up(name, topology or name)
    if topology is not None and topology not in TOPOLOGIES:
        raise UnknownLabError(_no_such(f"there is no topology {topology!r}", topology, list(TOPOLOGIES)))
    if scenario is not None and scenario not in SCENARIOS and not _is_file(scenario):
        raise UnknownLabError(_no_such(f"there is no scenario {scenario!r}", scenario, list(SCENARIOS)))
    wanted = scenario_for(scenario or topology or (name if scenario_called(name) else "pair"))
    if topology not in (None, wanted.topology):
        raise LabError(f"the scenario {wanted.name} happens in the topology {wanted.topology}, not in {topology}")
    names = LabNames.of(name)
    with interruptible(), state.locked(names):
        built = build.up(names, wanted)
        found = state.load(names)
    if found is None:
        raise LabError(f"the lab {name} was taken down by another command")
    return Lab(names, found), built


def _fleet_up(name: str, wanted: str) -> tuple[Lab, bool]:
    if not may_make_namespaces():
        raise LabError("a fleet needs root: each of its nodes has a network")
    names = LabNames.of(name)
    with interruptible(), state.locked(names):
        built = fleet.up(names, wanted)
        found = state.load(names)
    if found is None:
        raise LabError(f"the lab {name} was taken down by another command")
    return Lab(names, found), built


def take_down(name: str) -> None:
    """Remove a lab, or its remains. Raises UnknownLabError if nothing has that name."""
    names = LabNames.of(name)
    there = names.directory.exists()
    with state.locked(names):
        there |= build.down(names)
    if not there:
        raise UnknownLabError(_no_such(f"no lab {name!r} is up", name, state.known_labs(names.root)))


def all_labs() -> dict[str, State | None]:
    """Every lab that exists, even in part; None: it was not finished."""
    root = state_root()
    return {name: state.load(LabNames.of(name, root)) for name in state.known_labs(root)}
