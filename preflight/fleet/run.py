"""A run from the inventory to the matrix: reach, deliver, start, measure, collect, and always clean.

All pairs are measured in short rounds first. What was not good there is measured again in long ones: a diagnosis takes
longer than a proof that all is well, and a healthy fleet does not wait for it.
"""

import base64
import json
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preflight import codes
from preflight.fleet.clocks import Offset, offset_of
from preflight.fleet.delivery import machine, pack, python_version
from preflight.fleet.engine import Engine
from preflight.fleet.hosts import Host
from preflight.fleet.outcome import Hole, Step, carried, hole_of, last_json
from preflight.fleet.remote.agent import PREFIX
from preflight.fleet.schedule import Pair, Pairs, Round, make_rounds
from preflight.model.host_port import join_host_port, split_host_port
from preflight.model.peer import RESPONDER_PORT
from preflight.model.printable import number_of
from preflight.report.json import parse
from preflight.report.model import Report

SHORT_S, LONG_S = 8.0, 30.0
"""How long a pair is measured in the rounds for all pairs, and in those for what was not good."""
_KEY_BYTES = 32
_LEAD_S, _LEAD_FACTOR = 3.0, 1.5
"""From the schedule to its first round: longer by this factor than what Ansible has just needed for as many nodes."""
_GUARD_S = 0.5
_PATIENCE_S = 20.0
"""How long after its last round a node may take for its report."""
_OVERHEAD_S, _WIDEST_S = 300.0, 5.0
"""What a node allows for everything but the rounds, and for wide bounds of a round, before it ends what runs there."""
_TROUBLE = ("fail", "error", "inconclusive")
"""What a longer look may decide or explain."""
_CATEGORIES = ("way", "reach", "mtu", "udp", "overlay")


class CancelledError(Exception):
    """The user ended the run."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of a run. keep: leave the delivery on the nodes for the next run. measure: send packets at all."""

    pairs: Pairs = Pairs()
    measure: bool = True
    seed: int = 0
    keep: bool = False


@dataclass(slots=True)
class Found:
    """What came out of a run. missed: pairs that were wanted and not measured; litter: what could not be cleaned.

    first: the first report of each node, which is about the node itself too.
    """

    reports: list[Report] = field(default_factory=list)
    first: dict[str, Report] = field(default_factory=dict)
    holes: dict[str, Hole] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    missed: list[Pair] = field(default_factory=list)
    litter: list[Hole] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Node:
    """A node on which the responder runs."""

    host: Host
    address: str
    port: int
    place: Mapping[str, Any]
    offset: Offset


