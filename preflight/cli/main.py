"""The entry point: the version without click, else the command group; what cannot be written ends either."""

import sys
from typing import TYPE_CHECKING

from preflight import __version__
from preflight.cli import lean
from preflight.cli.compiled import keep
from preflight.cli.ending import leaving_threads_behind
from preflight.cli.streams import guard
from preflight.files import ReaderGoneError, WriteError

if TYPE_CHECKING:
    import click

EXIT_UNWRITTEN = 2
ALONE = "alone"
"""What a command finds as its context's object if this process was started for it."""


def build() -> "click.Group":
    """The command group. click is imported here, so that `--version` need not wait for it."""
    from preflight.cli.group import group

    return group()


def main() -> None:
    """Entry point of the program: a failed write ends it with one sentence and exit code 2.

    Without a sentence if the program that read standard output has ended, as with other programs in front of `head`.
    """
    lean.start()
    with leaving_threads_behind():
        sys.exit(_guarded())


def _guarded() -> str | int | None:
    """Run the command; its exit code, or 2 if its output was lost."""
    stdout = guard()
    code: str | int | None = None
    lost: WriteError | None = None
    try:
        _run()
    except WriteError as error:
        lost = error
    except SystemExit as end:
        code = end.code
    # Ask the stream too: a library or a plugin that prints may have caught the error.
    lost = lost or stdout.finished()
    if lost is not None:
        code = EXIT_UNWRITTEN
        if not isinstance(lost, ReaderGoneError):
            sys.stderr.write(f"preflight: {lost}\n")
    return code


def _run() -> None:
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"preflight {__version__}\n")
        return
    kept = keep()
    try:
        build().main(prog_name="preflight", obj=ALONE)
    finally:
        if kept is not None:
            kept.save()
        lean.end()
