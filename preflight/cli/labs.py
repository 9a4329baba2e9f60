"""What the commands of the lab share."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from preflight.cli.outputs import parse_outputs
from preflight.files import folder_at, keeps
from preflight.lab.names import LabError

if TYPE_CHECKING:
    from preflight.cli.outputs import Output

INTERRUPTED = 130


class Refused(click.ClickException):
    """One sentence on standard error, and the exit code for "nothing was run"."""

    exit_code = 2


@contextmanager
def explaining() -> Iterator[None]:
    """Turn an error of the lab into one sentence, and an interruption into its exit code."""
    try:
        yield
    except LabError as error:
        raise Refused(str(error)) from None
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def scores_only(wanted: tuple["Output", ...]) -> None:
    """Raise UsageError for a format of reports."""
    unfit = next((output.format for output in wanted if output.format not in ("text", "json")), None)
    if unfit is not None:
        raise click.UsageError(f"scores come as text or json, not as {unfit}")


def default_jobs() -> int:
    """How many labs run in parallel: a run leaves one CPU half idle."""
    return max(1, (os.cpu_count() or 1) // 2)


def in_machine(outputs: tuple[str, ...], *more: str) -> int:
    """Run the command of now without its `--vm` in the virtual machine; return its exit code. more: further words."""
    with explaining():
        from preflight.lab.vm.command import lab

        context = click.get_current_context()
        words = [str(context.info_name), *_words(context), *more]
        return lab(words, [output.path for output in parse_outputs(outputs) if output.path])
    raise AssertionError("an error of the lab ends the command")


def _words(context: click.Context) -> list[str]:
    """What was said on the command line, except `--vm`."""
    words: list[str] = []
    for each in context.command.params:
        key, name = str(each.name), each.opts[0]
        value: Any = context.params.get(key)
        if context.get_parameter_source(key) is not ParameterSource.COMMANDLINE or name == "--vm":
            continue
        if isinstance(each, click.Argument):
            words = [*value, *words]
        elif value is True:
            words.append(name)
        else:
            words += [word for one in (value if each.multiple else (value,)) for word in (name, str(one))]
    return words


@contextmanager
def report_folder(file: Path | None, *, single: bool) -> Iterator[Path]:
    """Where the runs' reports go: into the folder of the JSON file, else into a temporary folder."""
    if file is not None and not single and keeps(file):
        folder = file.with_name(f"{file.stem}-reports")
        folder_at(folder)
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="preflight-lab-"))
    try:
        yield folder
    finally:
        # A run that was judged bad leaves its timeline and its report.
        if not any(folder.glob("*.jsonl")):
            shutil.rmtree(folder)
