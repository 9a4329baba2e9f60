"""Build and remove labs: `up` is idempotent, and `down` always removes everything."""

import shutil
import socket
import time
from collections.abc import Callable

from preflight.lab import processes, state, tunnels, users
from preflight.lab.blueprint import Blueprint, Kind, Places
from preflight.lab.keys import TunnelKeys
from preflight.lab.names import EVERYWHERE, LabError, LabNames
from preflight.lab.network import Network, has_tunnel, may_make_namespaces, remove_network
from preflight.lab.scenarios import Scenario
from preflight.lab.signals import give_way, uninterrupted
from preflight.lab.site import Site, free_port, wait_for_answer
from preflight.lab.state import Parts, State

READY_WITHIN_S = 30.0
_PORT_OF_NOBODY = 1


def kind_of(scenario: Scenario) -> Kind:
    """Real tunnels if this process may make namespaces, else processes on loopback.

    Raises LabError for a scenario that breaks a network, which loopback lacks.
    """
    if scenario.topology != "loopback" and may_make_namespaces():
        return scenario.plan().product
    if not scenario.loopback:
        raise LabError(f"the scenario {scenario.name} breaks a real network, which needs root")
    return "loopback"


def up(names: LabNames, scenario: Scenario) -> bool:
    """Make sure that a lab is complete; False if it was already. The caller holds its lock.

    An incomplete lab is taken down and rebuilt. Raises LabError, also if another lab has the name.
    """
    found = state.load(names)
    if found is not None and found.parts == parts_of(names):
        if (found.scenario, found.definition) != (scenario.name, scenario.definition):
            raise LabError(
                f"the lab {names.lab} is up as {found.scenario}; "
                f"take it down first (preflight lab down {names.lab}) or choose another name"
            )
        return False
    build(names, scenario)
    return True


def build(names: LabNames, scenario: Scenario, *, ephemeral: bool = False) -> tuple[State, Network | None]:
    """Build a new lab with its faults, and wait until it is ready; on failure remove everything.

    Gives the record, and the network that was built (None: loopback). The caller holds its lock. Raises LabError.
    """
    down(names)
    plan, kind = scenario.plan(), kind_of(scenario)
    try:
        with uninterrupted():
            site = Site(names, plan, kind, _places(plan, kind))
            network = _build(site, scenario, time.monotonic() + READY_WITHIN_S)
            built = State(scenario.name, kind, site.places, parts_of(names), ephemeral, definition=scenario.definition)
            state.save(names, built)
    except BaseException:
        down(names)
        raise
    return built, network


def _build(site: Site, scenario: Scenario, deadline: float) -> Network | None:
    site.write_files()
    if site.kind != "loopback":
        return _build_tunnels(site, scenario, deadline)
    _wait_for_all(site.start_daemons(), deadline)
    site.spend_bootstrap_token()
    return None


def _places(plan: Blueprint, kind: Kind) -> Places:
    if kind != "loopback":
        return Places.in_tunnel(plan)
    return Places(
        peers=("127.0.0.2",),
        peer_port=free_port("127.0.0.2", socket.SOCK_DGRAM),
        control="127.0.0.3",
        control_port=free_port("127.0.0.3", socket.SOCK_STREAM),
        underlay="127.0.0.3",
    )


def _build_tunnels(site: Site, scenario: Scenario, deadline: float) -> Network:
    plan = site.plan
    network = Network(
        site.names, plan, {node: TunnelKeys.fresh() for node in (*plan.topology.members, *plan.offline_peers)}
    )
    network.lay_underlay()
    for part in scenario.faults:
        part.underlay(network)
    tunnels.build(network, deadline)
    for part in scenario.faults:
        part.tunnels(network)
    site.write_etc()
    waiting = site.start_daemons()
    with site.within("a"):
        for node in site.plan.topology.members[1:]:
            wait_for_answer(site.plan.address(node, site.plan.families[0]), _PORT_OF_NOBODY, deadline)
    _wait_for_all(waiting, deadline)
    site.spend_bootstrap_token()
    for part in scenario.faults:
        give_way()
        part.inject(network)
    for fault in scenario.draw.made() if scenario.draw else ():
        fault.proof(network)
    return network


def _wait_for_all(waiting: list[Callable[[float], None]], deadline: float) -> None:
    for wait in waiting:
        wait(deadline)


def parts_of(names: LabNames) -> Parts:
    """Which parts of a lab exist now."""
    prefix = names.mark("")
    marks = (processes.mark_of(pid) or "" for pid in processes.all_pids())
    daemons = tuple(sorted(mark.removeprefix(prefix) for mark in marks if mark.startswith(prefix)))
    namespaces = tuple(node for node in EVERYWHERE if names.namespace_file(node).exists())
    if not namespaces:
        return Parts((), (), daemons)

    return Parts(namespaces, tuple(node for node in namespaces if has_tunnel(names, node)), daemons)


def down(names: LabNames) -> bool:
    """Remove everything that has the lab's name: processes, namespaces, tunnels, sockets, files.

    Works without a record, on everything that it finds; the caller holds the lock. False if there was nothing. Raises
    LabError if something cannot be removed.
    """
    prefix, inside = names.mark(""), _namespace_inodes(names)
    there = bool(inside) or any(names.directory.iterdir())
    with uninterrupted():
        processes.end(lambda pid: (processes.mark_of(pid) or "").startswith(prefix) or _runs_in(pid, inside))
        if may_make_namespaces():
            remove_network(names)
        for entry in names.directory.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        users.take_back(names)
    return there


def _namespace_inodes(names: LabNames) -> set[int]:
    return {file.stat().st_ino for node in EVERYWHERE if (file := names.namespace_file(node)).exists()}


def _runs_in(pid: int, namespaces: set[int]) -> bool:
    return bool(namespaces) and processes.network_of(pid) in namespaces
