"""Where the workers of this node keep their settings, other than the environment, as they read them; later ones lose.

`.vox/populi/mesh.env` below a few folders, `~/.vox/config.toml`, and `Vox.toml`. What cannot be read counts as absent,
as it does for a worker.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preflight.model.token import SwitchedOff
from preflight.settings.reading import bounded

TOKEN, SCOPE, URL = "VOX_MESH_TOKEN", "VOX_MESH_SCOPE_ID", "VOX_MESH_CONTROL_ADDR"
ENABLED, JOIN = "VOX_MESH_ENABLED", "VOX_MESH_HTTP_JOIN"
_NO = ("0", "false", "no", "off")
_ROOTS = ("VOX_WORKSPACE_ROOT", "VOX_REPO_ROOT")
_MESH_ENV = Path(".vox", "populi", "mesh.env")


@dataclass(frozen=True, slots=True)
class WorkerFile:
    """One such file: its values by the names of the same variables. `repr` shows none of them."""

    path: Path
    values: Mapping[str, str] = field(repr=False)


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
    found: dict[Path, Mapping[str, str]] = {}
    for base in folders:
        _add(found, base / _MESH_ENV, _lines)
    if home:
        _add(found, Path(home, ".vox", "config.toml"), _config)
    for base in folders[:-1] if home else folders:
        _add(found, base / "Vox.toml", _project)
    return tuple(WorkerFile(path, values) for path, values in found.items())


def _add(found: dict[Path, Mapping[str, str]], path: Path, read: Any) -> None:
    if path in found:
        return
    try:
        values = {name: value for name, value in read(bounded(path).decode("utf-8")) if value.strip()}
    except (OSError, ValueError):
        return
    found[path] = values


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """`NAME=value` lines; the worker takes white space away, and nothing else. The first line of a name counts."""
    seen = set()
    for line in text.split("\n"):
        name, sign, value = line.strip(" \t").partition("=")
        name = name.strip()
        if sign and not name.startswith("#") and name not in seen:
            seen.add(name)
            yield name, value.strip(" \t")


def _config(text: str) -> Iterator[tuple[str, str]]:
    """What `vox populi pair` writes: `mesh.token` and `mesh.scope_id`, as tables or as dotted keys."""
    document = tomllib.loads(text)
    for name, key in ((TOKEN, "token"), (SCOPE, "scope_id")):
        value = _table(document, "mesh").get(key, document.get(f"mesh.{key}"))
        if isinstance(value, str):
            yield name, value


def _project(text: str) -> Iterator[tuple[str, str]]:
    """`[mesh]`, or the older `[mens]`: the control URL and the scope id."""
    document = tomllib.loads(text)
    for name, key in ((URL, "control_url"), (SCOPE, "scope_id")):
        value = _table(document, "mesh").get(key, _table(document, "mens").get(key))
        if isinstance(value, str):
            yield name, value


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}
