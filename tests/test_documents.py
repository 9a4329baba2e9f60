"""Documents are bound to the code: help texts, links, codes."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from preflight import codes
from preflight.engine.catalog import load_catalog
from preflight.lab.scenario_file import parse_scenario
from preflight.settings.schema import ConfigFile
from tests.test_runbook import FENCE, RUNBOOK, calls, parse

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")] + list(
    (ROOT / "docs").rglob("*.md")
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """A link to a file that was renamed is a dead end for a newcomer."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (document.parent / target).exists(), target


def typed(document: Path) -> Iterator[list[str]]:
    """Every call of `preflight` in a document's blocks, and in its text what is more than the name of a command."""
    text = document.read_text(encoding="utf-8")
    blocks = [body for language, body in FENCE.findall(text) if language in ("sh", "console")]
    lines = [line.removeprefix("$ ") for body in blocks for line in body.replace("\\\n", " ").splitlines()]
    lines += [code for code in re.findall(r"`((?:bin/)?preflight [^`]+)`", FENCE.sub("", text)) if " -" in code]
    for words in (words for line in lines if "preflight" in line for words in calls(line)):
        own = words[1:] if words[0] == "sudo" else words
        if own[:1] in (["preflight"], ["bin/preflight"]):
            yield own[1:]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_is_to_be_typed_can_be_typed(document: Path) -> None:
    """Protects who pastes from a page: each call is one that the program takes. Many are run by tests as well."""
    for words in typed(document):
        try:
            parse(words).close()
        except click.UsageError as error:
            pytest.fail(f"preflight {shlex.join(words)}: {error.format_message()}")


def test_every_block_of_shell_is_shell() -> None:
    """Protects from a quote that is left open, in the documents and in the runbook."""
    for document in (*DOCUMENTS, *RUNBOOK.glob("*.md")):
        blocks = [body for language, body in FENCE.findall(document.read_text(encoding="utf-8")) if language == "sh"]
        for script in ["\n".join(blocks)] if blocks else []:
            done = subprocess.run(["/bin/bash", "-n"], input=script, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, ""), document


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_in_the_documents_are_read(document: Path) -> None:
    """Protects who copies a file from a page: settings are valid, and a scenario can be built."""
    for language, block in FENCE.findall(document.read_text(encoding="utf-8")):
        written = yaml.safe_load(block) if language == "yaml" else None
        if isinstance(written, dict) and "faults" in written:
            parse_scenario("documented", block)
        elif isinstance(written, dict) and set(written) <= set(ConfigFile.model_fields):
            ConfigFile.model_validate(written)


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
