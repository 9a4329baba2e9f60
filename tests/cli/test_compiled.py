"""What `dataclass` compiled is kept, and nothing that may be wrong with the file reaches the program."""

import marshal
import os
import subprocess
import sys
from pathlib import Path

from preflight.cli.compiled import Kept

TEXT = "def answer():\n return 42\n"
PROGRAM = """
import dataclasses, sys
from preflight.cli.compiled import keep
kept = keep()

@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 2

one, same = Point(1), Point(1, 2)
assert (one, hash(one), repr(one)) == (same, hash(same), 'Point(x=1, y=2)') and one != Point(2)
try:
    one.x = 3
except dataclasses.FrozenInstanceError:
    kept.save()
"""


def _answer(kept: Kept) -> object:
    names: dict[str, object] = {}
    kept.execute(TEXT, {}, names)
    return names["answer"]()  # type: ignore[operator] # what the text defines


def _kept(path: Path) -> Kept:
    kept = Kept(path)
    assert _answer(kept) == 42
    kept.save()
    return kept


def _run(folder: Path, *options: str) -> list[Path]:
    """Run the program with its compiled modules in a folder; what it kept there."""
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, *options, "-c", PROGRAM], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return list(folder.rglob("*.texts*"))


def test_a_second_start_compiles_nothing(tmp_path: Path) -> None:
    """The file stays the one that the first start wrote: it would be replaced if there were anything new."""
    (first,) = _run(tmp_path)
    written = first.stat().st_ino, first.stat().st_mtime_ns
    (second,) = _run(tmp_path)
    assert (second.stat().st_ino, second.stat().st_mtime_ns) == written


def test_where_python_keeps_nothing_nothing_is_kept(tmp_path: Path) -> None:
    """`python -B` promises not to write next to the modules."""
    assert _run(tmp_path, "-B") == []


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    """A full disk or a crash of the machine may leave half of it: the program starts, and writes it again."""
    path = tmp_path / "kept"
    _kept(path)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"\x00" + whole, marshal.dumps(1)):
        path.write_bytes(damaged)
        _kept(path)
        assert path.read_bytes() == whole


def test_what_another_interpreter_compiled_is_not_taken(tmp_path: Path) -> None:
    """Its codes would crash this one."""
    path = tmp_path / "kept"
    path.write_bytes(marshal.dumps(("2.7", {TEXT: b"nonsense"})))
    _kept(path)
    assert marshal.loads(path.read_bytes())[0].startswith(sys.version)


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """As for a user whose program root installed."""
    assert _answer(_kept(tmp_path / "nowhere" / "kept")) == 42
