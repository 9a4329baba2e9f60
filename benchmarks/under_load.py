"""Throughput against iperf3, and delay under load against flent's method: ping next to the same transfer.

On shaped links between namespaces, without a tunnel. iperf3 sends for the same seconds, after ours. What one TCP does
to a queue differs from transfer to transfer, so both ways to measure the delay are compared during the same ones. A
median of the hundred packets of one transfer is wrong by a twentieth by chance alone, so several are compared.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryFile
from typing import Any

from benchmarks import measure
from benchmarks.measure import Row
from preflight.lab.labs import Lab, fresh_lab
from preflight.lab.names import ROUTER
from preflight.lab.network import UNDERLAY, router_link
from preflight.lab.scenario_file import parse_scenario
from preflight.lab.topology import underlay_address
from preflight.proto.load.added import FILLING
from preflight.proto.load.asking import PROBE_SHARE
from preflight.proto.load.meter import BEGINNING_S
from preflight.proto.load.wire import DATAGRAM_BYTES

PORT, THEIR_PORT = 8862, 5201
SECONDS, QUICK_SECONDS = 15, 10
ROUNDS, QUICK_ROUNDS = 5, 3
"""Transfers next to which the round trip is measured, in each direction."""
IDLE_S = 1.0
WITHIN = 0.05
PING_S = 0.02
LIMIT_S = 400
WAYS = ("up", "down")
_REPLY = re.compile(r"^\[(\d+\.\d+)\].* time=([\d.]+) ms", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Line:
    """A shaped line: megabits a second in each direction, and the rest of the queue's words for tc(8)."""

    up: float
    down: float
    latency_ms: int

    def __str__(self) -> str:
        return f"{self.up:g} up, {self.down:g} Mbit/s down, queue {self.latency_ms} ms"


LINES = (Line(10, 10, 100), Line(2, 20, 200), Line(50, 50, 20))


def rows() -> list[Row]:
    """Needs root and iperf3."""
    if os.geteuid() != 0 or shutil.which("iperf3") is None:
        return [Row("load", "throughput and delay on shaped links", None, "", "iperf3", note="needs root and iperf3")]
    return [row for line in (LINES[:1] if measure.quick() else LINES) for row in _line(line)]


def _line(line: Line) -> Iterator[Row]:
    seconds = QUICK_SECONDS if measure.quick() else SECONDS
    with fresh_lab(parse_scenario("load", "setup: {control: none}")) as lab:
        _shape(lab, line)
        with _servers(lab):
            with pinging(lab) as pings:
                ours = _ours(lab, seconds, QUICK_ROUNDS if measure.quick() else ROUNDS)
            theirs = {key: value for way in WAYS for key, value in _theirs(lab, way, seconds, ours).items()}
            rrul_ms = _rrul(lab, seconds)
    for way in WAYS:
        yield _row(f"{line}: TCP {way}", ours[f"tcp_{way}"], theirs[f"tcp_{way}"], "Mbit/s", "iperf3")
        yield _row(f"{line}: UDP {way}", ours[f"udp_{way}"], theirs[f"udp_{way}"], "Mbit/s", "iperf3 -u")
        yield _delay_row(line, way, ours, theirs, pings[0], rrul_ms)


def _delay_row(line: Line, way: str, ours: dict[str, Any], theirs: dict[str, float], pings: str, rrul_ms: float) -> Row:
    """What a transfer adds: our packets are twice as large as ping's, and programs stamp them, at any load."""
    when = ours[f"when_{way}"]
    added_ms = [loaded - idle for loaded, idle in zip(ours[f"loaded_ms_{way}"], ours[f"idle_ms_{way}"], strict=True)]
    pinged_ms = [round_trip(pings, *each) - idle_trip(pings, each[0]) for each in when]
    note = (
        f"idle {mean(ours[f'idle_ms_{way}']):.2f} ms, ping {mean([idle_trip(pings, each[0]) for each in when]):.2f}; "
        f"ratios {ratios(added_ms, pinged_ms)}; ping next to iperf3: {theirs[f'loaded_ms_{way}']:.1f}, "
        f"next to four uploads and four downloads: {rrul_ms:.1f}"
    )
    return _row(f"{line}: delay that one TCP {way} adds", mean(added_ms), mean(pinged_ms), "ms", "ping", note)


def mean(values: Sequence[float]) -> float:
    """The mean of what several transfers gave; 0 of none."""
    return fmean(values) if values else 0.0


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """That of each transfer, in words."""
    return ", ".join(f"{one / other:.2f}" for one, other in zip(ours, theirs, strict=True) if other)


def _row(name: str, ours: float | None, theirs: float | None, unit: str, peer: str, note: str = "") -> Row:
    ratio = ours / theirs if ours is not None and theirs else None
    return Row(
        area="load",
        name=name,
        ours=None if ours is None else round(ours, 2),
        unit=unit,
        peer=peer,
        theirs=None if theirs is None else round(theirs, 2),
        ratio=None if ratio is None else round(ratio, 3),
        target=f"within {WITHIN:.0%}",
        met=ratio is not None and abs(ratio - 1) <= WITHIN,
        note=note,
    )


