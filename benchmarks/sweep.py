"""500 addresses × 3 echoes on loopback, which needs no set-up: ours, fping, icmplib, scapy; then with one in ten dead.

Ours and fping run in turn, so that drift hits both; CPU is user and system time of the whole process. False loss is
counted from what each program itself says: on loopback every echo is answered.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

from benchmarks.measure import Row

RUNS = 5
MESH_LIMIT_S = 40.0
COUNT = 3
ADDRESSES = [f"127.0.{1 + n // 250}.{1 + n % 250}" for n in range(500)]
DEAD = [f"127.0.9.{1 + n}" for n in range(50)]
SOME_DEAD = [*ADDRESSES[:450], *DEAD]

OURS = [sys.executable, "-m", "preflight.net.icmp", "--count", str(COUNT), "--period-ms", "20"]
FPING = ["fping", "-q", f"-c{COUNT}", "-i1", "-p20"]
FAST, EQUAL = ("--interval-ms", "0.1"), ("--interval-ms", "1")
DROPPED = "table inet lab { chain input { type filter hook input priority 0; ip daddr 127.0.9.0/24 drop; }; }"

ICMPLIB = f"""
import sys
from icmplib import multiping
hosts = multiping(sys.argv[1:], count={COUNT}, interval=0.02, timeout=2, privileged=True, concurrent_tasks=500)
print(sum(host.packets_received for host in hosts))
"""
SCAPY = """
import logging, sys
logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import IP, ICMP, L3RawSocket, conf, sr
conf.L3socket = L3RawSocket
answered, _ = sr([IP(dst=a) / ICMP(id=77, seq=n) for n, a in enumerate(sys.argv[1:])], timeout=2, verbose=0)
print(len(answered))
"""
HIGH_WATER = """
import sys
def report():
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
"""
"""VmHWM, because the kernel's ru_maxrss of a child counts what it was forked from."""


@dataclass(frozen=True, slots=True)
class Run:
    """One whole process: seconds, and how many echoes it says were answered."""

    wall_s: float
    cpu_s: float
    answered: int


@dataclass(frozen=True, slots=True)
class Runs:
    """Some runs of the same."""

    runs: list[Run]
    expected: int

    @property
    def wall_s(self) -> float:
        """Median."""
        return median(run.wall_s for run in self.runs)

    @property
    def cpu_s(self) -> float:
        """Median."""
        return median(run.cpu_s for run in self.runs)

    @property
    def right(self) -> bool:
        """Whether each run counted just what was answered."""
        return all(run.answered == self.expected for run in self.runs)

    @property
    def summary(self) -> str:
        """Wrong counts, and how far the wall times are apart."""
        walls = sorted(run.wall_s for run in self.runs)
        spread = f"{walls[0]:.2f}–{walls[-1]:.2f} s"
        wrong = sorted({self.expected - run.answered for run in self.runs} - {0})
        return f"{spread}, {'/'.join(map(str, wrong))} of {self.expected} lost by mistake" if wrong else spread


def rows() -> list[Row]:
    """Needs root, as raw sockets do, and fping to measure against."""
    if os.geteuid() != 0 or shutil.which("fping") is None:
        return [Row("sweep", "500 addresses × 3 echoes", None, "s", "fping", note="needs root and fping")]
    return [*_against_fping(), *_against_libraries(), _memory(), *_dead(), _mesh()]


def _against_fping() -> Iterator[Row]:
    everything = COUNT * len(ADDRESSES)
    fast, equal, fping = _in_turn(
        [([*OURS, *FAST, *ADDRESSES], _ours), ([*OURS, *EQUAL, *ADDRESSES], _ours), ([*FPING, *ADDRESSES], _fping)],
        everything,
    )
    yield _row("wall, 10 000 packets/s", fast, fping, limit=0.25)
    yield _row("CPU, 10 000 packets/s", fast, fping, limit=1.5, cpu=True)
    yield _row("wall, equal pacing", equal, fping, limit=1.05)
    yield _row("CPU, equal pacing", equal, fping, cpu=True)


def _against_libraries() -> Iterator[Row]:
    for name, script, count in (("icmplib multiping", ICMPLIB, COUNT), ("scapy sr() ×1", SCAPY, 1)):
        words = [sys.executable, "-c", script, *ADDRESSES]
        ours = [*OURS, *FAST, "--count", str(count), *ADDRESSES]
        mine, theirs = _in_turn([(ours, _ours), (words, int)], count * len(ADDRESSES), runs=3)
        yield _row(f"wall, 10 000 packets/s, ×{count}", mine, theirs, peer=name)
        yield _row(f"CPU, 10 000 packets/s, ×{count}", mine, theirs, peer=name, cpu=True)


