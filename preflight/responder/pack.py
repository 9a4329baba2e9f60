"""The responder as one file: a zip of this program's own modules, which `python3 FILE` runs with its library alone.

The modules are those that `packed` reaches by its imports, so nothing is written twice. Only what a package's own
`__init__` holds stays behind: no module of the pack uses that of `preflight.net`, which reaches everything. Of another
distribution it has one codec, aioice's of STUN, with its licence. The same modules always give the same bytes.
"""

import ast
import io
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

from preflight.files import write
from preflight.proto.responder.remote_words import OLDEST

START = "preflight.responder.packed"
PROGRAM = "preflight"
CODEC = "aioice"
CODEC_FILES = ("stun.py", "utils.py")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16
_SHEBANG = b"#!/usr/bin/env python3\n"
_LATER_ANNOTATIONS = "from __future__ import annotations; "
"""Before the first line, so that lines keep their numbers: types are written as newer Pythons read them."""
_MAIN = f"""import sys

if sys.version_info < {OLDEST}:
    sys.exit("this needs Python {".".join(map(str, OLDEST))} or newer, and this is " + sys.version.split()[0])
if sys.version_info < (3, 10):
    import dataclasses

    _plain = dataclasses.dataclass

    def _older(cls=None, slots=False, kw_only=False, **options):
        if cls is None:
            return lambda cls: _older(cls, kw_only=kw_only, **options)
        if kw_only:
            cls.__annotations__ = dict(sorted(cls.__annotations__.items(), key=lambda field: hasattr(cls, field[0])))
        return _plain(cls, **options)

    dataclasses.dataclass = _older

from {START} import main

sys.exit(main(sys.argv[1:]))
"""


def write_pack(path: Path) -> None:
    """Write the responder as one file. Raises `preflight.files.WriteError`."""
    write(path, pack())


@cache
def pack() -> bytes:
    """The file's content."""
    buffer = io.BytesIO(_SHEBANG)
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, text in sorted(_members().items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr, entry.compress_type = _MODE, zipfile.ZIP_DEFLATED
            archive.writestr(entry, text)
    return buffer.getvalue()


def _members() -> dict[str, str]:
    members = {"__main__.py": _MAIN, **_codec()}
    for module in reached(START):
        name = module.replace(".", "/")
        if _is_package(module):
            members[f"{name}/__init__.py"] = ""
        else:
            members[f"{name}.py"] = _LATER_ANNOTATIONS + _source(module)
    return members


def _codec() -> dict[str, str]:
    """The files of another distribution's codec, and its licence, which its authors want to go with it."""
    found = distribution(CODEC)
    members = {f"{CODEC}/__init__.py": ""}
    for file in found.files or ():
        if file.name in CODEC_FILES and file.parent.name == CODEC:
            members[f"{CODEC}/{file.name}"] = _LATER_ANNOTATIONS + file.read_text(encoding="utf-8")
        elif "LICENSE" in file.name.upper():
            members[f"{CODEC}-LICENSE"] = file.read_text(encoding="utf-8")
    return members


def reached(start: str) -> list[str]:
    """The modules of this program that one reaches by its imports, with their packages, those inside functions too.

    What only a type checker imports does not count. Raises ValueError where it reaches a package's own content, or
    another distribution than the codec's.
    """
    found: set[str] = set()
    waiting = [start]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            parent = module.rpartition(".")[0]
            waiting += [parent] if parent else []
            waiting += [] if _is_package(module) else _own(module)
    return sorted(found)


def _own(module: str) -> list[str]:
    """The modules of this program that a module imports itself."""
    imported = set(imports(ast.parse(_source(module))))
    others = {name.partition(".")[0] for name in imported} - {PROGRAM, CODEC, *sys.stdlib_module_names}
    if others:
        raise ValueError(f"{module} imports {', '.join(sorted(others))}, which the responder in one file has not")
    ours = {name for name in imported if name.startswith(f"{PROGRAM}.")}
    content = {name for name in ours if _is_package(name.rpartition(".")[0]) and not _exists(name)}
    if content:
        raise ValueError(f"{module} imports {', '.join(sorted(content))}, which is in a package's own file")
    return sorted(filter(_exists, ours))


def imports(tree: ast.AST) -> Iterator[str]:
    """The names that code imports when it runs: modules, and `module.name` of what is taken from one."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        if isinstance(node, ast.stmt):
            yield from imports(node)


def _place(module: str) -> Path:
    """Where a module's file would be, without `.py`, or a package's folder."""
    return Path(__file__).parents[1].joinpath(*module.split(".")[1:])


def _is_package(module: str) -> bool:
    return _place(module).is_dir()


def _exists(module: str) -> bool:
    return _is_package(module) or _place(module).with_suffix(".py").is_file()


def _source(module: str) -> str:
    return _place(module).with_suffix(".py").read_text(encoding="utf-8")
