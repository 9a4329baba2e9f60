"""The numbers of commits: one file of results for each in docs/bench, and a page with curves made from all of them.

`bin/bench --record` adds what it measured, from committed code only. `python -m benchmarks.history` writes the page
again, as `bin/docs` does.
"""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import Row
from preflight.files import write

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "bench"
PAGE = "README.md"
MEASURED = ("preflight", "checks", "benchmarks", "bin", "requirements", "pyproject.toml")
"""What makes the numbers: a change in any of it that is not committed belongs to no commit."""
SHORT = 10
"""Digits of a commit in file names and tables."""
FEWEST_POINTS = 2
"""A curve has at least as many."""
HEAD = """# Measured, commit by commit

*Written by `bin/bench --record` and `bin/docs` from the files in this folder; a test holds it to them.*

`bin/bench AREA… --record` measures the code of the commit that is checked out and writes `COMMIT.json` here. It refuses
where code is changed and not committed. Numbers that were measured on a busy machine, with a choice of runs only
(`--quick`), or not at all have no point in a curve: their rows say so. Ratios and counts may hold even there."""


class UncommittedError(Exception):
    """The code that would be measured belongs to no commit."""


@dataclass(frozen=True, slots=True)
class Area:
    """What one area gave. remark: why its times are void; quick: whether only a choice was measured."""

    rows: tuple[Mapping[str, Any], ...]
    remark: str | None = None
    quick: bool = False

    @property
    def whole(self) -> bool:
        """Whether its numbers belong into a curve."""
        return self.remark is None and not self.quick


@dataclass(frozen=True, slots=True)
class Results:
    """All that was measured of one commit. committed: its time, ISO 8601. machine: on what it was measured."""

    commit: str
    committed: str
    machine: str
    areas: Mapping[str, Area] = field(default_factory=dict)

    def with_area(self, name: str, area: Area) -> "Results":
        """The same with an area measured again."""
        return Results(self.commit, self.committed, self.machine, {**self.areas, name: area})

    def as_json(self) -> str:
        """The file's content."""
        areas = {
            name: {"remark": area.remark, "quick": area.quick, "rows": list(area.rows)}
            for name, area in sorted(self.areas.items())
        }
        document = {"commit": self.commit, "committed": self.committed, "machine": self.machine, "areas": areas}
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def read(text: str) -> Results:
    """The results in a file's content."""
    found = json.loads(text)
    areas = {name: Area(tuple(each["rows"]), each["remark"], each["quick"]) for name, each in found["areas"].items()}
    return Results(found["commit"], found["committed"], found["machine"], areas)


def checked_out() -> Results:
    """The commit whose code would be measured, with what was measured of it before.

    Raises UncommittedError where that code is not the commit's.
    """
    changed = _git("status", "--porcelain", "--", *MEASURED)
    if changed:
        raise UncommittedError(f"only committed code is recorded, and this is not committed:\n{changed.rstrip()}")
    commit, committed = _git("log", "-1", "--format=%H %cI").split()
    file = FOLDER / f"{commit[:SHORT]}.json"
    if file.exists():
        return read(file.read_text(encoding="utf-8"))
    return Results(commit, committed, f"{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}")


def record(results: Results, name: str, rows: Iterable[Row], remark: str | None, *, quick: bool) -> Results:
    """Add an area to the file of its commit. Raises `preflight.files.WriteError`."""
    added = results.with_area(name, Area(tuple(row.as_dict() for row in rows), remark, quick))
    FOLDER.mkdir(parents=True, exist_ok=True)
    write(FOLDER / f"{results.commit[:SHORT]}.json", added.as_json())
    return added


def stored(folder: Path = FOLDER) -> list[Results]:
    """The results of all commits, the oldest first."""
    found = [read(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    return sorted(found, key=lambda results: results.committed)


def page(history: Sequence[Results]) -> str:
    """The page, from the results of all commits."""
    names = sorted({name for results in history for name in results.areas})
    blocks = [HEAD, *(block for name in names for block in _area(name, history))]
    return "\n\n".join(blocks) + "\n"


def _area(name: str, history: Sequence[Results]) -> Iterator[str]:
    measured = [results for results in history if name in results.areas]
    latest = measured[-1]
    area = latest.areas[name]
    yield f"## {name}"
    void = [word for word in (area.remark, "a choice of runs (`--quick`)" if area.quick else None) if word]
    said = f"`{latest.commit[:SHORT]}`, {latest.committed[:10]}, {latest.machine}"
    yield f"{said}: {'; '.join(void)}." if void else f"{said}."
    head = ["| What | Ours | Theirs | Ratio | Target | Met |", "| --- | --- | --- | --- | --- | --- |"]
    yield "\n".join([*head, *map(_row, area.rows)])
    for row in area.rows:
        yield from _curve(name, row, measured)


def _row(row: Mapping[str, Any]) -> str:
    ours = "–" if row["ours"] is None else f"{row['ours']:g} {row['unit']}".strip()
    theirs = (row["peer"] or "") if row["theirs"] is None else f"{row['theirs']:g} ({row['peer']})"
    ratio = "" if row["ratio"] is None else f"{row['ratio']:g}"
    met = "" if row["target"] is None else "yes" if row["met"] else "no"
    cells = (row["name"], ours, theirs, ratio, row["target"] or "", met)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _curve(name: str, row: Mapping[str, Any], measured: Sequence[Results]) -> Iterator[str]:
    """The number over the commits of which it is known, as a chart of Mermaid, which GitHub and GitLab draw."""
    points = [
        (results.commit[:SHORT], each["ours"])
        for results in measured
        if results.areas[name].whole
        for each in results.areas[name].rows
        if (each["name"], each["unit"], each["peer"]) == (row["name"], row["unit"], row["peer"])
        and each["ours"] is not None
    ]
    if len(points) < FEWEST_POINTS:
        return
    title = row["name"].replace('"', "'") + (f" against {row['peer']}" if row["peer"] else "")
    commits, values = ", ".join(f'"{commit}"' for commit, _ in points), ", ".join(f"{value:g}" for _, value in points)
    yield "\n".join(
        [
            "```mermaid",
            "xychart-beta",
            f'  title "{title}"',
            f"  x-axis [{commits}]",
            f'  y-axis "{row["unit"] or "number"}"',
            f"  line [{values}]",
            "```",
        ]
    )


def write_page() -> None:
    """Write the page again. Raises `preflight.files.WriteError`."""
    write(FOLDER / PAGE, page(stored()))


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    write_page()
