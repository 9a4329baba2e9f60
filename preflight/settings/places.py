"""Where the workers of this node keep their settings, other than the environment, as they read them; later ones lose.

`.vox/populi/mesh.env` below a few folders, `~/.vox/config.toml`, and `Vox.toml`. What cannot be read counts as absent,
as it does for a worker.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preflight.model.token import SwitchedOff, UnreadLine
from preflight.settings.reading import bounded

TOKEN, SCOPE, URL = "VOX_MESH_TOKEN", "VOX_MESH_SCOPE_ID", "VOX_MESH_CONTROL_ADDR"
ENABLED, JOIN = "VOX_MESH_ENABLED", "VOX_MESH_HTTP_JOIN"
_READ = (TOKEN, SCOPE, URL)
_NO = ("0", "false", "no", "off")
_ROOTS = ("VOX_WORKSPACE_ROOT", "VOX_REPO_ROOT")
_MESH_ENV = Path(".vox", "populi", "mesh.env")
_UNREAD = re.compile(r"(\ufeff)?\s*(?:(export|set)\s+)?([A-Z_]+)\s*=(.*)")
"""A line that a shell or a person reads as a setting: a byte order mark, a word of the shell, the name, the text."""
_Value = tuple[str, str, str]
"""The variable, what the file calls it, and its text."""


@dataclass(frozen=True, slots=True)
class WorkerFile:
    """One such file: its values by the names of the same variables. `repr` shows none of them.

    keys: what the file itself calls a value, where that is not a variable's name. unread: what only a shell reads.
    """

    path: Path
    values: Mapping[str, str] = field(repr=False)
    keys: Mapping[str, str] = field(default_factory=dict)
    unread: tuple[UnreadLine, ...] = ()

    def place(self, name: str) -> str:
        """Where a value is, for a message."""
        return f"{self.keys.get(name, name)} in {self.path}"


def switched_off(environ: Mapping[str, str], files: Iterable[WorkerFile]) -> SwitchedOff | None:
    """Whether a worker of this node would join nothing: the place that wins says so."""
    for name in (ENABLED, JOIN):
        said = [(environ.get(name, "").strip(), None), *((file.values.get(name, ""), file.path) for file in files)]
        value, path = next(((text, path) for text, path in said if text), ("", None))
        if value.lower() in _NO:
            return SwitchedOff(name, value, path)
    return None


def worker_files(environ: Mapping[str, str], folder: Path) -> tuple[WorkerFile, ...]:
    """Those that exist, the strongest first. folder: where the command runs."""
    home = environ.get("HOME", "")
    roots = [environ.get(name, "").strip() for name in _ROOTS]
    folders = [*(Path(root) for root in roots if root), folder, *([Path(home)] if home else [])]
    found: dict[Path, WorkerFile] = {}
    for base in folders:
        _add(found, base / _MESH_ENV, _lines)
    if home:
        _add(found, Path(home, ".vox", "config.toml"), _config)
    for base in folders[:-1] if home else folders:
        _add(found, base / "Vox.toml", _project)
    return tuple(found.values())


def _add(found: dict[Path, WorkerFile], path: Path, read: Callable[[str], Iterable[_Value]]) -> None:
    if path in found:
        return
    try:
        text = bounded(path).decode("utf-8")
        values = [each for each in read(text) if each[2].strip()]
    except (OSError, ValueError):
        return
    keys = {name: key for name, key, _ in values if key != name}
    told = {name: value for name, _, value in values}
    unread = tuple(each for each in _unread(path, text) if each.name not in told) if read is _lines else ()
    found[path] = WorkerFile(path, told, keys, unread)


def _unread(path: Path, text: str) -> Iterator[UnreadLine]:
    """The lines that begin with something else than the name; of a name the last one, as in a shell."""
    lines = {}
    for line in text.split("\n"):
        match = _UNREAD.fullmatch(line.strip())
        if match and match[3] in _READ and match[4].strip() and (match[1] or match[2]):
            lines[match[3]] = UnreadLine(path, match[3], "BOM" if match[1] else match[2], match[4].strip())
    yield from lines.values()


def _lines(text: str) -> Iterator[_Value]:
    """`NAME=value` lines; the worker takes white space away, and nothing else. The first line of a name counts."""
    seen = set()
    for line in text.split("\n"):
        name, sign, value = line.strip().partition("=")  # the end of a line of Windows is white space too
        name = name.strip()
        if sign and not name.startswith("#") and name not in seen:
            seen.add(name)
            yield name, name, value.strip()


def _config(text: str) -> Iterator[_Value]:
    """What `vox populi pair` writes: `mesh.token` and `mesh.scope_id`, as tables or as dotted keys."""
    document = tomllib.loads(text)
    for name, key in ((TOKEN, "token"), (SCOPE, "scope_id")):
        value = _table(document, "mesh").get(key, document.get(f"mesh.{key}"))
        if isinstance(value, str):
            yield name, f"mesh.{key}", value


def _project(text: str) -> Iterator[_Value]:
    """`[mesh]`, or the older `[mens]`: the control URL and the scope id."""
    document = tomllib.loads(text)
    for name, key in ((URL, "control_url"), (SCOPE, "scope_id")):
        table = next((each for each in ("mesh", "mens") if key in _table(document, each)), "mesh")
        value = _table(document, table).get(key)
        if isinstance(value, str):
            yield name, f"{table}.{key}", value


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}
