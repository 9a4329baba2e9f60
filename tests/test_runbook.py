"""The runbook against the program: codes, titles, settings, links and commands must agree."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
import yaml

from preflight import codes
from preflight.cli.main import build
from preflight.codes import Severity
from preflight.engine.catalog import load_catalog
from preflight.settings.schema import ConfigFile, Thresholds

RUNBOOK = Path(__file__).parent.parent / "runbook"
GUIDE = "overlay-personal-cluster"
HEADINGS = ["Meaning", "Likely causes", "Confirm", "Fix"]
PAGES = sorted(path.stem for path in RUNBOOK.glob("*.md"))
CODE_PAGES = [name for name in PAGES if name != GUIDE]

FENCE = re.compile(r"^[ ]*```(\w*)\n(.*?)^[ ]*```$", re.MULTILINE | re.DOTALL)
SEVERITY_SENTENCE = {
    Severity.FAIL: r"Severity: fail\.",
    Severity.WARN: r"Severity: warn\.",
    Severity.WARN_OR_FAIL: r"Severity: warn\b.{1,80}\bfail\b",
    Severity.INCONCLUSIVE: r"Severity: inconclusive\b",
    Severity.ERROR: r"Severity: error\b",
    Severity.SKIP: r"Severity: skip\.",
}
SECRETS = (
    re.compile(r"eyJ[\w-]{8,}\.[\w-]+"),  # a JWT
    re.compile(r"\b[0-9a-fA-F]{32,}\b"),
    re.compile(r"\b[A-Za-z0-9+/]{43}="),  # a WireGuard key
    re.compile(r"\b(?=[\w+-]*\d)(?=[\w+-]*[a-z])(?=[\w+-]*[A-Z])[\w+-]{24,}"),  # base64; paths have slashes
    re.compile(r"\b(?:tskey|hskey|ghp|glpat)-?\w{6,}"),
)


@cache
def text(name: str) -> str:
    """A page."""
    return (RUNBOOK / f"{name}.md").read_text(encoding="utf-8")


def prose(name: str) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", text(name))


def fenced(name: str, *languages: str) -> Iterator[str]:
    """The blocks of a page in one of the languages."""
    return (body for language, body in FENCE.findall(text(name)) if language in languages)


def commands(name: str) -> list[list[str]]:
    """Every call of `preflight` on a page, in blocks and in running text, as argument lists without the program."""
    lines = [line for block in fenced(name, "sh") for line in block.replace("\\\n", " ").splitlines()]
    lines += [code for code in re.findall(r"`([^`]+)`", prose(name)) if code.startswith("preflight ")]
    return [words[1:] for line in lines if "preflight" in line for words in calls(line) if words[0] == "preflight"]


def calls(line: str) -> Iterator[list[str]]:
    """The simple commands of a shell line: split at its operators, without redirections and comments."""
    lexer = shlex.shlex(re.sub(r"\b2>(&1|/dev/null)", "", line), posix=True, punctuation_chars="();<>|&")
    lexer.commenters = "#"
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if set(word) <= set("<>"):
            next(lexer, None)
        elif set(word) <= set("();|&"):
            yield from [words] if words else []
            words = []
        else:
            words.append(word)
    yield from [words] if words else []


def parse(words: list[str]) -> click.Context:
    """Parse an argument list by the program's own commands, and run nothing. Raises click.UsageError."""
    command: click.Command = build()
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        _, found, words = command.resolve_command(click.Context(command), words)
        assert found is not None
        command = found
    return command.make_context(command.name, list(words), resilient_parsing=False)


