"""A run from the inventory to the matrix: reach, deliver, start, measure, collect, and always clean.

All pairs are measured in short rounds first. What was not good there is measured again in long ones: a diagnosis takes
longer than a proof that all is well, and a healthy fleet does not wait for it.
"""

import base64
import gzip
import json
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preflight import codes
from preflight.fleet.clocks import Offset, offset_of
from preflight.fleet.delivery import known_of, pack
from preflight.fleet.engine import Engine
from preflight.fleet.hosts import Host
from preflight.fleet.outcome import Hole, Step, carried, hole_of, last_json, was_spared
from preflight.fleet.remote.agent import PACKED, PREFIX
from preflight.fleet.schedule import Pair, Pairs, Round, make_rounds
from preflight.model.host_port import join_host_port, split_host_port
from preflight.model.peer import RESPONDER_PORT
from preflight.model.printable import number_of
from preflight.report.json import parse
from preflight.report.model import Report

SHORT_S, LONG_S = 6.0, 30.0
"""How long a pair is measured in the rounds for all pairs, and in those for what was not good."""
_KEY_BYTES = 32
_LEAD_S, _LEAD_FACTOR = 2.0, 1.5
"""From the schedule to its first round: longer by this factor than the last task has needed on all nodes."""
_GUARD_S = 0.5
_PATIENCE_S = 20.0
"""How long after its last round a node may take for its report."""
_OVERHEAD_S, _WIDEST_S = 300.0, 5.0
"""What a node allows for everything but the rounds, and for wide bounds of a round, before it ends what runs there."""
CLEAN = "clean"
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
    sites: Mapping[str, str] = field(default_factory=dict)
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


