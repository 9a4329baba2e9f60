"""What a node gets: this program with its dependencies as one file, made from what the controller itself runs.

So a node needs no internet and no package index, and runs just the versions that are locked here. The price is that it
needs the controller's Python version and machine: some dependencies are compiled.
"""

import hashlib
import io
import platform
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import Distribution, distribution
from importlib.util import cache_from_source
from pathlib import Path

from preflight.engine.catalog import OURS
from preflight.fleet.remote import agent

_PACKAGES = ("preflight", "preflight_checks", "preflight_runbook")
NOT_ON_NODES = frozenset(
    {
        "detect-secrets",  # judges files of a repository
        "jinja2",  # HTML
        "junitparser",
        "prometheus-client",
        "pygments",  # rich colours source code with it
        "pyjwt",  # the control plane's own server, and what serves it and the exporter
        "starlette",
        "uvicorn",
    }
)
"""What nothing that a node runs imports: a third of all files."""
_ABOUT = ("METADATA", "entry_points.txt")
_HASH = 16
_CACHE = "__pycache__"
"""What is in it next to compiled modules changes with each command that was run here."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The file, and the name of the folder that it is unpacked into."""

    content: bytes
    name: str


def python_version() -> str:
    """This Python's version as a node must have it."""
    return "{}.{}".format(*sys.version_info[:2])


def machine() -> str:
    """This machine's architecture as a node must have it."""
    return platform.machine()


def known_of(delivery: Delivery, file: Path) -> dict[str, str]:
    """What the role `install` must know of a delivery that is in a file."""
    return {
        "install_delivery": str(file),
        "install_name": delivery.name,
        "install_python": python_version(),
        "install_machine": machine(),
    }


def pack(without: frozenset[str] = NOT_ON_NODES) -> Delivery:
    """Put everything into one file that Python runs. without: distributions that are left out."""
    files = dict(sorted(_files(without)))
    digest = hashlib.sha256()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1, format=tarfile.USTAR_FORMAT) as archive:
        for name, path in files.items():
            # The time is kept: compiled modules name the time of their source.
            content = path.read_bytes()
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(content), int(path.stat().st_mtime), 0o644
            archive.addfile(member, io.BytesIO(content))
            if not name.endswith(".pyc"):
                digest.update(f"{name}\0{len(content)}\0".encode() + content)
        about = distribution(OURS)
        for name in _ABOUT:
            content = (about.read_text(name) or "").encode()
            member = tarfile.TarInfo(f"lib/{OURS.replace('-', '_')}-{about.version}.dist-info/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
            digest.update(content)
    steps = Path(agent.__file__).read_bytes()
    digest.update(steps)
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive_of_all:
        archive_of_all.writestr("__main__.py", steps)
        archive_of_all.writestr(agent.PAYLOAD, packed.getvalue())
    return Delivery(whole.getvalue(), digest.hexdigest()[:_HASH])


def _files(without: frozenset[str]) -> Iterator[tuple[str, Path]]:
    """The files of the delivery by their names in it, compiled modules too: a node would compile for seconds."""
    for package in _PACKAGES:
        folder = Path(import_module(package).__path__[0])
        for path in folder.rglob("*"):
            if path.is_file() and path.parent.name != _CACHE:
                yield from _with_compiled(f"lib/{package}/{path.relative_to(folder)}", path)
    for found in dependencies(without):
        for file in found.files or ():
            path = Path(str(found.locate_file(file)))
            if ".." not in file.parts and path.suffix != ".pyc" and path.is_file():
                yield from _with_compiled(f"lib/{file}", path)


def _with_compiled(name: str, path: Path) -> Iterator[tuple[str, Path]]:
    yield name, path
    if path.suffix == ".py":
        compiled = Path(cache_from_source(str(path)))
        if compiled.is_file():
            yield f"{name.rpartition('/')[0]}/{_CACHE}/{compiled.name}", compiled


def dependencies(without: frozenset[str]) -> list[Distribution]:
    """The distributions that the program needs on a node, without extras, as they are installed here."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(OURS, "")]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        if name in without:
            continue
        found.setdefault(name, distribution(name))
        for needed in map(Requirement, found[name].requires or ()):
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(needed.name), each) for each in ("", *needed.extras)]
    return [each for name, each in found.items() if name != OURS]
