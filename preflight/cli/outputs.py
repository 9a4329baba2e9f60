"""Where reports go: `--output FORMAT[=PATH]`, checked before anything runs, written whole or not at all."""

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from preflight.report.model import Report

FORMATS = ("text", "json", "junit", "markdown", "html", "openmetrics", "sarif")


def complete_format(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Formats for the shell."""
    return [format for format in FORMATS if format.startswith(incomplete)]


@dataclass(frozen=True, slots=True)
class Output:
    """One document: its format, and its file (None: standard output)."""

    format: str
    path: Path | None


def parse_outputs(values: Sequence[str], formats: Sequence[str] = FORMATS) -> tuple[Output, ...]:
    """Read the option's values; text on standard output if there is none. Raises click.UsageError."""
    outputs = tuple(_parse(value, formats) for value in values) or (Output("text", None),)
    to_stdout = [output.format for output in outputs if output.path is None]
    if len(to_stdout) > 1:
        raise click.UsageError(f"standard output takes one document, not {' and '.join(to_stdout)}: give a =PATH")
    paths = [output.path for output in outputs if output.path]
    if len(set(paths)) < len(paths):
        raise click.UsageError("two outputs name the same file")
    return outputs


def _parse(value: str, formats: Sequence[str]) -> Output:
    format, separator, path = value.partition("=")
    if format not in formats:
        near = get_close_matches(format, formats, n=1, cutoff=0.0)
        raise click.UsageError(f"no output format is called {format!r}; nearest: {near[0]} (of {', '.join(formats)})")
    if separator and not path:
        raise click.UsageError(f"--output {value}: no file behind the equals sign")
    return Output(format, _writable(Path(path)) if separator else None)


def _writable(path: Path) -> Path:
    """Refuse now what would fail after the run, when the report is lost."""
    folder = path.absolute().parent
    if path.is_dir():
        raise click.UsageError(f"--output: {path} is a directory")
    if not folder.is_dir():
        raise click.UsageError(f"--output: {folder} is no directory")
    if not os.access(folder, os.W_OK):
        raise click.UsageError(f"--output: no permission to write in {folder}")
    return path


def write_outputs(report: "Report", outputs: Sequence[Output], *, no_color: bool, verbose: bool) -> None:
    """Render and write every document, files first: a closed standard output must not cost a file."""
    for output in sorted(outputs, key=lambda output: output.path is None):
        if output.path is not None:
            _replace(output.path, render(report, output.format, verbose=verbose))
        else:
            color = sys.stdout.isatty() and not no_color and "NO_COLOR" not in os.environ
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 80
            click.echo(render(report, output.format, width=width, color=color, verbose=verbose), nl=False, color=color)


def write_texts(documents: Sequence[tuple[Output, str]]) -> None:
    """Write documents that are rendered already, files first."""
    for output, text in sorted(documents, key=lambda document: document[0].path is None):
        if output.path is not None:
            _replace(output.path, text)
        else:
            click.echo(text, nl=False)


def render(report: "Report", format: str, *, width: int = 80, color: bool = False, verbose: bool = False) -> str:
    """One document as text."""
    if format == "text":
        from preflight.report import text

        return text.render(report, width=max(width, 40), color=color, verbose=verbose)
    document: str = import_module(f"preflight.report.{format}").render(report)
    return document


def _replace(path: Path, text: str) -> None:
    """Write beside the file and rename: a reader never sees half a report."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.absolute().parent, delete=False) as file:
        file.write(text)
    umask = os.umask(0)
    os.umask(umask)
    Path(file.name).chmod(0o666 & ~umask)
    Path(file.name).replace(path)
