"""What a fleet costs its controller: the plan, the join of all reports, their root causes, and the page.

The nodes are made up: every node's report is written as a node writes it, by the schedule of the run itself, with three
faults in it. A separate process then does what the controller does, from the packed reports to the page. It also
says whether each fault is one finding and nothing else is.
"""

import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from benchmarks.measure import Row, quick
from preflight.fleet.schedule import Pair, Pairs, make_rounds
from preflight.report.condense import condensed, slim
from preflight.report.json import parse, render
from preflight.report.matrix import Hole, Matrix
from preflight.report.matrix_text import render_html, render_text
from preflight.report.merge import merge
from preflight.report.model import (
    CauseEntry,
    EvidenceEntry,
    NodeInfo,
    OverlayInfo,
    PeerInfo,
    Report,
    ResultEntry,
    Run,
    Summary,
)

_AT = datetime(2026, 11, 28, tzinfo=UTC)
_CHECKS = ("overlay.session", "reach.icmp", "reach.udp", "mtu.path", "udp.quality", "reach.traceroute")
_DEAD = "reach.no-forward"
_MIB = 1024 * 1024
_PAGE_MIB = 3.0


@dataclass(frozen=True, slots=True)
class Size:
    """A fleet, and what its join may take."""

    nodes: int
    sites: int
    pairs: Pairs
    cpu_s: float
    mib: float


SIZES = (
    Size(100, 5, Pairs(), 1.0, 150.0),
    Size(1000, 20, Pairs(sample=16), 20.0, 500.0),
)


