"""The generated reference is the program's: checks, codes, modules, settings, events."""

import ast
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
    """A changed check, code or setting is not looked up under its old name: run bin/docs."""
    assert (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8") == (fresh / name).read_text(
        encoding="utf-8"
    ), "run bin/docs"


def test_every_setting_has_a_description(fresh: Path) -> None:
    """The schema is what an editor shows next to a key."""
    rows = [line for line in (fresh / "settings.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert len(rows) > 40
    assert [row for row in rows if row.rstrip().endswith("|  |")] == []


def test_every_source_of_events_is_a_module() -> None:
    """Protects the reader of a timeline who looks for the code behind an event: the source is the path to it."""
    folder = ROOT / "preflight"
    modules = {".".join(path.relative_to(folder).with_suffix("").parts) for path in folder.rglob("*.py")}
    modules |= {name.partition(".")[2] for name in modules if name.startswith(("proto.", "net."))}
    sources = {
        node.args[1].value
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "telling"
        if isinstance(node.args[1], ast.Constant)
    }
    assert len(sources) > 15
    assert sources <= modules
