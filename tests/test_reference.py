"""The generated reference is the program's: checks, codes, modules, settings, events."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.xdist_group("reference")  # written once, on one worker
PAGES = ("checks.md", "codes.md", "modules.md", "settings.md", "events.md")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as `bin/docs` would write them now."""
    folder = tmp_path_factory.mktemp("reference")
    subprocess.run([sys.executable, str(ROOT / "docs" / "generate.py"), str(folder)], check=True)
    return folder


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_program_says_now(fresh: Path, name: str) -> None:
    """A check, code or setting that was changed is not looked up under what it was: run bin/docs."""
    assert (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8") == (fresh / name).read_text(
        encoding="utf-8"
    ), "run bin/docs"


def test_every_setting_has_a_description(fresh: Path) -> None:
    """The schema is what an editor shows beside a key."""
    rows = [line for line in (fresh / "settings.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert len(rows) > 40
    assert [row for row in rows if row.rstrip().endswith("|  |")] == []
