"""`report`: what can be done with a report that was written before."""

from pathlib import Path

import click


@click.group(short_help="Turn a JSON report into another format.")
def report() -> None:
    """Work with JSON reports."""


@report.command("render", short_help="Turn a JSON report into other formats.")
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
def render(file: Path, outputs: tuple[str, ...], no_color: bool, verbose: bool) -> None:
    """Turn the JSON report FILE into the formats asked for; text on standard output if none is."""
    from preflight.cli.outputs import parse_outputs, write_outputs
    from preflight.report.json import parse

    wanted = parse_outputs(outputs)
    try:
        document = parse(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.UsageError(f"{file}: {error.strerror}") from None
    except ValueError:
        raise click.UsageError(f"{file} is not a preflight report in JSON") from None
    write_outputs(document, wanted, no_color=no_color, verbose=verbose)