class Barrier:
    """Calls `then` once, with what came of all steps so far, when each host has ended a task or failed before it."""

    def __init__(self, hosts: Iterable[str], task: str, then: Callable[[Mapping[str, list[Step]]], None]) -> None:
        self._waiting, self._task, self._then = set(hosts), task, then
        self._steps: dict[str, list[Step]] = defaultdict(list)

    def hear(self, step: Step) -> None:
        """A step that has ended."""
        self._steps[step.host].append(step)
        if step.host in self._waiting and (step.task == self._task or step.kind != "ok"):
            self._waiting.remove(step.host)
            if not self._waiting:
                self._then(self._steps)


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
        self._found = Found(sites={host.name: host.site for host in hosts if host.site is not None})
        self._nodes: dict[str, _Node] = {}
        self._dirty = set(self._hosts)
        self._rounds = make_rounds(list(self._hosts), wish.pairs, self._found.sites, wish.seed) if wish.measure else ()
        self._again: tuple[Round, ...] = ()
        self._partners = _partners(self._rounds)
        self._barrier = Barrier(self._hosts, "ready", self._begun)
        self._lead_s, self._keep = _LEAD_S, ""
        self._timetable: tuple[float, float, int] | None = None
        self._round = 0
        engine.watch(self._tick)

    def run(self) -> Found:
        """Everything; the nodes are clean afterwards, whatever happened. Raises CancelledError."""
        try:
            self._play("run", list(self._hosts), self._prepared())
            if self._again:
                self._measure_again()
        finally:
            self._clean()
        return self._found

    def _prepared(self) -> dict[str, Any]:
        """Write what the nodes get; return what the play has to know."""
        self._say(f"reaching {number_of('nodes', len(self._hosts))}")
        delivery = pack()
        self._keep = delivery.name if self._wish.keep else ""
        (self._engine.folder / "delivery.pyz").write_bytes(delivery.content)
        key = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
        slots_s = len(self._rounds) * (SHORT_S + LONG_S + 2 * (_GUARD_S + _WIDEST_S))
        life_s = _OVERHEAD_S + len(self._hosts) + slots_s
        orders = {name: _told(self._start_orders(host, key, life_s)) for name, host in self._hosts.items()}
        self._engine.write("start", orders)
        given = known_of(delivery, self._engine.folder / "delivery.pyz")
        return given | {"install_base": "", "run_form": PACKED, "run_number": 1, "clean_keep": self._keep}

    def _begun(self, steps: Mapping[str, Sequence[Step]]) -> None:
        """All nodes have a responder or are holes: hand out the schedule, for which they wait."""
        self._lead_s += _LEAD_FACTOR * _spread_s(steps, "ready")
        for name, host in self._hosts.items():
            node = self._ready(host, steps.get(name, ()))
            if isinstance(node, Hole):
                self._hole(node)
            else:
                self._nodes[name] = node
        self._found.names = {node.address: name for name, node in self._nodes.items()}
        self._found.names |= {host.address: host.name for host in self._hosts.values() if host.address is not None}
        turns = self._turns(self._rounds)
        self._barrier = Barrier(turns, "collect", lambda steps: self._measured(steps, turns))
        self._hand_out(1, turns, len(self._rounds), SHORT_S)
        if not turns:
            self._engine.go_on(CLEAN)

    def _measured(self, steps: Mapping[str, Sequence[Step]], turns: "_Turns") -> None:
        """All reports are there: say whether that was all."""
        self._timetable = None
        self._lead_s = _LEAD_S + _LEAD_FACTOR * _spread_s(steps, "go")
        reports = self._collect(steps, turns)
        wanted = {frozenset(pair) for row in self._rounds for pair in row}
        bad = frozenset(pair for pair in self._in_trouble(reports) if frozenset(pair) in wanted)
        self._again = make_rounds(list(self._hosts), Pairs(), self._found.sites, only=bad) if bad else ()
        if not self._again:
            self._say("cleaning")
        self._engine.go_on("again" if self._again else CLEAN)

    def _measure_again(self) -> None:
        """A long look at what was not good; the play ends with the cleaning, once no node needs another any more."""
        turns = {name: row for name, row in self._turns(self._again).items() if row}
        self._barrier = Barrier(turns, "collect", lambda steps: self._ended(steps, turns))
        places = {name: node.place for name, node in self._nodes.items()}
        given = {"fleet_places": places, "run_form": PACKED, "run_number": 2, "clean_keep": self._keep}
        self._play("again", list(places), given, lambda: self._hand_out(2, turns, len(self._again), LONG_S))

    def _ended(self, steps: Mapping[str, Sequence[Step]], turns: "_Turns") -> None:
        self._timetable = None
        self._collect(steps, turns)
        self._say("cleaning")

    def _start_orders(self, host: Host, key: str, life_s: float) -> dict[str, Any]:
        partners = [self._hosts[name] for name in sorted(self._partners[host.name])]
        known = [each for each in partners if each.address is not None]
        settings = {
            "peers": [_peer(each.name, str(each.address), each.port) for each in known],
            "responder": {"port": host.port},
        }
        bind = [join_host_port(host.address, host.port)] if host.address is not None else []
        bind_if_measuring = bind if self._wish.measure else None
        return {"key": key, "settings": settings, "bind": bind_if_measuring, "life_s": life_s}

    def _ready(self, host: Host, steps: Sequence[Step]) -> "_Node | Hole":
        """The node, if its responder listens; else why it is a hole."""
        failed = next((step for step in steps if step.kind != "ok"), None)
        by_task = {step.task: step for step in steps}
        if failed is not None:
            return hole_of(failed)
        try:
            place = last_json(by_task["reach"])
            state: dict[str, Any] = json.loads(carried(by_task["ready"]))
        except (KeyError, ValueError) as error:
            return Hole(host.name, codes.FLEET_INSTALL, f"the node's answer is not usable: {error}")
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

    def _hand_out(self, number: int, turns: "_Turns", rounds: int, limit_s: float) -> None:
        """Write each node's schedule, by its own clock. A host without a turn gets an empty one, and goes on."""
        addresses = self._addresses()
        slot_s = limit_s + 2 * max((self._nodes[name].offset.error for name in turns), default=0.0) + _GUARD_S
        what = "what was not good, again" if number > 1 else "the pairs"
        planned = f"measuring {what}: {number_of('rounds', rounds)} of {slot_s:.0f} s"
        self._say(planned if rounds else "reading the tunnels")
        begins = time.time() + self._lead_s
        self._timetable, self._round = (begins, slot_s, rounds), 0
        orders = dict.fromkeys(self._hosts, "")
        for name, row in turns.items():
            node = self._nodes[name]
            peers = [_peer(each, *addresses[each]) for each in sorted(self._partners[name]) if each in addresses]
            at = {place: begins + place * slot_s + node.offset.middle for place, _ in row}
            orders[name] = _told(
                {
                    "settings": {"peers": peers, "responder": {"port": node.port}},
                    "turns": [{"at_s": at[place], "peer": addresses[peer][0]} for place, peer in row],
                    "limit_s": limit_s,
                    "first": number == 1,
                    "joined": True,
                    "within_s": self._lead_s + rounds * slot_s + _PATIENCE_S,
                }
            )
        self._engine.write(f"go-{number}", orders)

    def _addresses(self) -> dict[str, tuple[str, int]]:
        """Where each node can be measured: a hole too, by what the inventory says."""
        found = {host.name: (host.address, host.port) for host in self._hosts.values() if host.address is not None}
        return found | {name: (node.address, node.port) for name, node in self._nodes.items() if node.address}

    def _tick(self) -> None:
        """Say which round it is."""
        if self._timetable is None:
            return
        begins, slot_s, rounds = self._timetable
        number = int((time.time() - begins) // slot_s) + 1
        if number != self._round and 1 <= number <= rounds:
            self._round = number
            self._say(f"round {number} of {rounds}")

    def _turns(self, rounds: Sequence[Round]) -> "_Turns":
        """Whom each node measures, by round. Of a pair with one hole the other end measures."""
        addresses = self._addresses()
        turns: _Turns = {name: [] for name in self._nodes}
        for place, row in enumerate(rounds):
            for pair in row:
                initiator, target = pair if pair.initiator in self._nodes else pair[::-1]
                if initiator in self._nodes and target in addresses:
                    turns[initiator].append((place, target))
        return turns

    def _collect(self, steps: Mapping[str, Sequence[Step]], turns: "_Turns") -> list[Report]:
        """The reports of a number of rounds, and what is missing."""
        reports = []
        for step in (step for host in turns for step in steps.get(host, ())):
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
            addresses = self._addresses()
            self._found.missed += [
                Pair(step.host, peer) for _, peer in turns[step.host] if addresses[peer][0] not in measured
            ]
        self._found.reports += reports
        return reports

    def _lost(self, hole: Hole, turns: "_Turns") -> None:
        """A report that did not come: the node is a hole, or the second look at its pairs is missing."""
        if hole.node in self._found.first:
            self._found.missed += [Pair(hole.node, peer) for _, peer in turns[hole.node]]
        else:
            self._hole(hole)

    def _in_trouble(self, reports: Iterable[Report]) -> set[Pair]:
        """The pairs that deserve a long look: something about them is not good, and both ends take part."""
        found = set()
        for report in reports:
            own = self._name_of(report)
            for result in report.results:
                bad = result.category in _CATEGORIES and result.status in _TROUBLE
                if bad and result.target in self._nodes and own in self._nodes:
                    found.add(Pair(own, result.target))
        return {pair for pair in found if pair.initiator != pair.target}

    def _name_of(self, report: Report) -> str:
        addresses = report.run.overlay.addresses if report.run.overlay else ()
        bare = [address.partition("/")[0] for address in addresses]
        return next((self._found.names[each] for each in bare if each in self._found.names), "")

    def _play(
        self, name: str, hosts: Sequence[str], variables: Mapping[str, Any], begun: Callable[[], None] = lambda: None
    ) -> None:
        self._engine.play(name, hosts, variables, self._heard, begun)
        if self._cancelled():
            raise CancelledError

    def _heard(self, step: Step) -> None:
        """A step has ended; those of the nodes that wait may go on."""
        if (step.task == "clean" and step.kind == "ok") or was_spared(step):
            self._dirty.discard(step.host)
        self._report(step)
        self._barrier.hear(step)

    def _clean(self) -> None:
        """On every node that may not be clean yet; a cancelled step may still run, and is ended first."""
        self._engine.settle()
        if not self._dirty:
            return
        self._say("cleaning")
        for step in self._engine.play("clean", sorted(self._dirty), {"clean_keep": self._keep}, self._report):
            if step.kind != "ok":
                self._found.litter.append(hole_of(step))


_Turns = dict[str, list[tuple[int, str]]]
"""By node: the rounds in which it measures, and whom."""


def _partners(rounds: Sequence[Round]) -> Mapping[str, set[str]]:
    """With whom each node has a round: those are the peers in its settings."""
    found: dict[str, set[str]] = defaultdict(set)
    for pair in (pair for row in rounds for pair in row):
        found[pair.initiator].add(pair.target)
        found[pair.target].add(pair.initiator)
    return found


def _spread_s(steps: Mapping[str, Sequence[Step]], task: str) -> float:
    """How long it took to do one task on all nodes."""
    done = [step for row in steps.values() for step in row if step.task == task]
    return max(step.ended_s for step in done) - min(step.began_s for step in done) if done else 0.0


def _peer(name: str, address: str, port: int) -> dict[str, Any]:
    return {"name": name, "address": address, "responder": port}


def _told(orders: Mapping[str, Any]) -> str:
    """Orders as the agent reads them."""
    return f"{PREFIX}{base64.b64encode(gzip.compress(json.dumps(orders).encode())).decode()}"
