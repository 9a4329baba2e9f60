"""Where reports go: `--output FORMAT[=PATH]`, checked before anything runs, written completely or not at all."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from preflight.cli.terminal import PLAIN_WIDTH, colored, width_of
from preflight.files import Attempts, WriteError, check, descriptor, identity, keeps, write

if TYPE_CHECKING:
    from preflight.report.model import Report

FORMATS = ("text", "json", "junit", "markdown", "html", "openmetrics", "sarif")
STDOUT = Path("/proc/self/fd/1")
STDOUT_FILENO = 1


def complete_format(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Formats, for shell completion."""
    return [format for format in FORMATS if format.startswith(incomplete)]


@dataclass(frozen=True, slots=True)
class Output:
    """One document: its format, and its file (None: standard output)."""

    format: str
    path: Path | None


def parse_outputs(values: Sequence[str], formats: Sequence[str] = FORMATS) -> tuple[Output, ...]:
    """Read the option's values; text on standard output if there is none. Raises click.UsageError."""
    outputs = tuple(_parse(value, formats) for value in values) or (Output("text", None),)
    _refuse_clash(outputs, "--output", "give a =PATH")
    return outputs


def timeline_path(path: Path | None, outputs: Sequence[Output]) -> Path | None:
    """Where `--debug` writes; `-` is standard output, if no report goes there. Raises click.UsageError."""
    if path is None:
        return None
    timeline = _output("timeline", str(path), "--debug")
    _refuse_clash((*outputs, timeline), "--debug", "give a FILE")
    return timeline.path or STDOUT


def _refuse_clash(outputs: Sequence[Output], option: str, instead: str) -> None:
    """Raises click.UsageError for two documents in one place."""
    to_stdout = [output.format for output in outputs if output.path is None]
    if len(to_stdout) > 1:
        raise click.UsageError(f"standard output takes one document, not {' and '.join(to_stdout)}: {instead}")
    try:
        _refuse_same_file(outputs)
    except WriteError as error:
        raise click.UsageError(f"{option}: {error}") from None


def _refuse_same_file(outputs: Sequence[Output]) -> None:
    """Refuse two documents in one file, even under different names. Raises WriteError, click.UsageError."""
    if len(outputs) > 1:
        places = [place for output in outputs if (place := identity(output.path or STDOUT)) is not None]
        if len(set(places)) < len(places):
            raise click.UsageError("two outputs name one file")


def _parse(value: str, formats: Sequence[str]) -> Output:
    format, separator, name = value.partition("=")
    if format not in formats:
        near = get_close_matches(format, formats, n=1, cutoff=0.0)
        raise click.UsageError(f"no output format is called {format!r}; nearest: {near[0]} (of {', '.join(formats)})")
    if not separator:
        return Output(format, None)
    if not name:
        raise click.UsageError(f"--output {value}: there is no file after the equals sign")
    return _output(format, name, "--output")


def _output(format: str, name: str, option: str) -> Output:
    """The document of that file; `-` is standard output. Raises click.UsageError."""
    if name == "-":
        return Output(format, None)
    path = Path(name)
    try:
        check(path)  # fail now, not after the run, when the report would be lost
        return Output(format, None if descriptor(path) == STDOUT_FILENO else path)
    except WriteError as error:
        raise click.UsageError(f"{option}: {error}") from None


def captures_parent(outputs: Sequence[Output]) -> Path:
    """The folder of the first output that stays as a file, else the current one. Raises WriteError."""
    return next((output.path.parent for output in outputs if output.path and keeps(output.path)), Path())


@dataclass(frozen=True, slots=True)
class Style:
    """What the text report shows. exit_code: that of the command, if it is not that of the run."""

    no_color: bool = False
    verbose: bool = False
    summary: bool = False
    durations: bool = False
    exit_code: int | None = None


STYLE = Style()


def write_outputs(report: "Report", outputs: Sequence[Output], style: Style) -> None:
    """Render and write every document. Raises WriteError when all were tried."""

    def text(output: Output) -> str:
        if output.path is not None:
            return render(report, output.format, style)
        color = colored(sys.stdout, no_color=style.no_color)
        return render(report, output.format, style, width=width_of(sys.stdout), color=color)

    write_texts([(output, text(output)) for output in outputs])


def write_texts(documents: Sequence[tuple[Output, str]]) -> None:
    """Write documents that are rendered already. Raises WriteError when all were tried."""
    attempts = Attempts()
    for output, text in documents:
        with attempts.one():
            if output.path is not None:
                write(output.path, text)
            else:
                click.echo(text, nl=False, color=True)  # whether to use colours is decided already
    attempts.settle()


@contextmanager
def verdict_if_lost(report: "Report", exit_code: int) -> Iterator[None]:
    """If the body cannot write, print the run's findings in one line on standard error."""
    try:
        yield
    except WriteError:
        click.echo(verdict_line(report, exit_code), err=True)
        raise


def verdict_line(report: "Report", exit_code: int) -> str:
    """The verdict with its causes, or with the counts where there is no cause."""
    from preflight.report.common import counts

    causes = ", ".join(f"{cause.code} {cause.target} {cause.direction}" for cause in report.diagnosis)
    words = f"preflight: verdict {report.verdict} (exit would have been {exit_code}): {causes or counts(report)}"
    return " ".join(words.split())


def render(
    report: "Report", format: str, style: Style = STYLE, *, width: int = PLAIN_WIDTH, color: bool = False
) -> str:
    """One document as text."""
    if format == "text":
        from preflight.report import text

        return text.render(
            report,
            width=max(width, 40),
            color=color,
            verbose=style.verbose,
            summary=style.summary,
            durations=style.durations,
            sudo=os.geteuid() != 0,
            exit_code=style.exit_code,
        )
    document: str = import_module(f"preflight.report.{format}").render(report)
    return document
