"""The kernel's own bad link, netem, in place of ours: the same packets, so the same judgement."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from preflight.files import Attempts
from preflight.lab.faults import Fault
from preflight.lab.matrix import Matrix
from preflight.lab.names import ROUTER
from preflight.lab.network import router_link
from preflight.lab.processes import run
from preflight.lab.scenarios import scenario_called

if TYPE_CHECKING:
    from preflight.lab.network import Network

pytestmark = [pytest.mark.vm, pytest.mark.lab, pytest.mark.timeout(600)]


def netem(target: str, *words: str) -> Fault:
    """What the router sends to `target` passes a netem queue."""

    def inject(network: "Network") -> None:
        queue = ["qdisc", "add", "dev", router_link(target), "root", "netem", *words]
        run(network.command(ROUTER, "tc", *queue))

    return Fault(f"netem {' '.join(words)} to {target}", inject=inject)


@pytest.mark.parametrize(
    ("row", "links"),
    [
        ("healthy-80ms", (netem("a", "delay", "40ms"), netem("b", "delay", "40ms"))),
        ("loss-forward", (netem("b", "loss", "5%"),)),
        # Four of five packets overtake those that wait: what our link does to one of five.
        ("reordering", (netem("b", "delay", "50ms", "reorder", "80%"),)),
    ],
)
def test_netem_is_judged_as_our_link_is(row: str, links: tuple[Fault, ...], tmp_path: Path) -> None:
    """Rows of the lab are right with links that we wrote; a link that we did not write must get the same cause."""
    ours = scenario_called(row)
    assert ours is not None
    attempts = Attempts()
    scenario = replace(ours, name=f"netem-{row}", faults=links)
    (outcome,), interrupted = Matrix([scenario], repeat=1, jobs=1, reports=tmp_path, attempts=attempts).run(print)
    assert not interrupted
    assert outcome.good, outcome
