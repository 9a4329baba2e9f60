"""`report`: convert, compare and join reports that were written earlier."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from preflight.cli.nearest import NearestGroup
from preflight.cli.outputs import Style, parse_outputs, write_outputs, write_texts
from preflight.cli.terminal import width_of
from preflight.files import beginning
from preflight.model.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from preflight.cli.outputs import Output
    from preflight.report.matrix import Matrix
    from preflight.report.model import Report

EXIT_WORSE = 1
DIFF_FORMATS = ("text", "html")
MATRIX_FORMATS = ("text", "html", "json")


@click.group(cls=NearestGroup, short_help="Convert, compare or join JSON reports.")
def report() -> None:
    """Work with JSON reports."""


@report.command("render", short_help="Convert a JSON report into other formats.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    "outputs",
    multiple=True,
    metavar="FORMAT[=PATH]",
    help="text, json, junit, markdown, html, openmetrics, sarif.",
)
@click.option("--no-color", is_flag=True, help="No colours.")
@click.option("-v", "--verbose", is_flag=True, help="With measurements and evidence.")
@click.option("--summary", is_flag=True, help="Failures only in the text.")
@click.option("--durations", is_flag=True, help="The slowest checks in the text.")
def render(file: Path, outputs: tuple[str, ...], no_color: bool, verbose: bool, summary: bool, durations: bool) -> None:
    """Convert the JSON report FILE into the requested formats; by default text on standard output."""
    style = Style(no_color=no_color, verbose=verbose, summary=summary, durations=durations)
    write_outputs(read_report(file), parse_outputs(outputs), style)


@report.command("diff", short_help="What got worse, what got better.")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option("--output", "-o", "outputs", multiple=True, metavar="FORMAT[=PATH]", help="text or html.")
def diff(before: Path, after: Path, outputs: tuple[str, ...]) -> None:
    """Compare the JSON reports BEFORE and AFTER of one node; exit code 1 when anything got worse.

    A measurement counts as changed only if it differs by more than its spread.
    """
    from preflight.report import compare, compare_page

    wanted = parse_outputs(outputs, formats=DIFF_FORMATS)
    old, new = read_report(before), read_report(after)
    found = compare.compare(old, new)
    render = {
        "text": lambda: compare.render(found, width_of(sys.stdout)),
        "html": lambda: compare_page.render_html(found, old, new),
    }
    write_texts([(output, render[output.format]()) for output in wanted])
    sys.exit(EXIT_WORSE if found.worse else 0)


@report.command("merge", short_help="Join many nodes' reports into a matrix.")
@click.argument("files", nargs=-1, required=True, metavar="REPORT...", type=click.Path(path_type=Path))
@click.option("--output", "-o", "outputs", multiple=True, metavar="FORMAT[=PATH]", help="text, html or json.")
def merge(files: tuple[Path, ...], outputs: tuple[str, ...]) -> None:
    """Join the JSON reports of many nodes: who reaches whom, by direction, as both ends see it, and why.

    Of several reports of a node the later counts for each check and peer. Exit code 1 when a direction failed, or a
    node by itself. Join before you redact addresses: they identify the nodes.
    """
    from preflight.report.merge import merge as join

    wanted = parse_outputs(outputs, formats=MATRIX_FORMATS)
    try:
        joined = join([read_report(file) for file in files])
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    write_matrix(joined, wanted)
    sys.exit(EXIT_WORSE if joined.failed else 0)


def write_matrix(matrix: "Matrix", wanted: "Sequence[Output]") -> None:
    """Write a matrix in each of the formats that are wanted. Raises WriteError when all were tried."""
    from preflight.report import matrix_text

    width = width_of(sys.stdout)
    render = {
        "text": lambda: matrix_text.render_text(matrix, width),
        "html": lambda: matrix_text.render_html(matrix),
        "json": lambda: matrix.model_dump_json(indent=2) + "\n",
    }
    write_texts([(output, render[output.format]()) for output in wanted])


def print_changes(before: "Report", after: "Report") -> bool:
    """Print on stderr what changed; return whether anything got worse."""
    from preflight.report import compare

    comparison = compare.compare(before, after)
    click.echo(compare.render(comparison, width_of(sys.stderr)), nl=False, err=True)
    return comparison.worse


def read_report(file: Path) -> "Report":
    """Read a JSON report from a file, pipe or device. Raises click.UsageError."""
    from preflight.report.json import LARGEST_BYTES, parse

    try:
        return parse(beginning(file, LARGEST_BYTES + 1))
    except OSError as error:
        raise click.UsageError(f"{one_line(str(file))}: {error.strerror}") from None
    except ValueError as error:
        raise click.UsageError(f"{one_line(str(file))} is not a preflight report in JSON: {error}") from None
