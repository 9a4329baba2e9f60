"""When the numbers of a benchmark are void, and that it finds all its areas."""

from importlib import import_module

import pytest

from benchmarks import startup
from benchmarks.__main__ import AREAS, LONG, NOT_MEASURED, _measured
from benchmarks.broken import FEW_OF_THEM
from benchmarks.labs import LabRun
from benchmarks.measure import Row
from benchmarks.quiet import QUIET, remark, share
from benchmarks.redact import CHECKS, WAYS, mesh
from preflight.lab.scenarios import SCENARIOS


@pytest.mark.parametrize(
    ("after", "taken"),
    [
        ("cpu 10 0 5 185 0 0 0 0 0 0", 0.0),  # all idle
        ("cpu 10 0 5 135 50 0 0 0 0 0", 0.0),  # waiting for a disk is nobody's work
        ("cpu 40 0 15 145 0 0 0 0 0 0", 0.4),
        ("cpu 10 0 5 135 0 0 0 50 0 0", 0.5),  # taken away by the machine around this one
        ("cpu 10 0 5 85 0 0 0 0 0 0", 0.0),  # no time has passed
    ],
)
def test_what_others_take_is_seen(after: str, taken: float) -> None:
    """A time that was measured next to other work says nothing about this program."""
    before = "cpu 10 0 5 85 0 0 0 0 0 0\ncpu0 1 0 0 9 0 0 0 0 0 0\n"
    assert share(before, after + "\n") == pytest.approx(taken)


def test_only_a_busy_machine_is_remarked_on() -> None:
    """Busy before or behind the measurements is enough; a quiet one needs no remark."""
    assert remark(QUIET / 2, QUIET) is None
    assert "50%" in (remark(0.0, 0.5) or "")
    assert "void" in (remark(0.9, 0.0) or "")


def test_every_area_has_its_module() -> None:
    """A name in the help that leads nowhere would be found after minutes of measuring."""
    assert set(AREAS) > LONG
    assert all(callable(import_module(module).rows) for module in AREAS.values())


def test_a_quick_look_at_broken_labs_has_rows_of_the_matrix() -> None:
    """Each name is a scenario with a fault."""
    assert all(SCENARIOS[name].is_broken for name in FEW_OF_THEM)


def test_the_slowest_checks_are_named() -> None:
    """A row that misses its goal says where the time went; several results of a check took the longest of them."""
    took = [("reach.udp", 1000.0), ("udp.quality", 800.0), ("reach.udp", 5600.0), ("host.clock", 10.0), ("a", 1.0)]
    results = [{"check": check, "duration_ms": spent} for check, spent in took]
    run = LabRun(9.0, 1.0, {"diagnosis": [{"code": "reach.unreachable"}], "results": results})
    assert run.slowest == "reach.udp 5.6, udp.quality 0.8, host.clock 0.0"
    assert run.codes == {"reach.unreachable"}


def test_the_mesh_to_redact_is_whole() -> None:
    """As many results as a run of that many peers gives, each peer with its own name and address."""
    found = mesh(3)
    assert len(found.results) == 3 * len(CHECKS) * len(WAYS)
    assert len({peer.address for peer in found.run.peers}) == 3
    assert len({result.id for result in found.results}) == len(found.results)


def test_an_area_that_breaks_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that is missing in the middle of a run does not take the table away."""

    def broken() -> list[Row]:
        raise RuntimeError("iperf3 … ended with 1")

    monkeypatch.setattr(startup, "rows", broken)
    (row,) = _measured("startup")
    assert (row.area, row.name, row.correct) == ("startup", NOT_MEASURED, False)
    assert "iperf3" in row.note
