"""Records what six real nodes report in each situation of `tests/fleet/test_situations.py`.

As root: `python -m tests.fleet.record_situations [NAME...]`, after a change of the reports' schema. It builds a fleet,
strikes, runs `preflight fleet`, and writes the reports as they came, packed, with the holes.
"""

import gzip
import json
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from preflight.fleet.engine import Access, engine
from preflight.fleet.hosts import read_hosts
from preflight.fleet.outcome import Step
from preflight.fleet.run import FleetRun, Found, Wish
from preflight.fleet.schedule import Pairs
from preflight.lab import fleet, labs
from preflight.lab.names import ROUTER, LabNames
from preflight.lab.processes import run
from preflight.report.json import render
from preflight.report.model import Report

FOLDER = Path(__file__).parent / "situations"
FLEET = "fleet-6"
_INPUT = "nft add table inet cut; nft add chain inet cut input '{ type filter hook input priority 0; }'"
_HEALED = "nft delete table inet cut"
_LARGE = 1300


@dataclass(frozen=True)
class Situation:
    """What is done before a run and after it: a node, or the router, and a script each."""

    strike: tuple[tuple[str, str], ...]
    heal: tuple[tuple[str, str], ...]


def situations(plan: fleet.FleetPlan) -> dict[str, Situation]:
    """Each by its name."""
    tunnel, n2 = plan.names.tunnel("n3"), fleet.overlay_address("n2")
    dead = f"{_INPUT}; nft add rule inet cut input ip saddr {n2} drop"
    hole = f"{_INPUT}; nft add rule inet cut input iifname eth0 meta length '>' {_LARGE} drop"
    slow = "tc qdisc add dev eth0 root tbf rate 48kbit burst 1600 limit 4000"
    # A gentle run fits on a slow line: it shows what else the node sends, in the queue before it.
    fill = "timeout 400 ping -q -i 0.008 -s 56 10.202.4.1 >/dev/null 2>&1 & echo $! >/run/filler.pid"
    idle = "kill $(cat /run/filler.pid) || true; rm /run/filler.pid; tc qdisc del dev eth0 root"
    return {
        "overlay-down": Situation(
            (("n3", f"ip link set {tunnel} down"),),
            (("n3", f"ip link set {tunnel} up"),),
        ),
        "direction-dead": Situation((("n4", dead),), (("n4", _HEALED),)),
        "black-hole": Situation((("n4", hole),), (("n4", _HEALED),)),
        "uplink-slow": Situation((("n4", f"{slow}; {fill}"),), (("n4", idle),)),
        "node-missing": Situation(
            ((ROUTER, "ip link set to-n3 down"), ("n3", "sshd down")),
            ((ROUTER, "ip link set to-n3 up"), ("n3", "sshd up")),
        ),
    }


def main(*wanted: str) -> None:
    """Record the situations of these names, or all."""
    name = f"fleet-{secrets.token_hex(3)}"
    labs.take_up(name, FLEET, None)
    plan = fleet.FleetPlan.of(LabNames.of(name), FLEET)
    try:
        for called, situation in situations(plan).items():
            if not wanted or called in wanted:
                with struck(plan, situation):
                    save(called, measured(plan, Pairs()))
        if not wanted or "contradiction" in wanted:
            with struck(plan, situations(plan)["direction-dead"]):
                before = measured(plan, Pairs(node="n2"))
            after = measured(plan, Pairs(node="n4"))
            said = [*of("n2", before), *of("n4", after)]
            save("contradiction", Found(said, names=before.names))
    finally:
        labs.take_down(name)


@contextmanager
def struck(plan: fleet.FleetPlan, situation: Situation) -> Iterator[None]:
    """The situation during the body."""
    for node, script in situation.strike:
        do(plan, node, script)
    try:
        yield
    finally:
        for node, script in situation.heal:
            do(plan, node, script)


def do(plan: fleet.FleetPlan, node: str, script: str) -> None:
    """Run a script on a node, not by SSH; or stop or start its sshd."""
    special: dict[str, Callable[[fleet.FleetPlan, str], None]] = {
        "sshd down": fleet.stop_sshd,
        "sshd up": fleet.start_sshd,
    }
    if script in special:
        special[script](plan, node)
    else:
        run(plan.command(node, ["sh", "-ec", script]))


def measured(plan: fleet.FleetPlan, pairs: Pairs) -> Found:
    """What a run finds."""
    with engine(secrets.token_hex(8), Access(str(plan.inventory)), lambda: False) as made:
        hosts = read_hosts(made.inventory())
        return FleetRun(made, hosts, Wish(pairs), lambda: False, tell, print).run()


def of(node: str, found: Found) -> list[Report]:
    """The reports of one node alone."""
    return [report for report in found.reports if report.run.node.hostname == node]


def tell(step: Step) -> None:
    """Say what failed."""
    if step.kind != "ok":
        print(step.host, step.task, step.result)


def save(name: str, found: Found) -> None:
    """Write the reports of a run."""
    holes = [{"node": hole.node, "code": hole.code.slug, "message": hole.message} for hole in found.holes.values()]
    reports = [json.loads(render(report)) for report in found.reports]
    document = {"names": found.names, "holes": holes, "reports": reports}
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json.gz").write_bytes(gzip.compress(json.dumps(document).encode(), mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
