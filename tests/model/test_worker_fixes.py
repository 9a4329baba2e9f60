"""What a fix does to a line of `mesh.env`, done by sed."""

import subprocess
from pathlib import Path

import pytest

from preflight.model.worker_fixes import WorkersLine
from preflight.settings.places import worker_files

TOKEN, URL, SCOPE = "VOX_MESH_TOKEN", "VOX_MESH_CONTROL_ADDR", "VOX_MESH_SCOPE_ID"
FILE = ".vox/populi/mesh.env"


def mended(folder: Path, text: str, **parameters: object) -> str:
    """The text of the file after the fix."""
    path = folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    (command,) = WorkersLine(file=str(path), **parameters).commands  # type: ignore[arg-type]
    subprocess.run(command, check=True)
    return path.read_bytes().decode()


@pytest.mark.parametrize(
    ("before", "rids", "after"),
    [
        (f"# a\nexport {TOKEN}=abc\n{URL}=u\n", (), f"# a\n{TOKEN}=abc\n{URL}=u\n"),
        (f"\ufeff{TOKEN}=abc\n{URL}=u\n", (), f"{TOKEN}=abc\n{URL}=u\n"),
        (f'  export {TOKEN} = "abc"  \n', ("white space", "quotes"), f"{TOKEN}=abc\n"),
        (f"{TOKEN}=Bearer abc\nexport OTHER='x'\n", ("Bearer",), f"{TOKEN}=abc\nexport OTHER='x'\n"),
        (f"{TOKEN}_OLD=x\nexport {TOKEN}=abc=\n", (), f"{TOKEN}_OLD=x\n{TOKEN}=abc=\n"),
    ],
)
def test_a_line_is_left_as_workers_read_it(tmp_path: Path, before: str, rids: tuple[str, ...], after: str) -> None:
    """What surrounds its value goes, and other lines stay to the letter."""
    assert mended(tmp_path, before, name=TOKEN, rids=rids) == after


@pytest.mark.parametrize("text", ["a|b", "a&b", "a\\1b", "a b;c#d", "'x'", "/x/e"])
def test_another_value_is_written_to_the_letter(tmp_path: Path, text: str) -> None:
    """Nothing in a value is a word of sed, and workers then read exactly that."""
    mended(tmp_path, f"export {SCOPE}=old\n{URL}=http://a\n", name=SCOPE, value=text)
    (file,) = worker_files({}, tmp_path)
    assert (file.values[SCOPE], file.values[URL], file.unread) == (text, "http://a", ())


def test_a_token_is_never_a_parameter() -> None:
    """A report holds the fix, and must not hold a secret."""
    with pytest.raises(ValueError, match="does not fit"):
        WorkersLine(file="/m/mesh.env", name=TOKEN, value="abc")
    with pytest.raises(ValueError, match="does not fit"):
        WorkersLine(file="/m/mesh.env", name="PATH")
