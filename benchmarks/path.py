"""Path MTU: ours against the peers' in the same lab and by whole processes, run in turn so that drift hits all.

Each program starts with the kernel's memory of path MTUs wiped. Packets are what node a's interface sent meanwhile.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Row, quick
from benchmarks.peers import ENVIRONMENT, PEERS, Peer, install
from preflight.lab.labs import Lab, fresh_lab
from preflight.lab.scenarios import SCENARIOS
from preflight.lab.topology import overlay_address, underlay_address

PROGRAM = Path(sys.executable).with_name("preflight")
RUN = "check"
UNDERLAY_PORT = 8862
MOST_RUNS = 9
PATIENCE_S = 12.5
"""For all runs of one program in one network: slow ones run less often, each once at least."""
QUICK_S = 2.0
BOUND_S = 30.0
"""A run is stopped after that."""
TARGETS = {"ping bisection": 40.0, "automtu": 80.0, "pmtu-diag": 260.0}
PLAIN_TARGETS = {"ping bisection": 40.0, "automtu": 40.0, "pmtu-diag": 260.0}
FAR_TARGETS = {"ping bisection": 10.0}
"""How many times faster we have to be across a black hole, in a tunnel and on a plain link at less than 1 ms of
round-trip time, and at 40 ms."""

QUICKLY = "hole in tunnel, 1312"
"""The case that `--quick` measures, against the programs that have a target there."""

Read = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One network. truth: the path MTU there, both ways; underlay: whether it is searched without the tunnel."""

    name: str
    scenario: str
    truth: int
    ceiling: int
    underlay: bool = False
    targets: dict[str, float] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Of node b."""
        return underlay_address("b", 4) if self.underlay else overlay_address("b", 4)

    @property
    def port(self) -> int:
        """Of the responder there."""
        return UNDERLAY_PORT if self.underlay else 862


CASES = (
    Case("healthy tunnel, 1420", "healthy", 1420, 1420),
    Case("link with ICMP, 1380", "mtu-reduced", 1380, 1500, underlay=True),
    Case("hole in tunnel, 1312", "black-hole-both", 1312, 1420, targets=TARGETS),
    Case("hole on link, 1380", "black-hole-both", 1380, 1500, underlay=True, targets=PLAIN_TARGETS),
    Case("hole at 40 ms, 1312", "black-hole-far", 1312, 1420, targets=FAR_TARGETS),
)


@dataclass(slots=True)
class Contender:
    """A program, and what its runs took and found. `bounded`: it was stopped before its end."""

    name: str
    words: Sequence[str]
    read: Read
    truth: Any
    seconds: list[float] = field(default_factory=list)
    packets: list[int] = field(default_factory=list)
    found: list[Any] = field(default_factory=list)
    bounded: bool = False

    def run(self, lab: Lab, device: str) -> None:
        """Once more, with the kernels' memory wiped."""
        for node in ("a", "b"):
            subprocess.run(lab.command(["ip", "route", "flush", "cache"], node), check=True)
        before, began = _sent(lab, device), time.perf_counter()
        output = _output(lab, self.words)
        self.seconds.append(time.perf_counter() - began)
        self.packets.append(_sent(lab, device) - before)
        self.bounded |= output is None
        self.found.append(None if output is None else self.read(output))

    @property
    def median(self) -> float:
        """Wall seconds."""
        return median(self.seconds)

    @property
    def due(self) -> bool:
        """Whether it runs once more."""
        return not self.seconds or len(self.seconds) < min(
            MOST_RUNS, (QUICK_S if quick() else PATIENCE_S) / self.seconds[0]
        )

    @property
    def right(self) -> bool:
        """Whether every run found the truth."""
        return all(found == self.truth for found in self.found)

    @property
    def spread(self) -> str:
        """From the fastest to the slowest run, seconds."""
        low, high = min(self.seconds), max(self.seconds)
        return f"{low:.2g}–{high:.2g} s" if len(self.seconds) > 1 else "one run"


