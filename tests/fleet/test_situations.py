"""What the reports of real nodes say together: each fault is one cause, in the words of who knows it best.

`record_situations` recorded them in the lab. Nothing is blamed twice.
"""

import gzip
import json
from pathlib import Path

import pytest

from preflight.report.json import parse
from preflight.report.matrix import Hole, Matrix
from preflight.report.merge import merge
from preflight.report.model import Report

FOLDER = Path(__file__).parent / "situations"
NAMES = sorted(path.name.partition(".")[0] for path in FOLDER.iterdir())
NODES = ("n1", "n2", "n3", "n4", "n5", "n6")
TO_N4 = {(node, "n4") for node in NODES if node != "n4"}
OF_N3 = {ways for node in NODES if node != "n3" for ways in ((node, "n3"), ("n3", node))}


def recorded(name: str) -> tuple[list[Report], dict[str, str], list[Hole]]:
    """The reports of a situation, the names of its nodes by address, and the holes."""
    return read(FOLDER / f"{name}.json.gz")


def read(file: Path) -> tuple[list[Report], dict[str, str], list[Hole]]:
    """What was recorded in a file."""
    found = json.loads(gzip.decompress(file.read_bytes()))
    reports = [parse(json.dumps(report).encode()) for report in found["reports"]]
    return reports, found["names"], [Hole(**hole) for hole in found["holes"]]


def joined(name: str) -> Matrix:
    """The matrix of a situation."""
    return merge(*recorded(name))


@pytest.mark.parametrize(
    ("name", "subject", "code", "status", "ways"),
    [
        ("overlay-down", "everything to and from n3", "overlay.down", "fail", OF_N3),
        ("direction-dead", "n2 → n4", "host.firewall-drop", "fail", {("n2", "n4")}),
        ("black-hole", "everything to n4", "mtu.black-hole", "fail", TO_N4),
        ("uplink-slow", "everything from n4", "udp.jitter", "warn", {ends[::-1] for ends in TO_N4}),
        ("node-missing", "everything to and from n3", "reach.unreachable", "fail", OF_N3),
        ("contradiction", "n2 → n4", "reach.no-forward", "fail", {("n2", "n4")}),
    ],
)
def test_each_situation_is_one_cause(
    name: str, subject: str, code: str, status: str, ways: set[tuple[str, str]]
) -> None:
    """Protects the reader of many reports from as many alarms."""
    (finding,) = joined(name).findings
    assert (finding.subject, finding.code, finding.status) == (subject, code, status)
    assert set(finding.ways) == ways


def test_the_node_that_knows_its_fault_says_it() -> None:
    """Protects the remedy: it is for the node with the fault, not for one of those that miss it."""
    assert [joined(name).findings[0].by for name in ("overlay-down", "direction-dead", "black-hole")] == [
        "n3",
        "n4",
        "n4",
    ]


def test_a_missing_node_is_a_hole_that_the_others_saw_dead() -> None:
    """Protects from a matrix that looks whole: the hole has its reason, and what the peers saw stays."""
    matrix = joined("node-missing")
    assert matrix.silent == ("n3",)
    assert [(hole.node, hole.code) for hole in matrix.holes] == [("n3", "fleet.unreachable")]
    assert matrix.findings[0].seen_by == ("n1", "n2", "n4", "n5", "n6")


def test_what_two_reports_say_differently_is_shown_as_that() -> None:
    """Protects from a verdict by the report that happens to be read first: n4 heard what n2 calls dead."""
    ways = {(way.source, way.target): way for way in joined("contradiction").ways}
    assert [ends for ends, way in ways.items() if way.contradiction] == [("n2", "n4")]
    assert {view.by: view.status for view in ways["n2", "n4"].views} == {"n2": "fail", "n4": "pass"}