class Simulated:
    """A fleet with a dead uplink, a dead pair of sites and a dead node."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.nodes = [f"n{number:05d}" for number in range(size.nodes)]
        self.sites = {node: f"site-{number % size.sites:03d}" for number, node in enumerate(self.nodes)}
        self.addresses = {
            node: f"10.{66 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"
            for number, node in enumerate(self.nodes)
        }
        self.dead_site = "site-001"
        self.dead_sites = frozenset({"site-002", "site-003"})
        self.dead_node = self.nodes[size.sites * 2]  # of the first site

    def expected(self) -> set[tuple[str, ...]]:
        """The findings that there should be: scope and names."""
        return {
            ("site", self.dead_site),
            ("site-pair", *sorted(self.dead_sites)),
            ("node", self.dead_node),
        }

    def is_dead(self, pair: Pair) -> bool:
        """Whether nothing passes between two nodes."""
        sites = {self.sites[node] for node in pair}
        between = len(sites) > 1
        return self.dead_node in pair or (between and (self.dead_site in sites or sites == self.dead_sites))

    def reports(self) -> Iterator[Report]:
        """One report of each node but the dead one."""
        turns: dict[str, list[str]] = {node: [] for node in self.nodes}
        for row in make_rounds(self.nodes, self.size.pairs, self.sites):
            for pair in row:
                initiator, target = pair if pair.initiator != self.dead_node else pair[::-1]
                turns[initiator].append(target)
        for number, (node, peers) in enumerate(turns.items()):
            if node != self.dead_node:
                yield self._report(number, node, peers)

    def _report(self, number: int, node: str, peers: list[str]) -> Report:
        results = [result for peer in peers for result in _results(peer, self.is_dead(Pair(node, peer)))]
        counts = Counter(result.status for result in results)
        causes = [_cause(peer) for peer in peers if self.is_dead(Pair(node, peer))]
        return Report(
            run=Run(
                id=str(UUID(int=number)),
                started_at=_AT,
                duration_ms=1.0,
                exit_code=1 if causes else 0,
                node=NodeInfo(hostname=node, os="Debian", kernel="6.1", python="3.11"),
                overlay=OverlayInfo(
                    product="wireguard", interface="wg0", mtu=1420, addresses=(f"{self.addresses[node]}/8",)
                ),
                peers=tuple(PeerInfo(target=peer, address=self.addresses[peer]) for peer in peers),
            ),
            verdict="fail" if causes else "pass",
            summary=Summary.model_validate(counts),
            results=tuple(results),
            diagnosis=tuple(causes),
        )


def _results(peer: str, dead: bool) -> Iterator[ResultEntry]:
    for check in _CHECKS:
        for way in ("forward", "reverse"):
            bad = dead and check == "reach.udp"
            yield ResultEntry.model_validate(
                {
                    "id": f"{check}/{peer}/{way}",
                    "check": check,
                    "category": check.partition(".")[0],
                    "target": peer,
                    "direction": way,
                    "status": "fail" if bad else "skip" if dead else "pass",
                    "code": _DEAD if bad else "run.blocked" if dead else None,
                    "message": f"200 packets to {peer}: 0 % lost, jitter 0.31 ms",
                    "started_at": _AT,
                    "measurements": {"rtt_median_ms": 0.3, "sent": 200, "received": 200},
                    "evidence": (EvidenceEntry(kind="packets", summary=f"what {peer} answered", data=[]),),
                }
            )


def _cause(peer: str) -> CauseEntry:
    ids = tuple(f"reach.udp/{peer}/{way}" for way in ("forward", "reverse"))
    told = {"code": _DEAD, "title": "No packet arrives", "message": f"{peer} got none", "target": peer}
    return CauseEntry.model_validate({**told, "direction": "round-trip", "explains": ids})


def rows() -> list[Row]:
    """A row for each limit of each size."""
    return [row for size in (SIZES[:1] if quick() else SIZES) for row in _rows(size)]


def _rows(size: Size) -> list[Row]:
    fleet = Simulated(size)
    with tempfile.TemporaryDirectory() as folder:
        for number, report in enumerate(fleet.reports()):
            Path(folder, f"{number}.gz").write_bytes(gzip.compress(render(condensed(slim(report))).encode(), 1))
        words = [sys.executable, "-m", "benchmarks.fleet", folder, str(SIZES.index(size))]
        done = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    what = f"{size.nodes} nodes, {done['ways']} ways"
    right = {tuple(each) for each in done["findings"]} == fleet.expected()
    limits = (
        ("plan, join, causes and page", "cpu_s", "CPU s", size.cpu_s),
        ("memory at its most", "mib", "MiB", size.mib),
        ("page", "page_mib", "MiB", _PAGE_MIB),
    )
    return [
        Row(
            area="fleet",
            name=f"{what}: {name}",
            ours=done[key],
            unit=unit,
            target=f"≤ {limit:g} {unit}",
            met=done[key] <= limit,
            correct=right,
            note=done["parts"] if key == "cpu_s" else "",
        )
        for name, key, unit, limit in limits
    ]


def join(fleet: Simulated, folder: Path) -> tuple[Matrix, Mapping[str, float], int]:
    """What a controller does: the matrix, CPU seconds by part, and the bytes of the page."""
    spent, at = {}, time.process_time()

    def part(name: str) -> None:
        nonlocal at
        spent[name], at = time.process_time() - at, time.process_time()

    make_rounds(fleet.nodes, fleet.size.pairs, fleet.sites)
    part("plan")
    reports = [parse(gzip.decompress(path.read_bytes())) for path in folder.iterdir()]
    part("read")
    hole = Hole(node=fleet.dead_node, code="fleet.unreachable", message="Connection refused")
    names = {address: node for node, address in fleet.addresses.items()}
    matrix = merge(reports, names, [hole], fleet.sites)
    part("join")
    page = render_html(matrix)
    render_text(matrix)
    part("page")
    return matrix, spent, len(page.encode())


def main(folder: str, size: str) -> None:
    """One join in a separate process, as JSON."""
    matrix, spent, page = join(Simulated(SIZES[int(size)]), Path(folder))
    found = {
        "ways": len(matrix.ways),
        "findings": [[finding.scope, *finding.nodes] for finding in matrix.findings],
        "cpu_s": round(sum(spent.values()), 2),
        "mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _MIB),
        "page_mib": round(page / _MIB, 2),
        "parts": ", ".join(f"{name} {seconds:.2f}" for name, seconds in spent.items()),
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
