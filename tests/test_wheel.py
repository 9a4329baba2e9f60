"""The built wheel, not the source tree: what users install must be whole."""

import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


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
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the wheel, and the dependencies of this one, but not this checkout."""
    home = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    (site,) = home.glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin" / "python"


def test_top_level_names(wheel: Path) -> None:
    """No module called `checks` or `runbook` may land in somebody's site-packages."""
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "preflight",
        "preflight_checks",
        "preflight_runbook",
    }


def test_every_module_and_page_is_packed(wheel: Path) -> None:
    """A sub-package that is missing from the list would only fail at the user's."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    for folder, package in (
        ("preflight", "preflight"),
        ("checks", "preflight_checks"),
        ("runbook", "preflight_runbook"),
    ):
        for pattern in ("*.py", "*.md", "*.j2", "*.css", "*.js", "py.typed"):
            for path in (ROOT / folder).rglob(pattern):
                assert f"{package}/{path.relative_to(ROOT / folder)}" in packed


def test_the_installed_wheel_works(python: Path, tmp_path: Path) -> None:
    """The catalogue comes through the wheel's entry point, and pages are found, away from the checkout."""

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [str(python), *arguments], capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert str(python.parents[1]) in run("-c", "import preflight, preflight_checks; print(preflight.__file__)")
    checks = json.loads(run("-m", "preflight", "list", "--json"))
    assert "overlay.interface" in {check["id"] for check in checks}
    assert "## Fix" in run("-m", "preflight", "explain", "overlay.absent")
