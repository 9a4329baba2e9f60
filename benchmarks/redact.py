"""What it costs to take secrets, addresses and names out of the report of a large mesh."""

import time
from datetime import UTC, datetime
from statistics import median
from uuid import uuid4

from benchmarks.measure import Row
from preflight.cli import lean
from preflight.report.model import EvidenceEntry, NodeInfo, PeerInfo, Report, ResultEntry, Run, Summary
from preflight.report.pseudonyms import Pseudonyms
from preflight.report.redact import Redactor

PEERS = 300
RUNS = 5
LIMIT_S = 0.6
SECRETS = ("bearer-of-this-node-0815", "one-time-token-for-enrolment-4711")
CHECKS = (
    "overlay.session",
    "overlay.route",
    "reach.udp",
    "reach.icmp",
    "mtu.path",
    "udp.quality",
    "overlay.translation",
)
WAYS = ("forward", "reverse")


def rows() -> list[Row]:
    """CPU seconds for one report, as the program does it."""
    lean.start()
    found, clean = mesh(PEERS), True
    spent = []
    for _ in range(RUNS):
        redactor = Redactor(SECRETS, Pseudonyms([peer.target for peer in found.run.peers]))
        began = time.process_time()
        redacted = redactor.report(found)
        spent.append(time.process_time() - began)
        text = redacted.model_dump_json()
        clean = clean and not any(peer.target in text for peer in found.run.peers)
    cpu_s = median(spent)
    return [
        Row(
            area="redact",
            name=f"--redact addresses, {PEERS} peers, {len(found.results)} results",
            ours=round(cpu_s, 2),
            unit="CPU s",
            target=f"≤ {LIMIT_S:g} CPU s",
            met=cpu_s <= LIMIT_S,
            correct=clean,
        )
    ]


def mesh(peers: int) -> Report:
    """A report with as many results for each peer as a run gives, all numbers different."""
    places = [_peer(number) for number in range(peers)]
    results = [_result(place, n, check, way) for n, place in enumerate(places) for check in CHECKS for way in WAYS]
    return Report(
        run=Run(
            id=str(uuid4()),
            started_at=datetime.now(UTC),
            duration_ms=1.0,
            exit_code=0,
            node=NodeInfo(hostname="a", os="Linux", kernel="6.1", python="3.11"),
            peers=tuple(places),
        ),
        verdict="pass",
        summary=Summary.model_validate({"pass": len(results)}),
        results=tuple(results),
    )


def _peer(number: int) -> PeerInfo:
    return PeerInfo(target=f"worker-{number:03d}.example.net", address=f"10.{66 + number // 250}.{number % 250}.7")


def _result(peer: PeerInfo, number: int, check: str, way: str) -> ResultEntry:
    seen = [{"address": peer.address, "outcome": "answered", "rtt_ms": number / 7}]
    return ResultEntry(
        id=f"{check}/{peer.target}/{way}",
        check=check,
        category=check.partition(".")[0],
        target=peer.target,
        direction="forward" if way == "forward" else "reverse",
        status="pass",
        code=None,
        message=f"200 packets to {peer.target} ({peer.address}): 0 % lost, jitter {number / 100:.2f} ms",
        started_at=datetime.now(UTC),
        measurements={"rtt_median_ms": 0.3 + number / 1000, "sent": 200, "received": 200, "loss_percent": 0.0},
        evidence=(EvidenceEntry(kind="packets", summary=f"what {peer.target} answered", data=seen),),
    )
