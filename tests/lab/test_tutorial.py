"""What the documents say a newcomer must type, typed."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = str(ROOT / "bin" / "preflight")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"\s+# (.*)$")
RECURSIVE = "bin/test"
"""It runs this test."""


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [body for found, body in BLOCK.findall(text) if found == language]


def commands(document: str) -> list[tuple[str, int]]:
    """Every line to type, and the exit code that it ends with: 0, or what `# exit N` behind it says."""
    found = []
    for line in "".join(blocks(document, "sh")).splitlines():
        comment = COMMENT.search(line)
        said = comment.group(1) if comment else ""
        wanted = int(said.removeprefix("exit ")) if said.startswith("exit ") else 0
        found.append((COMMENT.sub("", line), wanted))
    return [(line, wanted) for line, wanted in found if line and line != RECURSIVE]


def type_in(line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a line as a person would, in a folder that is thrown away."""
    typed = line.replace("bin/preflight", PROGRAM)
    return subprocess.run(["bash", "-c", typed], cwd=folder, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.lab
def test_the_tutorial_goes_as_it_says(tmp_path: Path) -> None:
    """A newcomer who types what the page shows gets what the page shows: break it, find it, fix it."""
    (tmp_path / "incident.yaml").write_text(blocks("docs/tutorial.md", "yaml")[0], encoding="utf-8")
    printed = []
    try:
        for line, wanted in commands("docs/tutorial.md"):
            done = type_in(line, tmp_path)
            assert done.returncode == wanted, f"{line}: {done.stdout[-600:]}{done.stderr[-600:]}"
            printed.append(done.stdout)
    finally:
        type_in("bin/preflight lab down first", tmp_path)
    shown = " ".join("\n".join(printed).split())
    assert "packets over 1320 bytes to b vanish without an ICMP error" in shown
    assert {"report.html", "ticket.md", "evidence.tar.gz"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.lab
def test_a_change_can_be_rehearsed_as_the_page_says(tmp_path: Path) -> None:
    """A user who rehearses a change of MTU types what the page shows, and the report names the mistake."""
    page = "docs/how-to/rehearse-a-change.md"
    (tmp_path / "mine.yaml").write_text(blocks(page, "yaml")[0], encoding="utf-8")
    printed = []
    try:
        for line, wanted in commands(page):
            done = type_in(line, tmp_path)
            assert done.returncode == wanted, f"{line}: {done.stdout[-600:]}{done.stderr[-600:]}"
            printed.append(done.stdout)
    finally:
        type_in("bin/preflight lab down rehearsal", tmp_path)
    assert "overlay.mtu-too-big" in "\n".join(printed)


@pytest.mark.lab
def test_a_fix_is_applied_as_the_page_says(tmp_path: Path) -> None:
    """A user who rehearses a fix types what the page shows: it heals, and is undone at the end."""
    page, printed = "docs/how-to/apply-a-fix.md", []
    try:
        for line, wanted in commands(page):
            done = type_in(line, tmp_path)
            assert done.returncode == wanted, f"{line}: {done.stdout[-600:]}{done.stderr[-600:]}"
            printed.append(done.stdout)
    finally:
        type_in("bin/preflight lab down fixing", tmp_path)
    shown = "\n".join(printed)
    quoted = blocks(page, "text")[0].splitlines()
    for line in ("This would be run here, to heal it:", "Healed: mtu.black-hole at b is gone."):
        assert line in shown
        assert line in quoted
    assert "Undone: all that it changed is as it was before." in shown


@pytest.mark.lab
def test_the_readme_goes_as_it_says(tmp_path: Path) -> None:
    """The first command that everyone types."""
    for line, wanted in commands("README.md"):
        done = type_in(line, tmp_path)
        assert done.returncode == wanted, f"{line}: {done.stdout[-600:]}{done.stderr[-600:]}"
