"""The pages that explain the code follow it: examples run, names exist, every package is on the map."""

import ast
import doctest
import re
from pathlib import Path
from pkgutil import resolve_name

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXPLAINED = ("walk-through.md", "diagnosis.md", "architecture.md")
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOTTED = re.compile(r"`?\b(preflight(?:_checks)?\.[a-zA-Z_][\w.]*\w)")
ENTRY = re.compile(r"^\* \*\*(.+?)\*\*: (.+)$", re.MULTILINE)
RENAMED = (
    "Evidence HelloReceiver Plan Pseudonyms ReflectedSession ReplayGuard ReturnPath ReverseTraceroute Session "
    "SessionPlan SizeEvidence credential encode_probes fake_servers for_each_peer inject json_types mailbox_probe "
    "mesh peer_status provoke_handshake reach_messages return_path secret_encodings sender wire"
)
"""Names that once were others: whoever remembers the old one must find what the new one means."""
NAME = re.compile(r"^\| `(\w+)` \| (.+) \|$", re.MULTILINE)


def text(name: str) -> str:
    """A page of docs/."""
    return (DOCS / name).read_text(encoding="utf-8")


def sources(*folders: str, pattern: str = "*.py") -> str:
    """All files of some folders, as one text."""
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob(pattern))]
    return "\n".join(path.read_text(encoding="utf-8") for path in files if path != DOCS / "glossary.md")


@pytest.mark.parametrize("name", ["walk-through.md", "diagnosis.md"])
def test_the_examples_run_as_shown(name: str) -> None:
    """A newcomer who pastes them gets what the page shows."""
    blocks = "".join(PYTHON.findall(text(name)))
    test = doctest.DocTestParser().get_doctest(blocks, {}, name, str(DOCS / name), 0)
    assert len(test.examples) > 5
    said: list[str] = []
    doctest.DocTestRunner().run(test, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize("name", EXPLAINED)
def test_the_names_of_the_code_exist(name: str) -> None:
    """What was renamed or moved must be renamed on the pages that explain it."""
    for dotted in sorted(set(DOTTED.findall(text(name)))):
        assert resolve_name(dotted) is not None, dotted


def test_every_package_is_on_the_map() -> None:
    """Each folder and each module right below `preflight/` has a row in docs/architecture.md, and no row is left."""
    rows = [row.split("|")[1] for row in text("architecture.md").splitlines() if row.startswith("| `")]
    named = {path.rstrip("/") for row in rows for path in re.findall(r"`((?:preflight|checks|runbook)[\w/.]*)`", row)}
    packages = {str(path.parent.relative_to(ROOT)) for path in (ROOT / "preflight").glob("*/__init__.py")}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "preflight").glob("*.py") if path.stem != "__init__"}
    assert named == packages | modules | {"checks", "runbook"}


def test_every_topic_is_on_the_map() -> None:
    """A topic has one word in every layer, and the page lists the words."""
    (sentence,) = re.findall(r"A topic has one word in every layer:(.*?) are folders of", text("architecture.md"), re.S)
    rooms = [
        path.parent.name for layer in ("proto", "net") for path in (ROOT / "preflight" / layer).glob("*/__init__.py")
    ]
    assert set(re.findall(r"`(\w+)`", sentence)) == set(rooms)


def test_the_glossary_is_sorted_and_short() -> None:
    """A word is found at once, and explained in a sentence or two."""
    words, names = ENTRY.findall(text("glossary.md")), NAME.findall(text("glossary.md"))
    assert [word for word, _ in words] == sorted((word for word, _ in words), key=str.casefold)
    assert [name for name, _ in names] == sorted(name for name, _ in names)
    sentences = {word: len(re.findall(r"\.(?= |$)", meaning)) for word, meaning in (*words, *names)}
    assert len(sentences) > 50
    assert {word: count for word, count in sentences.items() if count > 2} == {}


def test_the_glossary_has_only_words_that_are_used() -> None:
    """A word that nobody uses any more explains nothing."""
    used = sources("preflight", "checks", "runbook") + sources("docs", "runbook", pattern="*.md")
    flat = re.sub(r"[\s_-]+", " ", used).casefold()
    unused = [
        word for word, _ in ENTRY.findall(text("glossary.md")) if re.sub(r"[_-]", " ", word).casefold() not in flat
    ]
    assert unused == []


def test_the_glossary_s_names_exist() -> None:
    """Each name of the second table is a class, a function or a module; what is renamed is renamed there too."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "preflight").rglob("*.py")]
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    defined = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, kinds)}
    modules = {path.stem for path in (ROOT / "preflight").rglob("*.py")}
    names = {name for name, _ in NAME.findall(text("glossary.md"))}
    assert names <= defined | modules, names - defined - modules


def test_the_glossary_explains_what_was_renamed() -> None:
    """The words that replaced our own inventions are the field's, and the page says what each is here."""
    page = text("glossary.md")
    assert set(RENAMED.split()) <= {name for name, _ in NAME.findall(page)} | {word for word, _ in ENTRY.findall(page)}
