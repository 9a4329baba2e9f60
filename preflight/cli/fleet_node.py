"""`python -m preflight.cli.fleet_node RUN_FOLDER NUMBER`: one node's part of a fleet run, as the agent starts it.

It waits for the start of each of its rounds, measures the round's peer, and writes one report about all of them. Who
comes late to a round still ends with it. A round of which too little is left is left out: it would disturb the pairs
of the rounds after it.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from gzip import compress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from preflight.cli.commandline import LONGEST_S
from preflight.cli.ending import interruption, run_to_end
from preflight.cli.exporter import halves
from preflight.cli.request import Request
from preflight.cli.session import Session
from preflight.engine.runner import Outcome
from preflight.fleet.remote.agent import appears, loaded, write
from preflight.overlay.links import read_links
from preflight.report import json as as_json
from preflight.report.condense import condensed, slim
from preflight.report.node import with_tunnels

if TYPE_CHECKING:
    from preflight.api import Peer, Result
    from preflight.model.overlay import OverlayState
    from preflight.report.model import Report

CHECKS = ("host.*", "overlay.*", "way.*", "reach.*", "mtu.*", "udp.*")
"""What a fleet measures: the nodes and the ways between them, not the control plane."""
_LAST_MOMENT_S = 0.5
"""A measurement ends this long before the next round starts."""
_LEAST = 0.5
"""The part of a round that a measurement needs."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One round of this node: when it starts, by this node's clock that nobody sets, and whom it measures.

    at_s: None: when the one before has ended.
    """

    at_s: float | None
    peer: str


@dataclass(frozen=True, slots=True)
class Orders:
    """A schedule. limit_s: the length of a round. first: whether the node itself is looked at too.

    turns: None: every peer of the settings, one after the other. joined: the report is only read with those of others.
    """

    turns: tuple[Turn, ...] | None
    limit_s: float
    first: bool
    joined: bool = False

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "Orders":
        """As the controller writes it, or a playbook."""
        turns = None
        if "turns" in document:
            turns = tuple(Turn(float(each["at_s"]), str(each["peer"])) for each in document["turns"])
        return cls(turns, float(document["limit_s"]), bool(document["first"]), bool(document.get("joined")))


class Collected:
    """The results of several runs, each the latest of its id."""

    def __init__(self) -> None:
        self.results: dict[str, Result] = {}
        self.overlay: OverlayState | None = None
        self.measured: list[Peer] = []

    def add(self, outcome: Outcome, overlay: "OverlayState | None") -> None:
        """What one run found."""
        self.results.update({result.id: result for result in outcome.results})
        self.overlay = overlay or self.overlay


async def follow(session: Session, orders: Orders, clock: Callable[[], float] = monotonic) -> "Report":
    """Measure each turn's peer in its round; the report on all."""
    interrupted, began, started_at = interruption(), monotonic(), datetime.now(UTC)
    path, node = (replace(session, plan=plan) for plan in halves(session.plan))
    collected = Collected()
    # What it finds on the node itself sends nothing to peers, so it disturbs no round.
    own = asyncio.create_task(node.outcome(interrupted)) if orders.first else None
    peers = {peer.address: peer for peer in session.settings.peers}
    turns = tuple(Turn(None, address) for address in peers) if orders.turns is None else orders.turns
    for turn in turns:
        at_s = clock() if turn.at_s is None else turn.at_s
        await asyncio.sleep(max(0.0, at_s - clock()))
        left_s = at_s + orders.limit_s - clock()
        if left_s < orders.limit_s * _LEAST:
            continue
        peer = peers[turn.peer]
        request = replace(session.request, timeout=left_s - _LAST_MOMENT_S)
        settings = replace(session.settings, peers=(peer,))
        collected.add(*await replace(path, settings=settings, request=request).outcome(interrupted))
        collected.measured.append(peer)
    if own is not None:
        collected.add(*await own)
    whole = replace(session, settings=replace(session.settings, peers=tuple(collected.measured)))
    outcome = Outcome(tuple(collected.results.values()), interrupted=interrupted.is_set())
    report = whole.reported(outcome, collected.overlay, started_at, monotonic() - began)
    return await _detailed(report, collected.overlay)


async def _detailed(report: "Report", overlay: "OverlayState | None") -> "Report":
    """The same with what `fleet lint` compares."""
    if overlay is None or report.run.overlay is None:
        return report
    detailed = with_tunnels(report.run.overlay, overlay, await read_links())
    return report.model_copy(update={"run": report.run.model_copy(update={"overlay": detailed})})


def main(folder: Path, number: str) -> int:
    """Follow the schedule of that number, and write the report next to it."""
    write(folder / loaded(number), b"")
    if not appears(folder / f"go-{number}", LONGEST_S):
        return 1
    orders = Orders.read(json.loads((folder / f"go-{number}").read_bytes()))
    request = Request(command=("preflight", "fleet"), config=folder / "preflight.yaml", only=CHECKS, quiet=True)
    session = Session.prepare(request)
    report = run_to_end(follow(session, orders))
    redacted = session.redactor(session.names(report)).report(report)
    kept = redacted
    if orders.joined:
        kept = condensed(slim(redacted)) if orders.first else slim(redacted)
    write(folder / f"report-{number}", compress(as_json.render(kept).encode(), mtime=0))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
