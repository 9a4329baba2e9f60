"""Path MTU: exact across a black hole, against bisecting with ping, in the same lab and by whole processes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Row
from preflight.lab.faults import Fault, both_ways
from preflight.lab.impairment import Impairment
from preflight.lab.names import ROUTER
from preflight.lab.scenarios import SCENARIOS, Scenario
from preflight.lab.session import Lab, fresh_lab
from preflight.lab.topology import overlay_address, underlay_address

RUNS = 5
PROGRAM = Path(sys.executable).with_name("preflight")
PEER = overlay_address("b", 4)
RUN = "preflight run mtu.path"
ALONE = "search alone"
PING = "ping -M do bisection"

# Bisects between the least that the overlay must carry and the interface's MTU; prints the size and the packets sent.
BISECTION = """
low=1279 high=$(($2 + 1)) sent=0
while [ $((high - low)) -gt 1 ]; do
  size=$(((low + high) / 2)) sent=$((sent + 1))
  if ping -M do -c1 -W1 -q -s $((size - 28)) "$1" >/dev/null 2>&1; then low=$size; else high=$size; fi
done
echo "$low $sent"
"""

HOLE = SCENARIOS["black-hole-both"]
# The same hole at 40 ms, made by length alone: a route's MTU would lead around the forwarder that delays.
FAR_HOLE = replace(
    HOLE,
    faults=(
        *both_ways("a", "b", Impairment(delay_ms=20)),
        Fault(
            "packets over 1380 bytes vanish",
            strike=lambda network: network.nft(ROUTER, "forward ip length > 1380 drop"),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Timed:
    """Median wall seconds of some whole runs, and what each of them found."""

    seconds: float
    found: list[Any]

    def right(self, truth: Any) -> bool:
        """Whether every run found just this."""
        return all(found == truth for found in self.found)


def rows() -> list[Row]:
    """Needs root: without namespaces there is no path that could be broken."""
    if os.geteuid() != 0:
        return [Row("path", "exact path MTU across a black hole", None, "s", PING, note="needs root")]
    return [
        *_hole(HOLE, "black hole, RTT < 1 ms", 30),
        *_hole(FAR_HOLE, "black hole, RTT 40 ms", 10),
        *_told(),
        _directions(),
    ]


def _hole(scenario: Scenario, name: str, target: float) -> Iterator[Row]:
    """Ours as a whole run of the check and as the search alone, theirs as one bisection; the tunnel carries 1312."""
    with fresh_lab(scenario) as lab:
        config = ["--config", str(lab.names.files("a") / "preflight.yaml")]
        run = _timed(lab, [str(PROGRAM), "run", "mtu.path", *config, "--output", "json"], _verdicts)
        alone = _timed(lab, _search(lab, PEER), _sizes)
        ping = _timed(lab, _bisection(PEER, 1420), lambda output: [int(word) for word in output.split()])
        results = _results(lab, PEER)
    sizes = {"forward": 1312, "reverse": 1312}
    right_ping = all(found[0] == 1312 for found in ping.found)
    note = f"{PING}: {ping.found[0][1]} packets, {'right' if right_ping else 'wrong'}"
    for what, timed in ((RUN, run), (ALONE, alone)):
        ratio = ping.seconds / timed.seconds
        yield Row(
            area="path",
            name=f"{name}: {what}",
            ours=round(timed.seconds, 3),
            unit="s",
            peer=PING,
            theirs=round(ping.seconds, 3),
            ratio=round(ratio, 1),
            target=f"≥ {target:g}× faster",
            met=ratio >= target,
            correct=timed.right(sizes),
            note=f"both directions; {note}",
        )
    yield from _cost(name, results, most_round_trips=7)


def _cost(name: str, results: list[dict[str, Any]], most_round_trips: int) -> Iterator[Row]:
    """Packets and round trips of one search, the worse of the two directions."""
    packets = max(result["probes_sent"] for result in results)
    yield Row("path", f"{name}: packets", packets, "packets", target="≤ 60", met=packets <= 60)
    if min(result["rtt_s"] for result in results) < 0.02:
        return  # where a round trip takes less than the pauses between packets, counting them says nothing
    trips = max(result["duration_s"] / result["rtt_s"] for result in results)
    yield Row(
        "path",
        f"{name}: search",
        round(trips, 2),
        "RTT",
        target=f"≤ {most_round_trips} RTT + start-up",
        met=trips <= most_round_trips + 1,
        note="the greeting that starts it is one",
    )


def _told() -> Iterator[Row]:
    """A plain path of 1380 bytes whose router sends ICMP errors: the underlay, with a responder of its own."""
    address = underlay_address("b", 4)
    with fresh_lab(SCENARIOS["mtu-reduced"]) as lab, _responder(lab, address) as port:
        alone = _timed(lab, _search(lab, address, port), _sizes)
        ping = _timed(lab, _bisection(address, 1500), lambda output: [int(word) for word in output.split()])
        forward, _ = _results(lab, address, port)
    yield Row(
        area="path",
        name="underlay of 1380 with ICMP: search alone",
        ours=round(alone.seconds, 3),
        unit="s",
        peer=PING,
        theirs=round(ping.seconds, 3),
        ratio=round(ping.seconds / alone.seconds, 1),
        correct=alone.right({"forward": 1380, "reverse": 1380}) and forward["signalled"],
        note=f"both directions; {PING}: {ping.found[0][1]} packets",
    )
    yield Row(
        "path",
        "underlay of 1380 with ICMP: rounds",
        forward["rounds"],
        "rounds",
        target="≤ 4",
        met=forward["rounds"] <= 4,
    )


def _directions() -> Row:
    """One-way black holes: the right direction, each time."""
    right = total = 0
    for direction in ("forward", "reverse"):
        with fresh_lab(SCENARIOS[f"black-hole-{direction}"]) as lab:
            for found in _timed(lab, _search(lab, PEER), _sizes).found:
                total += 1
                right += found == {"forward": 1420, "reverse": 1420} | {direction: 1312}
    return Row(
        "path",
        "direction of a one-way black hole",
        right,
        f"of {total}",
        target="all",
        met=right == total,
        correct=right == total,
    )


def _timed(lab: Lab, command: list[str], read: Callable[[str], Any]) -> Timed:
    """Median of some runs, each with the kernel's memory of path MTUs wiped."""
    found, seconds = [], []
    for _ in range(RUNS):
        for node in ("a", "b"):
            subprocess.run(lab.command(["ip", "route", "flush", "cache"], node), check=True)
        output, wall = _output(lab, command)
        found.append(read(output))
        seconds.append(wall)
    return Timed(median(seconds), found)