def _shape(lab: Lab, line: Line) -> None:
    """The same queue as common routers have, at both ends of a's link."""
    for node, device, mbit in (("a", UNDERLAY, line.up), (ROUTER, router_link("a"), line.down)):
        words = f"tc qdisc add dev {device} root tbf rate {mbit:g}mbit burst 3000 latency {line.latency_ms}ms".split()
        subprocess.run(lab.command(words, node), check=True, capture_output=True)


@contextmanager
def _servers(lab: Lab) -> Iterator[None]:
    """A responder and an iperf3 server on b's underlay address."""
    address = underlay_address("b", 4)
    key_file = str(lab.names.files("b") / "responder.key")
    program = str(Path(sys.executable).with_name("preflight"))
    responder = [program, "responder", "--bind", f"{address}:{PORT}", "--key-file", key_file, "--load"]
    with _running(lab, responder, "listening on"), _running(lab, _iperf("-s", "-B", address), "Server listening"):
        yield


@contextmanager
def _running(lab: Lab, words: Sequence[str], ready: str) -> Iterator[None]:
    """A server on b, from its line that says that it is ready until the end of the block."""
    with subprocess.Popen(
        lab.command(list(words), "b"),
        env=lab.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            if not any(ready in line for line in process.stdout):
                raise RuntimeError(f"{words[0]} did not start")
            yield
        finally:
            process.terminate()


def _iperf(*words: str) -> list[str]:
    return ["iperf3", "--forceflush", "-p", str(THEIR_PORT), *words]


def _ours(lab: Lab, seconds: int, rounds: int) -> dict[str, Any]:
    key_file = str(lab.names.files("a") / "responder.key")
    asker = [sys.executable, "-m", "benchmarks.asker", underlay_address("b", 4), str(PORT)]
    found: dict[str, Any] = json.loads(_output(lab, [*asker, key_file, str(seconds), str(rounds)]))
    return found


def _output(lab: Lab, words: Sequence[str]) -> str:
    """What a program on a printed."""
    done = subprocess.run(
        lab.command(list(words)), env=lab.environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{words[0]} … ended with {done.returncode}: {(done.stderr or done.stdout)[-300:]}")
    return done.stdout


def _theirs(lab: Lab, way: str, seconds: int, ours: dict[str, Any]) -> dict[str, float]:
    """One transfer by TCP with pings next to it, and one by UDP at the rate that ours had."""
    back = ["-R"] if way == "down" else []
    client = _iperf("-J", "-c", underlay_address("b", 4), *back)
    omit = ["-O", f"{BEGINNING_S:g}"]
    with pinging(lab) as pings:
        began = time.time()
        tcp = json.loads(_output(lab, [*client, "-t", str(seconds), *omit]))
        ended = time.time()
    mbit = PROBE_SHARE * ours[f"tcp_{way}"]
    words = [*client, "-u", "-b", f"{mbit:.3f}M", "-l", str(DATAGRAM_BYTES), "-t", str(seconds), *omit]
    udp = json.loads(_output(lab, words))
    return {
        f"tcp_{way}": tcp["end"]["sum_received"]["bits_per_second"] / 1e6,
        f"udp_{way}": udp_rate(udp) / 1e6,
        f"loaded_ms_{way}": round_trip(pings[0], began, ended),
    }


def udp_rate(document: dict[str, Any]) -> float:
    """Bits of payload a second that arrived: iperf3 gives what was sent, and the share that was lost."""
    total = document["end"]["sum"]
    return float(total["bits_per_second"]) * (1 - float(total["lost_percent"]) / 100)


@contextmanager
def pinging(lab: Lab) -> Iterator[list[str]]:
    """ping to b until the end of the block; its output is then in the list."""
    said: list[str] = []
    words = ["ping", "-n", "-D", "-i", str(PING_S), underlay_address("b", 4)]
    # Into a file: a pipe that nobody reads is full after some forty seconds, and ping waits then.
    with TemporaryFile("w+", encoding="utf-8") as output:
        with subprocess.Popen(lab.command(words), stdout=output, stderr=subprocess.DEVNULL) as process:
            try:
                yield said
            finally:
                process.terminate()
        output.seek(0)
        said.append(output.read())


def round_trip(output: str, began: float, ended: float) -> float:
    """The median of the replies that came in the later part of a transfer; milliseconds. began, ended: UNIX seconds."""
    return _median(output, began + FILLING * (ended - began), ended)


def idle_trip(output: str, began: float) -> float:
    """The median of the replies in the second before a transfer, in which nothing else is sent; milliseconds."""
    return _median(output, began - IDLE_S, began)


def _median(output: str, first: float, last: float) -> float:
    times = [float(ms) for at, ms in _REPLY.findall(output) if first <= float(at) < last]
    return median(times) if times else 0.0


def _rrul(lab: Lab, seconds: int) -> float:
    """The round trip next to four uploads and four downloads at once, as flent's test RRUL makes them."""
    with pinging(lab) as pings:
        began = time.time()
        _output(lab, _iperf("-c", underlay_address("b", 4), "--bidir", "-P", "4", "-t", str(seconds)))
        ended = time.time()
    return round_trip(pings[0], began, ended)
