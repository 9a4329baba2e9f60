"""Documents are bound to the code: help texts, links, codes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from preflight import codes
from preflight.engine.catalog import load_catalog

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")] + list(
    (ROOT / "docs").rglob("*.md")
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """A link to a file that was renamed is a dead end for a newcomer."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (document.parent / target).exists(), target


def test_the_help_in_the_readme_is_the_program_s() -> None:
    """The README shows what `preflight --help` prints."""
    program = [sys.executable, "-m", "preflight", "--help"]
    shown = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    commands = shown[shown.index("Commands:") :].strip()
    assert commands in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_attack_stands_behind_a_promise() -> None:
    """SECURITY.md names each file of attacks, and none that is not there."""
    named = set(re.findall(r"`(test_\w+\.py)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8")))
    assert named == {path.name for path in (ROOT / "tests" / "attack").glob("test_*.py")}


def test_checks_use_only_codes_of_the_table() -> None:
    """A bundled check's codes are those of codes.py, which are those with a page."""
    for check in load_catalog(third_party=False).checks:
        for code in check.codes:
            assert codes.ALL[code.slug] is code, check.id


def test_no_bundled_check_is_broken() -> None:
    """A bundled check that cannot be loaded would go missing with only a warning."""
    assert load_catalog(third_party=False).broken == ()


def test_the_limits_of_checks_about_peers_grow_with_them() -> None:
    """A limit that fits a few peers would end the check on a mesh of hundreds, and report that as undecided."""
    about_peers = [check for check in load_catalog(third_party=False).checks if check.subject == "peer"]
    assert about_peers
    assert [check.id for check in about_peers if check.timeout_per_peer <= 0] == []


def test_every_claim_of_the_comparison_has_a_scenario() -> None:
    """A claim without a fault that proves it is advertising."""
    from preflight.lab.scenarios import SCENARIOS

    rows = re.findall(r"^\|.*\|(.*)\|$", (ROOT / "docs" / "compare.md").read_text(encoding="utf-8"), re.MULTILINE)[2:]
    assert len(rows) > 10
    for row in rows:
        named = re.findall(r"`([\w-]+)`", row)
        assert named, row
        assert set(named) <= set(SCENARIOS), row