def rows() -> list[Row]:
    """Needs root: without namespaces there is no path that could be broken."""
    if os.geteuid() != 0:
        return [Row("path", "exact path MTU across a black hole", None, "s", "ping bisection", note="needs root")]
    install()
    if quick():
        return [row for case in CASES if case.name == QUICKLY for row in _case(case)]
    return [*(row for case in CASES for row in _case(case)), *_directions()]


def _case(case: Case) -> Iterator[Row]:
    truth = {"forward": case.truth, "reverse": case.truth}
    with _lab(case) as lab:
        ours = Contender("search", _search(lab, case), _sizes, truth)
        check = None if case.underlay else Contender(RUN, _check(lab), _verdicts, truth)
        peers = [
            Contender(p.name, p.command(case.address, case.ceiling), p.read, case.truth)
            for p in _present()
            if _wanted(case, p)
        ]
        _in_turn(lab, case, [ours, *([check] if check else []), *peers])
        results = _results(lab, case)
    yield _alone(case, ours)
    yield from (_against(case, ours, peer) for peer in peers)
    missing = (peer for peer in PEERS if peer.missing and _wanted(case, peer))
    yield from (Row("path", case.name, None, "s", peer.name, note="missing") for peer in missing)
    if check:
        yield _alone(case, check)
    yield from _cost(case, results)


def _present() -> list[Peer]:
    return [peer for peer in PEERS if not peer.missing]


def _wanted(case: Case, peer: Peer) -> bool:
    """Whether it is measured: those that take long and have no target are left out where it has to be quick."""
    return not quick() or peer.name in case.targets


def _in_turn(lab: Lab, case: Case, contenders: list[Contender]) -> None:
    """Run each as often as its time allows, one after the other, so that none has a quieter machine."""
    device = "eth0" if case.underlay else lab.names.tunnel("a")
    while due := [contender for contender in contenders if contender.due]:
        for contender in due:
            contender.run(lab, device)


def _alone(case: Case, ours: Contender) -> Row:
    return Row(
        area="path",
        name=f"{case.name}: {ours.name}",
        ours=round(ours.median, 3),
        unit="s",
        met=True,
        correct=ours.right,
        note=f"{ours.packets[0]} packets both ways, {ours.spread}",
    )


def _against(case: Case, ours: Contender, theirs: Contender) -> Row:
    ratio = theirs.median / ours.median
    limit = case.targets.get(theirs.name)
    answer = "stopped" if theirs.bounded else "right" if theirs.right else f"WRONG ({theirs.found[0]})"
    return Row(
        area="path",
        name=case.name,
        ours=round(ours.median, 3),
        unit="s",
        peer=theirs.name,
        theirs=float(f"{theirs.median:.3g}"),
        ratio=float(f"{ratio:.3g}"),
        target=f"≥ {limit:g}×" if limit else None,
        met=limit is None or ratio >= limit,
        correct=ours.right,
        note=f"theirs {answer}, {theirs.packets[0]} packets, {theirs.spread}",
    )


def _cost(case: Case, results: list[dict[str, Any]]) -> Iterator[Row]:
    """Packets and round trips of one search, the worse of the two directions."""
    packets = max(result["probes_sent"] for result in results)
    name = f"{case.name}: packets"
    yield Row("path", name, packets, "", target="≤ 60", met=packets <= 60, note="of one direction")
    name = f"{case.name}: RTTs"
    if not case.targets:
        rounds = max(result["rounds"] for result in results)
        yield Row("path", name, rounds, "RTT", target="≤ 4", met=rounds <= 4, note="rounds, with the greeting")
    if min(result["rtt_s"] for result in results) > 0.02:  # else the pauses between packets count for more
        trips = max(result["duration_s"] / result["rtt_s"] for result in results)
        yield Row("path", name, round(trips, 2), "RTT", target="≤ 7", met=trips <= 7, note="round trips by the clock")


