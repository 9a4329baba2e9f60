"""A run without a network: the orders for each node, and what a run makes of the answers."""

import base64
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from preflight import codes
from preflight.api import Direction, failed
from preflight.fleet import run as module
from preflight.fleet.delivery import Delivery
from preflight.fleet.engine import Access, Engine
from preflight.fleet.hosts import Host
from preflight.fleet.outcome import Step
from preflight.fleet.remote.agent import PREFIX
from preflight.fleet.run import Barrier, CancelledError, FleetRun, Wish
from preflight.fleet.schedule import Pairs
from preflight.report.json import render
from preflight.report.model import Report
from tests.report.test_merge import ADDRESSES, good, seen_by

HOSTS = tuple(Host(name, ADDRESSES[name]) for name in "abc")


TASKS = {
    "run": ("reach", "start", "ready", "go", "collect", "clean"),
    "again": ("go", "collect", "clean"),
    "clean": ("clean",),
}


def packed(value: bytes) -> str:
    return PREFIX + base64.b64encode(gzip.compress(value)).decode()


class Pretended(Engine):
    """Nodes that answer at once. orders: by kind and host; plays: which play ran on whom."""

    def __init__(self, folder: Path, reports: Mapping[str, Report], dead: frozenset[str]) -> None:
        super().__init__("0123", Access("a,"), folder, lambda: False)
        self.reports, self.dead = reports, dead
        self.orders: dict[str, dict[str, Any]] = {}
        self.plays: list[tuple[str, list[str]]] = []
        self.next, self.interrupt_at = "", ""

    def settle(self) -> None:
        """Nothing runs."""

    def write(self, kind: str, contents: Mapping[str, str]) -> None:
        """Remember the orders for the nodes."""
        self.orders[kind] = {
            host: json.loads(gzip.decompress(base64.b64decode(text.removeprefix(PREFIX))))
            for host, text in contents.items()
            if text
        }

    def go_on(self, word: str) -> None:
        """Remember what comes next."""
        self.next = word

    def play(
        self,
        name: str,
        hosts: Sequence[str],
        variables: Mapping[str, Any],
        report: Callable[[Step], None],
        begun: Callable[[], None] = lambda: None,
    ) -> list[Step]:
        """Every task on every host before the next task, as Ansible does it; who fails takes no further part."""
        begun()
        self.plays.append((name, list(hosts)))
        left, steps = list(hosts), list[Step]()
        for task in TASKS[name]:
            for host in tuple(left):
                if task in ("go", "collect") and host not in self.orders[f"go-{variables['run_number']}"]:
                    continue
                if name == "run" and task == "clean" and self.next != "clean":
                    continue
                if task == self.interrupt_at:
                    return steps
                step = self._step(task, host)
                left = left if step.kind == "ok" else [each for each in left if each != host]
                steps.append(step)
                report(step)
        return steps

    def _step(self, task: str, host: str) -> Step:
        if host in self.dead:
            return Step(host, task, "unreachable", {"msg": "Connection refused"}, 0.0, 1.0)
        place = {"python": "python3", "folder": "", "run_folder": "", "incoming": "", "monotonic": 5.0}
        state = {"listening": f"listening on udp://{ADDRESSES[host]}:862", "monotonic": 5.5}
        answers = {
            "reach": json.dumps(place),
            "ready": packed(json.dumps(state).encode()),
            "collect": packed(render(self.reports[host]).encode()),
        }
        return Step(host, task, "ok", {"stdout": answers.get(task, "")}, 1.0, 2.0)