def _output(lab: Lab, command: list[str]) -> tuple[str, float]:
    """What a whole process on node a prints, and its wall seconds. A finding is no error: exit code 1 is fine."""
    began = time.perf_counter()
    done = subprocess.run(
        lab.command(command), env=lab.environment(), capture_output=True, text=True, timeout=120, check=False
    )
    wall = time.perf_counter() - began
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{command[0]} … ended with {done.returncode}: {done.stderr[-300:]}")
    return done.stdout, wall


def _search(lab: Lab, address: str, port: int = 862) -> list[str]:
    key_file = lab.names.files("a") / "responder.key"
    return [sys.executable, "-m", "preflight.net.pmtu", address, str(port), str(key_file)]


def _bisection(address: str, ceiling: int) -> list[str]:
    return ["sh", "-c", BISECTION, "sh", address, str(ceiling)]


def _results(lab: Lab, address: str, port: int = 862) -> list[dict[str, Any]]:
    """Forward and reverse, as the search itself tells them."""
    return [json.loads(line) for line in _output(lab, _search(lab, address, port))[0].splitlines()]


def _sizes(output: str) -> dict[str, int]:
    """What the search alone found, by direction."""
    results = [json.loads(line) for line in output.splitlines()]
    return {result["direction"]: result["mtu_bytes"] for result in results}


def _verdicts(output: str) -> dict[str, int]:
    """What the whole run found, by direction."""
    results = [result for result in json.loads(output)["results"] if result["check"] == "mtu.path"]
    return {result["direction"]: result["measurements"].get("mtu_bytes") for result in results}


@contextmanager
def _responder(lab: Lab, address: str) -> Iterator[int]:
    """A responder on b's underlay address; gives its port."""
    port = 8862
    key_file = lab.names.files("b") / "responder.key"
    command = [str(PROGRAM), "responder", "--bind", f"{address}:{port}", "--key-file", str(key_file)]
    with subprocess.Popen(
        lab.command(command, "b"), env=lab.environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield port
        finally:
            process.terminate()
