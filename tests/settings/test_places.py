"""Where workers of a node keep their settings, as they read them."""

from pathlib import Path

from preflight.model.token import SwitchedOff, UnreadLine
from preflight.settings.places import SCOPE, TOKEN, URL, WorkerFile, switched_off, worker_files


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_order_of_the_files(tmp_path: Path) -> None:
    """The folders of the variables, then the current one, then the home, then the pairing's file and the projects'."""
    work, here, home = tmp_path / "work", tmp_path / "here", tmp_path / "home"
    expected = [
        write(work / ".vox/populi/mesh.env", f"{TOKEN}=a\n"),
        write(here / ".vox/populi/mesh.env", f"{TOKEN}=b\n"),
        write(home / ".vox/populi/mesh.env", f"{TOKEN}=c\n"),
        write(home / ".vox/config.toml", '[mesh]\ntoken = "d"\nscope_id = "s"\n'),
        write(here / "Vox.toml", '[mens]\ncontrol_url = "http://10.0.0.1:9847"\n'),
    ]
    found = worker_files({"VOX_WORKSPACE_ROOT": str(work), "HOME": str(home)}, here)
    assert [file.path for file in found] == expected
    assert [file.values.get(TOKEN) for file in found] == ["a", "b", "c", "d", None]
    assert (found[3].values[SCOPE], found[4].values[URL]) == ("s", "http://10.0.0.1:9847")
    assert (
        "a" not in repr(found[0]).replace(str(found[0].path), "").replace("values", "").replace("path", "").lower()[:4]
    )


def test_lines_are_read_as_workers_read_them(tmp_path: Path) -> None:
    """Comments and blanks do not count, quotes belong to the value, the first line of a name wins."""
    write(tmp_path / ".vox/populi/mesh.env", f'# {TOKEN}=no\n {TOKEN} = "x" \n{TOKEN}=later\n{SCOPE}=\nnonsense\n')
    (file,) = worker_files({}, tmp_path)
    assert file.values == {TOKEN: '"x"'}


def test_what_only_a_shell_reads_is_known(tmp_path: Path) -> None:
    """Workers pass over a name behind export or a byte order mark, but not over the end of a line of Windows."""
    text = f"\ufeff{TOKEN}=t\r\nexport {URL}=http://a\nexport {URL}=http://b\r\n{SCOPE}=s\r\nexport {SCOPE}=other\n"
    path = write(tmp_path / ".vox/populi/mesh.env", text)
    (file,) = worker_files({}, tmp_path)
    assert (file.values[SCOPE], file.values.get(TOKEN), file.values.get(URL)) == ("s", None, None)
    assert file.unread == (UnreadLine(path, TOKEN, "BOM", "t"), UnreadLine(path, URL, "export", "http://b"))
    assert "http" not in repr(file)


def test_the_place_that_wins_says_whether_workers_join(tmp_path: Path) -> None:
    """The environment over files, and each spelling of no."""
    file = WorkerFile(tmp_path / "mesh.env", {"VOX_MESH_HTTP_JOIN": "Off"})
    assert switched_off({}, [file]) == SwitchedOff("VOX_MESH_HTTP_JOIN", "Off", file.path)
    assert switched_off({"VOX_MESH_HTTP_JOIN": "1"}, [file]) is None
    assert switched_off({"VOX_MESH_ENABLED": "false"}, []) == SwitchedOff("VOX_MESH_ENABLED", "false")
    assert switched_off({"VOX_MESH_HTTP_JOIN": " "}, []) is None


def test_what_cannot_be_read_counts_as_absent(tmp_path: Path) -> None:
    """A broken file of the worker's ends no run of this program."""
    write(tmp_path / ".vox/config.toml", "mesh = [")
    write(tmp_path / "Vox.toml", "mesh = 3\nmens = 4\n")
    (tmp_path / ".vox/populi/mesh.env").mkdir(parents=True)
    found = worker_files({"HOME": str(tmp_path)}, tmp_path)
    assert [dict(file.values) for file in found] == [{}]


def test_keys_with_a_dot_count_too(tmp_path: Path) -> None:
    """A pairing may write its keys as one word."""
    write(tmp_path / ".vox/config.toml", '"mesh.token" = "t"\n')
    (file,) = worker_files({"HOME": str(tmp_path)}, tmp_path / "elsewhere")
    assert file.values == {TOKEN: "t"}