@pytest.fixture(autouse=True)
def no_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody unpacks it."""
    monkeypatch.setattr(module, "pack", lambda: Delivery(b"", "4567"))


def fleet_of(
    tmp_path: Path, wish: Wish, dead: str = "", cancelled: bool = False, **reports: Report
) -> tuple[Pretended, FleetRun]:
    """A fleet of three, each of which starts one of three pairs. reports: what some of them find."""
    pairs = {"a": "b", "b": "c", "c": "a"}
    found = {name: seen_by(name, *good(peer), peers=(peer,)) for name, peer in pairs.items()} | reports
    engine = Pretended(tmp_path, found, frozenset(dead))
    return engine, FleetRun(engine, HOSTS, wish, lambda: cancelled, lambda step: None, lambda text: None)


def test_each_node_gets_its_rounds_and_its_partners(tmp_path: Path) -> None:
    """Protects the schedule on its way to the nodes: by their own clocks, and with nobody in it who is not needed."""
    engine, fleet = fleet_of(tmp_path, Wish(Pairs(node="a")))
    found = fleet.run()
    turns = {host: orders["turns"] for host, orders in engine.orders["go-1"].items()}
    assert [len(turns[host]) for host in "abc"] == [2, 0, 0]
    assert {turn["peer"] for turn in turns["a"]} == {ADDRESSES["b"], ADDRESSES["c"]}
    first, second = sorted(turn["at_s"] for turn in turns["a"])
    assert second - first >= module.SHORT_S
    assert [peer["name"] for peer in engine.orders["start"]["b"]["settings"]["peers"]] == ["a"]
    assert found.holes == {}


def test_a_dead_node_is_a_hole_that_the_others_still_measure(tmp_path: Path) -> None:
    """Protects what the peers see of it: the other end starts the pair. It is not cleaned: nothing reached it."""
    engine, fleet = fleet_of(tmp_path, Wish(), dead="c")
    found = fleet.run()
    assert {name: hole.code.slug for name, hole in found.holes.items()} == {"c": "fleet.unreachable"}
    peers = {host: {turn["peer"] for turn in orders["turns"]} for host, orders in engine.orders["go-1"].items()}
    assert ADDRESSES["c"] in peers["a"]
    assert ADDRESSES["c"] in peers["b"]
    assert engine.plays == [("run", list("abc"))]


def test_what_was_not_measured_is_listed(tmp_path: Path) -> None:
    """Protects from a matrix with blanks that nobody explains."""
    _, fleet = fleet_of(tmp_path, Wish(Pairs(node="a")))
    missed = {tuple(pair) for pair in fleet.run().missed}
    assert missed == {("a", "c")}


def test_a_cancelled_run_is_cleaned(tmp_path: Path) -> None:
    """Protects the nodes of an interrupted run: who was not cleaned is cleaned last, by a separate play."""
    engine, fleet = fleet_of(tmp_path, Wish(), cancelled=True)
    engine.interrupt_at = "start"
    with pytest.raises(CancelledError):
        fleet.run()
    assert engine.plays == [("run", list("abc")), ("clean", list("abc"))]


def test_what_was_not_good_is_measured_again(tmp_path: Path) -> None:
    """Protects the diagnosis: a bad pair gets a long round, by the end that started it, and nobody else waits."""
    dead = failed(codes.REACH_NO_FORWARD, "b", Direction.FORWARD, "b got none")
    engine, fleet = fleet_of(tmp_path, Wish(), a=seen_by("a", dead, peers=("b",)))
    fleet.run()
    assert engine.plays == [("run", list("abc")), ("again", list("abc"))]
    orders = engine.orders["go-2"]
    assert list(orders) == ["a"]
    assert ([turn["peer"] for turn in orders["a"]["turns"]], orders["a"]["limit_s"]) == (
        [ADDRESSES["b"]],
        module.LONG_S,
    )


def test_a_barrier_waits_for_the_last_and_opens_once() -> None:
    """Protects the schedule: it is handed out when all nodes are ready or holes, and not a second time."""
    opened: list[list[str]] = []
    barrier = Barrier("ab", "ready", lambda steps: opened.append(sorted(steps)))
    for host, task, kind in (("a", "start", "ok"), ("b", "start", "failed"), ("c", "ready", "ok")):
        barrier.hear(Step(host, task, kind, {}, 0.0, 1.0))  # type: ignore[arg-type]
    assert opened == []
    for _ in range(2):
        barrier.hear(Step("a", "ready", "ok", {}, 0.0, 1.0))
    assert opened == [["a", "b", "c"]]


def test_the_key_is_new_for_each_run_and_the_same_for_all_nodes(tmp_path: Path) -> None:
    """Protects the responders: nobody but the nodes of this run can ask them."""
    keys = []
    for _ in range(2):
        engine, fleet = fleet_of(tmp_path, Wish())
        fleet.run()
        keys.append({orders["key"] for orders in engine.orders["start"].values()})
    assert [len(each) for each in keys] == [1, 1]
    assert keys[0] != keys[1]
