"""Tests that share something dear run on one worker."""

from pathlib import Path

import pytest

from tests.grouping import ROOT, Grouped, group_of

TESTS = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
MARKED = [path for path in TESTS if "xdist_group(" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", MARKED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_group_of_a_file_is_found(path: Path) -> None:
    """Protects the time of the suite: a mark that is written in another way would be overlooked in silence."""
    assert group_of(str(path.relative_to(ROOT)))


def test_a_group_is_one_scope() -> None:
    """Protects shared servers from being started once for each worker; other tests go wherever there is room."""
    scheduler = object.__new__(Grouped)
    bodies, requests = (f"tests/attack/test_control_plane_{name}.py::test_it" for name in ("bodies", "requests"))
    assert scheduler._split_scope(bodies) == scheduler._split_scope(f"{requests}[x-y]") == "attacked control plane"
    assert scheduler._split_scope("tests/test_api.py::test_it[a]") == "tests/test_api.py::test_it[a]"
