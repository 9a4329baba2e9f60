"""Plain English, as far as a machine can judge it: no words and turns that a reader at 3 a.m. must decode."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PLAIN = {
    # Words that nobody says any more.
    r"whoever|whomever": "anyone who, the one that",
    r"whence|hither|thither|thereof|therein|wherein|whereby|thereby|hereby|herein|hereafter|thereupon": "from, in, by",
    r"henceforth|forthwith|hitherto": "from now on, at once, so far",
    r"hence|thus": "so",
    r"lest": "so that … not",
    r"heed|heeds|heeded": "apply, obey",
    r"shall": "must, will",
    r"ought": "should",
    r"anew|afresh": "again",
    r"amiss": "wrong",
    r"astray": "wrong, off the overlay",
    r"amid|amidst|amongst|whilst|betwixt": "among, while, between",
    r"albeit|notwithstanding": "although, despite",
    r"upon": "on",
    r"merely": "only",
    r"lately": "recently",
    r"beforehand": "before, earlier",
    r"altogether": "completely, in total",
    r"anyhow|all the same(?! (?:time|way))": "anyway",
    r"unasked": "without a request",
    r"nought|naught": "nothing",
    r"befalls?|befell": "happens to",
    r"beside": "next to, in addition to",
    r"besides": "also, in addition to, other than",
    # Pictures where the field has a word.
    r"stays? away": "gets no answer, is missing",
    r"c(?:omes?|ame|oming) to (?:its|their|an|the) end": "ends, completes",
    r"to (?:its|their|the) end(?! of)": "completely",
    r"c(?:omes?|ame|oming) about": "happens",
    r"(?:becomes?|became) of": "happens to",
    r"tak(?:es?|ing) back|taken back|took back": "remove, undo",
    r"gives? itself out": "claims to be",
    r"cr(?:y|ies|ied|ying) wolf": "false alarm",
    r"in vain": "without result",
    r"without a word": "silently",
    r"in the clear": "in clear text",
    r"in so many words": "explicitly",
    r"the matter with": "wrong with",
    r"own eyes|for (?:its|their|whose) eyes": "capture, view",
    r"bears? out|borne out": "supports",
    r"half a character": "an unpaired surrogate",
    r"burns the|is burnt|burnt": "invalidates, is spent",
    r"out of all bounds": "too large",
    r"far ends?": "remote end",
    r"lives? again": "is valid again",
    r"what is live": "the live state",
    r"side by side": "in parallel",
    r"(?:go|goes|going|went) by": "uses",
    r"tell-tale": "sign",
    # Turns that put the verb last, or leave a riddle.
    r"(?:be|been) had": "obtain, be available",
    r"to last:": "to persist:",
    r"be it": "even if it is",
    r"but for": "except for",
    r"save for": "except for",
    r"nothing but": "only",
    r"all but": "all except, almost",
    r"(?:is|are|was|were) to be": "must be, will be",
    r"of which (?:each|one|none|some|all)": "two sentences",
    r"so many|so much": "this many, a number of",
    r"of (?:its|their|his|our|your|one's|a's|b's) own(?! [a-z]{3})": "separate, or drop it",
    r"one's own": "your",
    r"(?<!there )(?:is|are|was|were) no(?= [a-z])(?! (?:longer|more|better|worse|less|one|such))": "is not a",
    r"(?<!there )(?:is|are|was|were) (?-i:none)": "is not one",
    r"(?:knows?|knew) (?:no|nothing|of no)": "does not know",
    r"nowhere else than|elsewhere than": "only in, outside",
    r"as far as (?:that|it|they) (?:is|are|goes|go)": "if",
    r"as far as it (?:goes|knows)": "if known",
    r"each by itself|(?:one|direction) by itself": "separately",
    r"takes? (?:root|raw|CAP_\w+|synchronised)": "needs",
    r"wants (?:no|a|an|two|to know)": "needs",
    r"stands?|stood|standing": "is, means, represents",
    r"tells?|telling|told": "reports, says, shows",
    r"lies (?:in|on|at|behind|within|outside|around|beyond|between|below|above|there)": "is",
    r"(?:somebody|anybody|everybody) else(?:'s)?": "another user, anyone else",
    r"everybody|anybody": "everyone, anyone",
    r"and so little that": "so small that",
    r"speaks for": "counts for",
    r"stand-ins?": "pseudonym, fake server",
    r"crowds?|crowded": "mesh, many connections",
    r"nudges?|nudged": "provoke a handshake, packet",
    r"eats?|ate|eaten": "drops, uses",
    r"mends?|mended": "fixes",
    r"inasmuch|insofar|in so far": "as far as",
    r"(?:'s|its|their) word (?:is|goes|counts|about|for|by)": "report, answer",
    r"(?:it|that|which) bears": "carries, allows",
    r"of late|as yet|ere": "recently, so far, before",
}
"""What we do not write, as regular expressions of whole words, and the plain word instead."""

_FOLDERS = ("preflight", "checks", "runbook", "docs", "examples", "bin", "benchmarks")
_PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "action.yml")
_SUFFIXES = {".py", ".md", ".j2", ".js", ".css", ".yaml", ".yml", ".sh", ".service", ".conf", ""}
_GENERATED = "docs/reference/"
_TESTS = "tests"
_PATTERN = re.compile(
    rf"(?<![\w-])(?:{'|'.join(f'(?P<w{n}>{words})' for n, words in enumerate(PLAIN))})(?![\w-])", re.I
)
_CODE = re.compile(r"`[^`]*`|\{[^{}]*\}")
_INSTEAD = tuple(PLAIN.values())


def _files() -> Iterator[Path]:
    for folder in _FOLDERS:
        yield from (
            path
            for path in sorted((ROOT / folder).rglob("*"))
            if path.is_file()
            and path.suffix in _SUFFIXES
            and "__pycache__" not in path.parts
            and not path.relative_to(ROOT).as_posix().startswith(_GENERATED)
        )
    yield from (ROOT / page for page in _PAGES)
    yield from sorted((ROOT / _TESTS).rglob("*.py"))


def _prose(path: Path) -> Iterator[tuple[int, str]]:
    """Texts for people: comments and strings of Python, docstrings of tests, the newest section of the changelog."""
    text = path.read_text(encoding="utf-8")
    if ROOT / _TESTS in path.parents:
        yield from _docstrings(text)
        return
    if path.suffix == ".py":
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string):
                yield token.start[0], token.string
        return
    if path.name == "CHANGELOG.md":
        text = "## ".join(text.split("\n## ")[:2])
    paragraph: list[str] = []
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if line.strip():
            paragraph.append(line)
        elif paragraph:
            yield number - len(paragraph), "\n".join(paragraph)
            paragraph = []


def _docstrings(text: str) -> Iterator[tuple[int, str]]:
    """Line and docstring of the module, its classes and its functions: other strings of a test are data."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield node.body[0].lineno, docstring


@cache
def _findings(path: Path) -> tuple[str, ...]:
    """What the file could say more plainly; code in backticks or braces does not count."""
    name = path.relative_to(ROOT).as_posix()
    found = []
    for number, text in _prose(path):
        plain = " ".join(_CODE.sub("`…`", text).replace("\n#", "\n").split())
        for match in _PATTERN.finditer(plain):
            instead = _INSTEAD[next(n for n in range(len(PLAIN)) if match[f"w{n}"] is not None)]
            found.append(f"{name}:{number}: {match[0]!r}; rather: {instead}")
    return tuple(found)


def test_the_words_are_plain() -> None:
    """Protects the reader of a message, a page or a comment at 3 a.m., for whom English is a second language."""
    found = [finding for path in _files() for finding in _findings(path)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It has a process of its own.", True),
        ("A file ahead of its own clock.", False),
        ("That is no answer.", True),
        ("There is no answer, and it is no longer up.", False),
        ("The parser `tells` it; {told} is code.", False),
        ("whatever comes\nto its end", True),
        ("understand, standard, outstanding", False),
    ],
)
def test_a_finding_is_exact(text: str, found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects from false alarms, which people work around, and finds a turn that is split over two lines."""
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(text)
    assert bool(_findings(page)) is found
