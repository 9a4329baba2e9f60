"""The built wheel, not the source tree: what users install must be whole."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.xdist_group("wheel")  # built once, on one worker


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a clean export so that stray build folders change nothing."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, names.split("\0")):
        target = source / name
        if (ROOT / name).is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def required(wheel: Path) -> dict[str, Distribution]:
    """What comes with the wheel: its dependencies and theirs, without any extra, by canonical name."""
    (metadata,) = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".dist-info/METADATA"))
    requires = message_from_bytes(zipfile.ZipFile(wheel).read(metadata)).get_all("Requires-Dist", [])
    found: dict[str, Distribution] = {}
    todo = list(map(Requirement, requires))
    while todo:
        requirement = todo.pop()
        if applies(requirement, extra="") and canonicalize_name(requirement.name) not in found:
            needed = distribution(requirement.name)
            found[canonicalize_name(requirement.name)] = needed
            theirs = map(Requirement, needed.requires or ())
            todo += [r for r in theirs if any(applies(r, extra) for extra in ("", *requirement.extras))]
    return found


def applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


@pytest.fixture(scope="module")
def python(wheel: Path, required: dict[str, Distribution], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the wheel and what comes with it, and nothing else of this one's."""
    home = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    (site,) = home.glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    for needed in required.values():
        for top in {file.parts[0] for file in needed.files or ()} - {"..", "__pycache__"}:
            (site / top).symlink_to(str(needed.locate_file(top)))
    return home / "bin" / "python"


def test_top_level_names(wheel: Path) -> None:
    """No module called `checks` or `runbook` may get into a user's site-packages."""
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith((".dist-info", ".data"))} == {
        "preflight",
        "preflight_checks",
        "preflight_runbook",
    }


def test_every_module_and_page_is_packed(wheel: Path) -> None:
    """A sub-package that is missing from the list would fail only on a user's machine."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    for folder, package in (
        ("preflight", "preflight"),
        ("checks", "preflight_checks"),
        ("runbook", "preflight_runbook"),
    ):
        for pattern in ("*.py", "*.md", "*.j2", "*.css", "*.js", "py.typed"):
            for path in (ROOT / folder).rglob(pattern):
                assert f"{package}/{path.relative_to(ROOT / folder)}" in packed


def test_man_pages_and_completions_are_packed(wheel: Path) -> None:
    """pipx links them from the environment's share folder into the user's."""
    packed = {name.partition(".data/data/")[2] for name in zipfile.ZipFile(wheel).namelist()}
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "share").rglob("*") if path.is_file()}
    assert len(ours) > 30
    assert ours <= packed


def run(python: Path, folder: Path, *arguments: str, good: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(
        [str(python), "-P", *arguments], capture_output=True, text=True, cwd=folder, check=False, timeout=100
    )
    assert done.returncode in good, done.stderr
    return done.stdout


def test_the_installed_wheel_works(python: Path, tmp_path: Path) -> None:
    """The catalogue comes through the wheel's entry point, and pages are found, away from the checkout."""
    where = "import preflight, preflight_checks; print(preflight.__file__)"
    assert str(python.parents[1]) in run(python, tmp_path, "-c", where)
    checks = json.loads(run(python, tmp_path, "-m", "preflight", "list", "--json"))
    assert "overlay.interface" in {check["id"] for check in checks}
    assert "## Fix" in run(python, tmp_path, "-m", "preflight", "explain", "overlay.absent")


def test_it_needs_nothing_that_it_does_not_declare(python: Path, tmp_path: Path) -> None:
    """Every module can be imported with the hard dependencies alone: what an extra brings is imported when used."""
    everything = (
        "import importlib, pkgutil, preflight, preflight_checks\n"
        "for package in (preflight, preflight_checks):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if not module.name.endswith('__main__'):\n"
        "            importlib.import_module(module.name)\n"
        "assert importlib.util.find_spec('scapy') is None\n"
    )
    run(python, tmp_path, "-c", everything)


@pytest.mark.parametrize("words", [("all", "--timeout", "60"), ("run", "host.*", "control.url")], ids=["all", "run"])
def test_it_runs_without_the_extra(python: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    """`all` and `run` judge this machine without scapy: whatever the verdict, no check breaks and none is missing."""
    report = json.loads(run(python, tmp_path, "-m", "preflight", *words, "--output", "json", good=(0, 1, 3)))
    assert report["results"]
    assert report["summary"]["error"] == 0
    assert "run.plugin-broken" not in {result["code"] for result in report["results"]}


LICENCES = ROOT / "docs" / "adr" / "0008-licences.md"
CLASSIFIED = {
    "MIT License": "MIT",
    "BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3.0": "LGPL-3.0-only",
}
"""Older metadata has no SPDX expression."""


def licence(of: Distribution) -> str:
    """What a distribution's metadata says: an SPDX expression, else its classifier, else its free text."""
    if "License-Expression" in of.metadata:
        return of.metadata["License-Expression"]
    lines = of.metadata.get_all("Classifier", []) + of.metadata.get_all("License", ["none told"])
    names = [line.removeprefix("License :: OSI Approved :: ") for line in lines]
    return next((CLASSIFIED[name] for name in names if name in CLASSIFIED), names[-1])


def test_every_dependency_has_a_licence_that_the_wheel_may_depend_on(required: dict[str, Distribution]) -> None:
    """A user who installs the wheel gets nothing, at any depth, whose licence does not go with Apache-2.0."""
    allowed = set(
        re.findall(r"`([\w.-]+)`", LICENCES.read_text().partition("hard dependencies")[2].partition("\n* ")[0])
    )
    refused = {
        name: said
        for name, said in ((name, licence(each)) for name, each in required.items())
        if not any(set(one.split(" AND ")) <= allowed for one in said.split(" OR "))
    }
    assert len(allowed) > 5
    assert refused == {}
    assert "scapy" not in required


def test_the_table_of_licences_is_what_their_metadata_says(required: dict[str, Distribution]) -> None:
    """The decision names each dependency of ours with its licence, so that a new or a changed one is noticed."""
    rows = re.findall(r"^\| (\w[\w. -]+) \| (.+) \|$", LICENCES.read_text(), re.MULTILINE)
    licences = {canonicalize_name(name): said for said, names in rows for name in names.split(", ")}
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    ours = [canonicalize_name(Requirement(line).name) for line in declared]
    assert licences == {name: licence(required[name]) for name in ours}
