"""The numbers of commits: what is recorded comes back, the page is that of its files, void numbers draw no curve."""

import subprocess
from pathlib import Path

import pytest

from benchmarks import history
from benchmarks.history import Area, Results, UncommittedError, page, read, stored
from benchmarks.measure import Row


def results(number: int, ours: float, **more: bool | str) -> Results:
    """Of one commit, with one row."""
    row = Row("load", "TCP up", ours, "Mbit/s", "iperf3", 10.0, ratio=ours / 10.0, target="within 5%", met=True)
    area = Area((row.as_dict(),), **more)  # type: ignore[arg-type]
    return Results(f"{number:040x}", f"2026-11-{number:02d}T12:00:00+00:00", "x86_64, 2 processors", {"load": area})


def test_what_is_written_is_read() -> None:
    """A file of results is the only memory of what was measured."""
    written = results(1, 9.5, remark="others take 80%", quick=True)
    assert read(written.as_json()) == written


def test_a_curve_has_the_quiet_commits() -> None:
    """A number of a busy machine, or of a choice of runs, says nothing about the code."""
    void = results(2, 3.0, remark="others take 80%"), results(3, 4.0, quick=True)
    text = page([results(1, 9.5), *void, results(4, 9.7)])
    assert "line [9.5, 9.7]" in text
    assert '"iperf3"' not in text
    assert "within 5%" in text


def test_a_void_number_says_so() -> None:
    """The newest numbers are shown in any case, with their remark."""
    text = page([results(1, 9.5), results(2, 3.0, remark="others take 80%")])
    assert "others take 80%" in text
    assert "xychart" not in text


def test_the_page_is_that_of_its_files() -> None:
    """`bin/docs` renews it after a merge of two branches that have both recorded."""
    found = stored()
    assert (history.FOLDER / history.PAGE).read_text(encoding="utf-8") == page(found)


def test_only_committed_code_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number must belong to a commit that others can check out."""
    monkeypatch.setattr(history, "ROOT", tmp_path)
    monkeypatch.setattr(history, "FOLDER", tmp_path / "docs" / "bench")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bench").write_text("one\n")
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.net")
    for words in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "One")):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    first = history.record(history.checked_out(), "load", [Row("load", "TCP up", 1.0, "Mbit/s")], None, quick=False)
    assert set(history.checked_out().areas) == {"load"}
    assert history.record(first, "mesh", [], None, quick=True).areas.keys() == {"load", "mesh"}
    (tmp_path / "bin" / "bench").write_text("two\n")
    with pytest.raises(UncommittedError, match="bin/bench"):
        history.checked_out()
