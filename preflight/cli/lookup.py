"""`list`, `explain`, `schema`: the catalogue of checks, the runbook pages and the schemas, offline."""

import json
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import click

from preflight.cli.manual import epilog
from preflight.cli.terminal import colored, width_of

NEAREST = 5
"""How many names an unknown word is answered with."""

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from preflight.api import Check


@click.command("list", short_help="The catalogue of checks.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_checks(as_json: bool) -> None:
    """List every check: id, title, what it needs, which finding codes it may report, which package it is from."""
    from preflight.engine.catalog import OURS, load_catalog

    catalog = load_catalog()
    checks = sorted(catalog.checks, key=lambda check: check.id)
    if as_json:
        rows = [
            {
                "id": check.id,
                "title": check.title,
                "category": check.category,
                "subject": check.subject,
                "needs": list(check.needs),
                "after": list(check.after),
                "when": check.when,
                "reads": [kind.__name__ for kind in check.reads],
                "privileges": list(check.privileges),
                "tags": list(check.tags),
                "codes": [code.slug for code in check.codes],
                "timeout_s": check.timeout,
                "timeout_per_peer_s": check.timeout_per_peer,
                "origin": check.origin,
            }
            for check in checks
        ]
        click.echo(json.dumps(rows, indent=2))
    else:
        for line in _listed(checks, OURS):
            click.echo(line)
    for broken in catalog.broken:
        click.echo(f"broken: {broken.origin}: {broken.name}: {broken.reason}", err=True)


def _listed(checks: "list[Check]", ours: str) -> Iterator[str]:
    """Each check with what it needs and gives. ours: the origin that is not named."""
    width = max((len(check.id) for check in checks), default=0)
    for check in checks:
        origin = "" if check.origin == ours else f"  ({check.origin})"
        yield f"{check.id:<{width}}  {check.title}{origin}"
        found = tuple(code.slug for code in check.codes)
        for word, ids in (("needs", check.needs), ("after", check.after), ("tags", check.tags), ("codes", found)):
            start = f"{'':<{width}}    {word} "
            columns = max(width_of(sys.stdout), len(start) + 30)
            yield from wrap(", ".join(ids), columns, initial_indent=start, subsequent_indent=" " * len(start))


def complete_code(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Finding codes, for shell completion."""
    from preflight import codes

    return [slug for slug in codes.ALL if slug.startswith(incomplete)]


def complete_check(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Ids of checks, for shell completion."""
    from preflight.engine.catalog import load_catalog

    return sorted(check.id for check in load_catalog().checks if check.id.startswith(incomplete))


def complete_word(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Finding codes and ids of checks, for shell completion."""
    return [*complete_code(context, parameter, incomplete), *complete_check(context, parameter, incomplete)]


@click.command(epilog=epilog("explain"), short_help="The page of a finding code, or of a check.")
@click.argument("word", metavar="CODE|CHECK", shell_complete=complete_word)
def explain(word: str) -> None:
    """Print what a finding code means, what causes it, how to confirm it and how to fix it.

    For a check, as `mtu.path`: what it does, what it needs, and which codes it finds. An unknown word gets the nearest.
    """
    text = "\n".join(filter(None, (_page(word), _check_page(word))))  # a few names are both
    if not text:
        raise click.UsageError(_no_page(word))
    if sys.stdout.isatty():
        from rich.console import Console

        from preflight.cli.pages import Page

        # Not cropped: a command that is longer than the line goes on in the next, and is pasted whole.
        Console(no_color=not colored(sys.stdout)).print(Page(text), crop=False)
    else:
        click.echo(text, nl=False)


def _check_page(id: str) -> str | None:
    """The page of a check, from its declaration."""
    from preflight.engine.catalog import load_catalog

    check = load_catalog().by_id().get(id)
    if check is None:
        return None
    facts = [f"* About: {check.subject}"]
    facts += [f"* {word}: {', '.join(f'`{each}`' for each in ids)}" for word, ids in _relations(check) if ids]
    facts += ["* Only for targets in trouble"] if check.when == "trouble" else []
    facts += [f"* Only with `--tag {tag}`" for tag in check.tags]
    found = [f"* `{code.slug}`: {code.title} ({code.severity})" for code in check.codes]
    doc = "\n".join(line.strip() for line in check.doc.splitlines())
    command = f"```sh\npreflight run {check.id}\n```"
    parts = (doc, "\n".join(facts), "## Finds", "\n".join(found), "## Run", command)
    return f"# {check.id} — {check.title}\n\n" + "\n\n".join(parts) + "\n"


def _relations(check: "Check") -> "Iterator[tuple[str, tuple[str, ...]]]":
    yield "Needs", check.needs
    yield "After", check.after
    yield "Privileges", check.privileges


def _page(code: str) -> str | None:
    """The page of a code: ours, or a plugin's, in `runbook/` next to its checks."""
    from importlib.resources import files

    if "/" in code:
        return None
    places: list[Traversable] = [files("preflight_runbook")]
    if not places[0].joinpath(f"{code}.md").is_file():
        owners = {check.module.partition(".")[0] for check in _foreign() if code in {each.slug for each in check.codes}}
        places = [folder / "runbook" for package in sorted(owners) for folder in _folders_of(package)]
    pages = (place.joinpath(f"{code}.md") for place in places)
    return next((page.read_text(encoding="utf-8") for page in pages if page.is_file()), None)


def _folders_of(package: str) -> list[Path]:
    """Where a package is installed, without importing it: its code is not ours."""
    spec = find_spec(package)
    return [Path(folder) for folder in spec.submodule_search_locations or ()] if spec else []


def _foreign() -> "list[Check]":
    from preflight.engine.catalog import OURS, load_catalog

    return [check for check in load_catalog().checks if check.origin != OURS]


def _no_page(word: str) -> str:
    """The nearest codes and checks; a word that is only a part of a name finds the names that it is in."""
    from importlib.resources import files

    from preflight import codes
    from preflight.engine.catalog import load_catalog

    pages = [entry.name.removesuffix(".md") for entry in files("preflight_runbook").iterdir()]
    titles = {name: codes.ALL[name].title if name in codes.ALL else "" for name in pages if not name.startswith("_")}
    titles |= {check.id: check.title for check in load_catalog().checks}
    sought = word.lower()
    holding = [name for name in titles if sought in name] or [
        n for n, title in titles.items() if sought in title.lower()
    ]
    near = sorted(holding)[:NEAREST] or get_close_matches(sought, sorted(titles), n=NEAREST, cutoff=0.4)
    hint = f"; nearest: {', '.join(near)}" if near else "; `preflight list` shows checks with their codes"
    return f"no finding code or check is called {word!r}{hint}"


@click.command(short_help="JSON Schema of settings, report or timeline.")
@click.argument("what", type=click.Choice(["config", "report", "timeline"]))
def schema(what: str) -> None:
    """Print the JSON Schema (2020-12) of preflight.yaml, of the JSON report, or of a line of a timeline."""
    if what == "report":
        from preflight.report.json import schema as report_schema

        document = report_schema()
    elif what == "timeline":
        from preflight.report.timeline import schema as timeline_schema

        document = timeline_schema()
    else:
        from preflight.settings.schema import config_schema

        document = config_schema()
    click.echo(json.dumps(document, indent=2))
