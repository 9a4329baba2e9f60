"""The bundled control plane under wrk: 10 000 nodes that send heartbeats, and its maximum rates.

Server on one core, load generator on another. Each node is a separate connection with a separate period, as in a
cluster: a slow answer delays only that node's next heartbeat, so a stall is visible to all nodes that are due then,
and wrk omits only a stalled node's second heartbeat. The bursts are closed loops: they show the maximum rate, and their
latency is that of a full queue. On a busy machine `chrt -r 5 bin/bench control-plane` gives the server
the core that it is meant to have.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.measure import Row

NODES = 10_000
CLIENTS = 64
HEARTBEATS_S, BURST_S = 45, 10
LIMIT_MS = 50.0
RESTARTS = 5
BEARER = "bearer-of-the-benchmark"
SCRIPT = Path(__file__).with_suffix(".lua")
AREA = "control-plane"


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw. Times in seconds, latencies in milliseconds."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return self.requests / self.seconds


class Server:
    """`preflight control-plane serve` on the first core; the database outlives it."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> float:
        """Seconds until it says that it listens."""
        began = time.perf_counter()
        program = [str(Path(sys.executable).with_name("preflight")), "control-plane", "serve"]
        self._process = subprocess.Popen(
            [*_on_core(0), *program, "--bind", "127.0.0.1:0", "--db", str(self._database)],
            env={**_clean_environment(), "VOX_MESH_TOKEN": BEARER},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().removeprefix("listening on ").strip()
        return time.perf_counter() - began

    def kill(self) -> None:
        """No goodbye."""
        if self._process is not None and self._process.stdout is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process.stdout.close()

    def nodes(self) -> int:
        """How many it lists."""
        asked = urllib.request.Request(f"{self.url}/v1/populi/nodes", headers={"authorization": f"Bearer {BEARER}"})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return len(json.load(answer)["nodes"])

    def resident_mib(self) -> float:
        """Resident memory now."""
        status = self._file("status")
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def cpu_s(self) -> float:
        """CPU time used so far, user and system (proc(5), fields 14 and 15)."""
        fields = self._file("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _file(self, name: str) -> str:
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/{name}").read_text(encoding="ascii")


def rows() -> list[Row]:
    """Needs wrk, two cores and as many open files as nodes."""
    lacking = _lacking()
    if lacking is not None:
        return [Row(AREA, f"{NODES} nodes", None, "ms", note=f"needs {lacking}")]
    with tempfile.TemporaryDirectory() as folder, _running(Path(folder) / "control-plane.db") as server:
        empty_mib = server.resident_mib()
        joins = _burst(server, "join", "joins")
        return [
            *_heartbeats(server, empty_mib),
            joins,
            _burst(server, "mailbox", "mailbox round trips", requests_each=3),
            _burst(server, "lease", "lease grants"),
            _restart(server, Path(folder)),
        ]


def _heartbeats(server: Server, empty_mib: float) -> Iterator[Row]:
    before_s = server.cpu_s()
    load = _wrk(server, "heartbeat", NODES, HEARTBEATS_S)
    used_percent = (server.cpu_s() - before_s) / load.seconds * 100
    right = load.failed == 0
    rate = f"{load.per_second:.0f} heartbeats/s with the start"
    note = f"median {load.p50_ms:.2f} ms; {rate}; {load.failed} failed; load average {os.getloadavg()[0]:.1f}"
    yield Row(
        area=AREA,
        name=f"{NODES} nodes, heartbeat every 15 s: p99",
        ours=round(load.p99_ms, 2),
        unit="ms",
        target=f"≤ {LIMIT_MS:g} ms",
        met=right and load.p99_ms <= LIMIT_MS,
        correct=right,
        note=note,
    )
    yield Row(AREA, "the same: CPU", round(used_percent, 1), "% of a core", note="with taking the connections")
    memory = round(server.resident_mib() - empty_mib, 1)
    yield Row(AREA, f"memory for {NODES} connected nodes", memory, "MiB", note=f"on top of {empty_mib:.0f} MiB")


def _burst(server: Server, workload: str, name: str, requests_each: int = 1) -> Row:
    """As much as goes: some clients that ask again as soon as they are answered."""
    load = _wrk(server, workload, CLIENTS, BURST_S)
    return Row(
        area=AREA,
        name=f"{name}, {CLIENTS} clients",
        ours=round(load.per_second / requests_each),
        unit="/s",
        correct=load.failed == 0,
        note=f"{load.failed} failed; p99 {load.p99_ms:.0f} ms a request",
    )


def _restart(server: Server, folder: Path) -> Row:
    """From the process's start until it listens: with the database of all this, after SIGKILL, and with a new one."""
    ours, theirs, listed = [], [], []
    for number in range(RESTARTS):
        server.kill()
        ours.append(server.start())
        listed.append(server.nodes())
        fresh = Server(folder / f"empty-{number}.db")
        theirs.append(fresh.start())
        fresh.kill()
    size_mib = sum(path.stat().st_size for path in folder.glob("control-plane.db*")) / 2**20
    return Row(
        area=AREA,
        name="restart after SIGKILL",
        ours=round(median(ours), 2),
        unit="s",
        peer="an empty database",
        theirs=round(median(theirs), 2),
        ratio=round(median(ours) / median(theirs), 2),
        correct=set(listed) == {NODES},
        note=f"{min(listed)} nodes listed; {size_mib:.0f} MiB of nodes, mail and leases",
    )


def _wrk(server: Server, workload: str, connections: int, seconds: int) -> Load:
    """One run of the load generator on the last core. Raises RuntimeError if it fails."""
    command = [*_on_core(-1), "wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "10s"]
    done = subprocess.run(
        [*command, "-s", str(SCRIPT), server.url, "--", workload, str(NODES)],
        env={**os.environ, "BENCH_BEARER": BEARER},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"wrk ended with {done.returncode}: {done.stderr[-300:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Load(
        found["requests"], found["duration"] / 1e6, found["p50"] / 1000, found["p99"] / 1000, int(found["failed"])
    )


@contextmanager
def _running(database: Path) -> Iterator[Server]:
    server = Server(database)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _lacking() -> str | None:
    """What this machine lacks, or None. Raises the limit of open files to its maximum."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if shutil.which("wrk") is None:
        return "wrk (Debian package of that name)"
    if len(os.sched_getaffinity(0)) < 2:
        return "two cores"
    return None if hard > NODES + 100 else f"more than {NODES} open files (ulimit -Hn)"


def _on_core(index: int) -> list[str]:
    return ["taskset", "-c", str(sorted(os.sched_getaffinity(0))[index])]


def _clean_environment() -> dict[str, str]:
    """Without settings of a cluster of the caller's own."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("VOX_", "PREFLIGHT_"))}