def _directions() -> Iterator[Row]:
    """One-way black holes: the right direction each time, and whether what pmtu-diag calls the forward one is that."""
    right = total = 0
    diag = next((peer for peer in _present() if peer.name == "pmtu-diag"), None)
    was_right: list[bool] = []
    for direction in ("forward", "reverse"):
        truth = {"forward": 1420, "reverse": 1420} | {direction: 1312}
        case = Case("", f"black-hole-{direction}", 1312, 1420)
        with _lab(case) as lab:
            ours = Contender("search", _search(lab, case), _sizes, truth)
            contenders = [ours]
            if diag:
                words = diag.command(case.address, case.ceiling)
                contenders.append(Contender(diag.name, words, diag.read, truth["forward"]))
            _in_turn(lab, case, contenders)
        total, right = total + len(ours.found), right + sum(found == truth for found in ours.found)
        was_right += [contender.right for contender in contenders[1:]]
    yield Row(
        area="path",
        name="direction of a one-way hole",
        ours=right,
        unit=f"of {total}",
        peer=diag.name if diag else None,
        theirs=sum(was_right) if diag else None,
        target="all",
        met=right == total,
        correct=right == total,
        note=f"theirs right in {sum(was_right)} of {len(was_right)}" if diag else "",
    )


@contextmanager
def _lab(case: Case) -> Iterator[Lab]:
    """The network of a case, with a responder on the underlay where that is searched."""
    with ExitStack() as stack:
        lab = stack.enter_context(fresh_lab(SCENARIOS[case.scenario]))
        if case.underlay:
            stack.enter_context(_responder(lab, case))
        yield lab


def _sent(lab: Lab, device: str) -> int:
    """Packets that node a has sent through an interface so far."""
    words = ["cat", f"/sys/class/net/{device}/statistics/tx_packets"]
    return int(subprocess.run(lab.command(words), capture_output=True, text=True, check=True).stdout)


def _output(lab: Lab, words: Sequence[str]) -> str | None:
    """The output of a process on node a; None if it was stopped. A finding is not an error: exit code 1 is fine."""
    command, environment = lab.command(list(words)), lab.environment()
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=BOUND_S, check=False)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{words[0]} … ended with {done.returncode}: {done.stderr[-300:]}")
    return done.stdout


def _search(lab: Lab, case: Case) -> list[str]:
    """Of this checkout, by the peers' interpreter: the finder of an editable install takes as long as Python itself."""
    key_file = lab.names.files("a") / "responder.key"
    return [
        str(ENVIRONMENT / "bin" / "python"),
        "-m",
        "preflight.net.pmtu",
        case.address,
        str(case.port),
        str(key_file),
    ]


def _check(lab: Lab) -> list[str]:
    config = lab.names.files("a") / "preflight.yaml"
    return [str(PROGRAM), "run", "mtu.path", "--config", str(config), "--output", "json"]


def _results(lab: Lab, case: Case) -> list[dict[str, Any]]:
    """Forward and reverse, as the search itself reports them."""
    return [json.loads(line) for line in (_output(lab, _search(lab, case)) or "").splitlines()]


def _sizes(output: str) -> dict[str, int]:
    """What the search alone found, by direction."""
    results = [json.loads(line) for line in output.splitlines()]
    return {result["direction"]: result["mtu_bytes"] for result in results}


def _verdicts(output: str) -> dict[str, int]:
    """What the whole run found, by direction."""
    results = [result for result in json.loads(output)["results"] if result["check"] == "mtu.path"]
    return {result["direction"]: result["measurements"].get("mtu_bytes") for result in results}


@contextmanager
def _responder(lab: Lab, case: Case) -> Iterator[None]:
    """A responder on b's underlay address."""
    key_file = lab.names.files("b") / "responder.key"
    command = [str(PROGRAM), "responder", "--bind", f"{case.address}:{case.port}", "--key-file", str(key_file)]
    with subprocess.Popen(
        lab.command(command, "b"), env=lab.environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield
        finally:
            process.terminate()