class FleetRun:
    """One run. report: gets every step; say: what comes next, in a sentence."""

    def __init__(
        self,
        engine: Engine,
        hosts: Sequence[Host],
        wish: Wish,
        cancelled: Callable[[], bool],
        report: Callable[[Step], None],
        say: Callable[[str], None],
    ) -> None:
        self._engine, self._hosts, self._wish = engine, {host.name: host for host in hosts}, wish
        self._cancelled, self._report, self._say = cancelled, report, say
        self._found = Found()
        self._delivery = ""
        self._touched: set[str] = set()
        self._partners: Mapping[str, set[str]] = {}
        self._lead_s, self._life_s = _LEAD_S, _OVERHEAD_S
        self._timetable: tuple[float, float, int] | None = None
        self._round = 0
        engine.watch(self._tick)

    def run(self) -> Found:
        """Everything; the nodes are clean afterwards, whatever happened. Raises CancelledError."""
        try:
            self._measure()
        finally:
            self._clean()
        return self._found

    def _measure(self) -> None:
        sites = {host.name: host.site for host in self._hosts.values() if host.site is not None}
        rounds = make_rounds(list(self._hosts), self._wish.pairs, sites, self._wish.seed) if self._wish.measure else ()
        self._partners = _partners(rounds)
        slots_s = len(rounds) * (SHORT_S + LONG_S + 2 * (_GUARD_S + _WIDEST_S))
        self._life_s = _OVERHEAD_S + len(self._hosts) + slots_s
        nodes = self._begin()
        self._found.names = {node.address: name for name, node in nodes.items()}
        self._found.names |= {host.address: host.name for host in self._hosts.values() if host.address is not None}
        first = self._rounds(nodes, rounds, 1, SHORT_S)
        wanted = {frozenset(pair) for row in rounds for pair in row}
        bad = {pair for pair in self._in_trouble(first, nodes) if frozenset(pair) in wanted}
        if bad:
            again = make_rounds(list(self._hosts), Pairs(), sites, only=frozenset(bad))
            self._rounds(nodes, again, 2, LONG_S)

    def _begin(self) -> dict[str, _Node]:
        """Reach the nodes, deliver, and start the responders; who does not get so far is a hole."""
        self._say(f"reaching {number_of('nodes', len(self._hosts))}")
        delivery = pack()
        self._delivery = delivery.name
        (self._engine.folder / "delivery.pyz").write_bytes(delivery.content)
        key = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
        self._engine.write("start", {name: _told(self._start_orders(host, key)) for name, host in self._hosts.items()})
        arguments = " ".join((self._engine.run, delivery.name, python_version(), machine()))
        called_s = time.time()
        steps = self._play("begin", list(self._hosts), {"fleet_arguments": arguments})
        self._lead_s = _LEAD_S + _LEAD_FACTOR * _handing_out_s(steps, called_s)
        by_host: dict[str, list[Step]] = {}
        for step in steps:
            by_host.setdefault(step.host, []).append(step)
        nodes = {}
        for name, host in self._hosts.items():
            node = self._ready(host, by_host.get(name, []))
            if isinstance(node, Hole):
                self._hole(node)
            else:
                nodes[name] = node
        return nodes

    def _start_orders(self, host: Host, key: str) -> dict[str, Any]:
        partners = [self._hosts[name] for name in sorted(self._partners[host.name])]
        known = [each for each in partners if each.address is not None]
        settings = {
            "peers": [_peer(each.name, str(each.address), each.port) for each in known],
            "responder": {"port": host.port},
        }
        bind = [join_host_port(host.address, host.port)] if host.address is not None else []
        bind_if_measuring = bind if self._wish.measure else None
        return {"key": key, "settings": settings, "bind": bind_if_measuring, "life_s": self._life_s}

    def _ready(self, host: Host, steps: Sequence[Step]) -> "_Node | Hole":
        """The node, if its responder listens; else why it is a hole."""
        failed = next((step for step in steps if step.kind != "ok"), None)
        by_task = {step.task: step for step in steps}
        if not (failed is not None and failed.task == "reach" and failed.kind == "unreachable"):
            self._touched.add(host.name)
        if failed is not None:
            return hole_of(failed)
        try:
            place = last_json(by_task["reach"])
            state: dict[str, Any] = json.loads(carried(by_task["ready"]))
        except (KeyError, ValueError) as error:
            return Hole(host.name, codes.FLEET_INSTALL, f"the node's answer is not usable: {error}")
        if "listening" not in state:
            return Hole(host.name, codes.FLEET_RESPONDER, str(state.get("error")))
        place_of = str(state["listening"]).rpartition("//")[2]
        address, port = split_host_port(place_of, RESPONDER_PORT) if place_of else (host.address or "", host.port)
        readings = [
            (by_task["reach"].began_s, by_task["reach"].ended_s, float(place["monotonic"])),
            (by_task["ready"].began_s, by_task["ready"].ended_s, float(state["monotonic"])),
        ]
        return _Node(host, address, port, place, offset_of(readings))

    def _hole(self, hole: Hole) -> None:
        """Remember the first reason: the others follow from it."""
        self._found.holes.setdefault(hole.node, hole)

    def _rounds(self, nodes: Mapping[str, _Node], rounds: Sequence[Round], number: int, limit_s: float) -> list[Report]:
        """Have the nodes measure, and collect their reports."""
        addresses = {name: (node.address, node.port) for name, node in nodes.items() if node.address}
        addresses |= {
            host.name: (host.address, host.port)
            for host in self._hosts.values()
            if host.address is not None and host.name not in nodes
        }
        turns = self._turns(nodes, rounds, addresses)
        busy = list(nodes) if number == 1 else [name for name in nodes if turns[name]]
        if not busy:
            return []
        slot_s = limit_s + 2 * max(nodes[name].offset.error for name in busy) + _GUARD_S
        took_s = slot_s * len(rounds)
        what = "what was not good, again" if number > 1 else "the pairs"
        planned = f"measuring {what}: {number_of('rounds', len(rounds))} of {slot_s:.0f} s"
        self._say(planned if rounds else "reading the tunnels")
        begins = time.time() + self._lead_s
        self._timetable, self._round = (begins, slot_s, len(rounds)), 0
        orders = {}
        for name in busy:
            peers = [_peer(each, *addresses[each]) for each in sorted(self._partners[name]) if each in addresses]
            at = {place: begins + place * slot_s + nodes[name].offset.middle for place, _ in turns[name]}
            orders[name] = _told(
                {
                    "settings": {"peers": peers, "responder": {"port": nodes[name].port}},
                    "turns": [{"at_s": at[place], "peer": addresses[peer][0]} for place, peer in turns[name]],
                    "limit_s": limit_s,
                    "first": number == 1,
                }
            )
        self._engine.write("go", orders)
        places = {name: nodes[name].place for name in busy}
        wait_s = begins - time.time() + took_s + _PATIENCE_S
        variables = {"fleet_places": places, "fleet_number": number, "fleet_wait_s": round(wait_s)}
        return self._collect(self._play("measure", busy, variables), turns, nodes)

    def _tick(self) -> None:
        """Say which round it is."""
        if self._timetable is None:
            return
        begins, slot_s, rounds = self._timetable
        number = int((time.time() - begins) // slot_s) + 1
        if number != self._round and 1 <= number <= rounds:
            self._round = number
            self._say(f"round {number} of {rounds}")

    def _turns(
        self, nodes: Mapping[str, _Node], rounds: Sequence[Round], addresses: Mapping[str, object]
    ) -> dict[str, list[tuple[int, str]]]:
        """Whom each node measures, by round. Of a pair with one hole the other end measures."""
        turns: dict[str, list[tuple[int, str]]] = {name: [] for name in nodes}
        for place, row in enumerate(rounds):
            for pair in row:
                initiator, target = pair if pair.initiator in nodes else pair[::-1]
                if initiator in nodes and target in addresses:
                    turns[initiator].append((place, target))
        return turns

    def _collect(
        self, steps: Iterable[Step], turns: Mapping[str, Sequence[tuple[int, str]]], nodes: Mapping[str, _Node]
    ) -> list[Report]:
        reports = []
        for step in steps:
            if step.kind != "ok":
                self._lost(hole_of(step), turns)
                continue
            if step.task != "collect":
                continue
            try:
                report = parse(carried(step))
            except ValueError as error:
                self._lost(Hole(step.host, codes.FLEET_TIMEOUT, f"its report is not usable: {error}"), turns)
                continue
            reports.append(report)
            self._found.first.setdefault(step.host, report)
            measured = {peer.address for peer in report.run.peers}
            for _, peer in turns[step.host]:
                address = nodes[peer].address if peer in nodes else self._hosts[peer].address
                if address not in measured:
                    self._found.missed.append(Pair(step.host, peer))
        self._found.reports += reports
        return reports

    def _lost(self, hole: Hole, turns: Mapping[str, Sequence[tuple[int, str]]]) -> None:
        """A report that did not come: the node is a hole, or the second look at its pairs is missing."""
        if hole.node in self._found.first:
            self._found.missed += [Pair(hole.node, peer) for _, peer in turns[hole.node]]
        else:
            self._hole(hole)

    def _in_trouble(self, reports: Iterable[Report], nodes: Mapping[str, _Node]) -> set[Pair]:
        """The pairs that deserve a long look: something about them is not good, and both ends take part."""
        found = set()
        for report in reports:
            own = self._name_of(report)
            for result in report.results:
                if (
                    result.category in _CATEGORIES
                    and result.status in _TROUBLE
                    and result.target in nodes
                    and own in nodes
                ):
                    found.add(Pair(own, result.target))
        return {pair for pair in found if pair.initiator != pair.target}

    def _name_of(self, report: Report) -> str:
        addresses = report.run.overlay.addresses if report.run.overlay else ()
        bare = [address.partition("/")[0] for address in addresses]
        return next((self._found.names[each] for each in bare if each in self._found.names), "")

    def _play(self, name: str, hosts: Sequence[str], variables: Mapping[str, Any]) -> list[Step]:
        steps = self._engine.play(name, hosts, variables, self._report)
        if self._cancelled():
            raise CancelledError
        return steps

    def _clean(self) -> None:
        """On every node that a step may have reached; a cancelled step may still run, and is ended first."""
        self._engine.settle()
        hosts = sorted(self._touched or self._hosts)
        self._say("cleaning")
        keep = self._delivery if self._wish.keep else ""
        for step in self._engine.play("clean", hosts, {"fleet_keep": keep}, self._report):
            if step.kind != "ok":
                self._found.litter.append(hole_of(step))


def _partners(rounds: Sequence[Round]) -> Mapping[str, set[str]]:
    """With whom each node has a round: those are the peers in its settings."""
    found: dict[str, set[str]] = defaultdict(set)
    for pair in (pair for row in rounds for pair in row):
        found[pair.initiator].add(pair.target)
        found[pair.target].add(pair.initiator)
    return found


def _handing_out_s(steps: Sequence[Step], called_s: float) -> float:
    """How long it took to start Ansible and to do one task that carries something on all nodes."""
    started = [step for step in steps if step.task == "start"]
    if not started:
        return 0.0
    task_s = max(step.ended_s for step in started) - min(step.began_s for step in started)
    return min(step.began_s for step in steps) - called_s + task_s


def _peer(name: str, address: str, port: int) -> dict[str, Any]:
    return {"name": name, "address": address, "responder": port}


def _told(orders: Mapping[str, Any]) -> str:
    """Orders as the agent reads them."""
    return f"{PREFIX}{base64.b64encode(json.dumps(orders).encode()).decode()}"