def _memory() -> Row:
    """Peak resident memory over that of an interpreter that does nothing."""
    sweep = f"{HIGH_WATER}\nfrom preflight.net.icmp.__main__ import main\nmain(sys.argv[1:])\nreport()"
    words = [sys.executable, "-c", sweep, *OURS[3:], *FAST, *ADDRESSES]
    peaks = [int(_output(command).stderr) for command in (words, [sys.executable, "-c", f"{HIGH_WATER}\nreport()"])]
    over_mib = (peaks[0] - peaks[1]) / 1024
    return Row(
        area="sweep",
        name="memory over the bare interpreter",
        ours=round(over_mib, 1),
        unit="MiB",
        target="≤ 16 MiB",
        met=over_mib <= 16,
    )


def _dead() -> Iterator[Row]:
    """In a namespace that drops what one in ten addresses is sent; fping waits 20 ms for it, ours 200 ms."""
    script = f"ip link set lo up && nft '{DROPPED}' && exec \"$@\""
    apart = ["unshare", "--net", "sh", "-c", script, "sh"]
    ours = [*apart, *OURS, *FAST, "--timeout-ms", "200", *SOME_DEAD]
    mine, fping = _in_turn([(ours, _ours), ([*apart, *FPING, *SOME_DEAD], _fping)], COUNT * 450, code=1)
    yield _row("wall, 10 % dead, 10 000 packets/s", mine, fping)
    yield _row("CPU, 10 % dead, 10 000 packets/s", mine, fping, cpu=True)


def _mesh() -> Row:
    """All checks on a lab with 501 peers: what a large mesh costs the user's time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        command = [sys.executable, "-m", "preflight", "all", "--lab", "healthy-mesh", "-q", "--output", f"json={path}"]
        _output(command)
        report = json.loads(path.read_text(encoding="utf-8"))
        size_mib = path.stat().st_size / 2**20
    seconds = report["run"]["duration_ms"] / 1000
    slowest = max(report["results"], key=lambda result: result["duration_ms"])
    return Row(
        area="sweep",
        name="preflight all, 501 peers",
        ours=round(seconds, 1),
        unit="s",
        target=f"≤ {MESH_LIMIT_S:g} s",
        met=seconds <= MESH_LIMIT_S,
        correct=report["verdict"] == "pass" and not report["diagnosis"],
        note=f"slowest: {slowest['check']} ({slowest['duration_ms'] / 1000:.1f} s); JSON {size_mib:.1f} MiB",
    )


def _row(
    name: str, ours: Runs, theirs: Runs, *, limit: float | None = None, cpu: bool = False, peer: str = " ".join(FPING)
) -> Row:
    mine, other = (ours.cpu_s, theirs.cpu_s) if cpu else (ours.wall_s, theirs.wall_s)
    return Row(
        area="sweep",
        name=f"500 × echo: {name}",
        ours=round(mine, 3),
        unit="s",
        peer=peer,
        theirs=round(other, 3),
        ratio=round(mine / other, 2),
        target=f"≤ {limit:g}×" if limit else None,
        met=limit is None or mine / other <= limit,
        correct=ours.right,
        note=f"wall {ours.summary}; theirs {theirs.summary}",
    )


Command = tuple[Sequence[str], Callable[[str], int]]
"""Words, and how the number of answered echoes is read from what they print."""


def _in_turn(commands: Sequence[Command], expected: int, *, runs: int = RUNS, code: int = 0) -> list[Runs]:
    found: list[list[Run]] = [[] for _ in commands]
    for _ in range(runs):
        for (words, read), into in zip(commands, found, strict=True):
            into.append(_timed(words, read, code))
    return [Runs(each, expected) for each in found]


def _timed(words: Sequence[str], read: Callable[[str], int], code: int) -> Run:
    before = getrusage(RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = _output(words, code)
    wall_s = time.perf_counter() - began
    after = getrusage(RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall_s, cpu_s, read(done.stdout or done.stderr))


def _output(words: Sequence[str], code: int = 0) -> subprocess.CompletedProcess[str]:
    """What a whole process prints. Raises RuntimeError if it ends with another code."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != code:
        raise RuntimeError(f"{words[0]} … ended with {done.returncode}: {done.stderr[-300:]}")
    return done


def _ours(output: str) -> int:
    return sum(int(json.loads(line)["received"]) for line in output.splitlines())


def _fping(output: str) -> int:
    return sum(int(received) for received in re.findall(r"xmt/rcv/%loss = \d+/(\d+)/", output))