def anchors(name: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(name), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    """`preflight explain CODE` answers for each finding, and no page is left of a finding that is gone."""
    assert set(codes.ALL) == set(CODE_PAGES)
    assert GUIDE in PAGES


@pytest.mark.parametrize("slug", CODE_PAGES)
def test_title_is_the_one_of_the_code(slug: str) -> None:
    """Report and page call a finding by the same words."""
    assert text(slug).splitlines()[0] == f"# {slug} — {codes.ALL[slug].title}"


@pytest.mark.parametrize("slug", CODE_PAGES)
def test_page_has_the_four_headings_in_order_and_none_is_empty(slug: str) -> None:
    """The contract fixes the headings; a reader at night looks for them by name."""
    assert re.findall(r"^#+ (.+)$", prose(slug), re.MULTILINE)[1:] == HEADINGS
    for section in text(slug).split("\n## ")[1:]:
        assert section.partition("\n")[2].strip()


@pytest.mark.parametrize("slug", CODE_PAGES)
def test_meaning_states_the_severity_of_the_code(slug: str) -> None:
    """A page must not call a warning a failure: the exit code depends on it."""
    meaning = text(slug).partition("## Meaning\n")[2].partition("\n## ")[0].replace("\n", " ")
    assert re.search(SEVERITY_SENTENCE[codes.ALL[slug].severity], meaning)


@pytest.mark.parametrize("name", PAGES)
def test_page_holds_nothing_that_looks_like_a_secret(name: str) -> None:
    """A pasted token or key would ship with the package, and every user's scanner would report it."""
    found = [match.group() for pattern in SECRETS for match in pattern.finditer(text(name))]
    assert not found


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_pages_and_headings(name: str) -> None:
    """A dead link costs time when there is none."""
    for target in re.findall(r"\]\(([^)]+)\)", prose(name)):
        page, _, anchor = target.partition("#")
        stem = page.removesuffix(".md") if page else name
        assert stem in PAGES, target
        assert not anchor or anchor in anchors(stem), target


@pytest.mark.parametrize("name", PAGES)
def test_commands_parse_by_the_real_command_line(name: str) -> None:
    """What a page says to type must be something that the program takes."""
    for words in commands(name):
        try:
            parse(words).close()
        except click.UsageError as error:
            pytest.fail(f"preflight {shlex.join(words)}: {error.format_message()}")


def test_commands_are_found_in_blocks_pipes_subshells_and_text() -> None:
    """The test above must see the commands: a parser that finds none would let everything pass."""
    line = "(set -a; . worker.env; preflight all --peer 10.66.0.2=b) 2>&1 | grep x  # preflight nonsense"
    assert [words for words in calls(line) if words[0] == "preflight"] == [
        ["preflight", "all", "--peer", "10.66.0.2=b"]
    ]
    assert ["run", "mtu.path", "--peer", "10.66.0.2=b"] in commands("mtu.reduced")
    assert ["explain", "mtu.black-hole"] in commands(GUIDE)
    with pytest.raises(click.UsageError):
        parse(["run", "mtu.path", "--no-such-option"])


@pytest.mark.parametrize("name", PAGES)
def test_selected_checks_exist(name: str) -> None:
    """An id that selects nothing ends in exit 2; a glob of a whole area is fine."""
    known = {check.id for check in load_catalog(third_party=False).checks}
    known |= {f"{code.area}.*" for code in codes.ALL.values()}
    for words in commands(name):
        selections = (parse(words).params.get(parameter, ()) for parameter in ("named", "only", "skip"))
        assert {glob for selection in selections for glob in selection} <= known, words


@pytest.mark.parametrize("name", PAGES)
def test_settings_in_yaml_blocks_are_valid(name: str) -> None:
    """A block with keys of preflight.yaml can be pasted there; those of other programs are left alone."""
    for block in fenced(name, "yaml"):
        document = yaml.safe_load(block)
        if set(document) <= set(ConfigFile.model_fields):
            ConfigFile.model_validate(document)


@pytest.mark.parametrize("name", PAGES)
def test_thresholds_that_are_named_exist(name: str) -> None:
    """A page that sends the reader to a setting must name one that there is."""
    for setting in re.findall(r"`thresholds\.(\w+)", prose(name)):
        assert setting in Thresholds.model_fields


@pytest.mark.parametrize("name", PAGES)
def test_no_secret_stands_on_a_command_line(name: str) -> None:
    """Options are shown by the process list: bearers come from a header file, keys from a file."""
    for block in fenced(name, "sh"):
        assert not re.search(r"-H\s+[\"']?(Authorization|X-ZT1-Auth)", block)
        assert not re.search(r"--(auth-?key|token)[= ](?!file:)", block)
