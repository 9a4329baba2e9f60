"""`--lab NAME`: the same command again, inside node a of a lab."""

import signal
import subprocess
from collections.abc import Mapping
from types import FrameType
from typing import get_args

import click

from preflight.lab.names import KIND_VARIABLE, LabError
from preflight.programs import python_module
from preflight.report.model import LabKind
from preflight.settings.reading import SettingsError

EXIT_INTERRUPTED = 130


def lab_kind(environ: Mapping[str, str]) -> LabKind | None:
    """What the lab around this run is made of; None outside a lab. Raises SettingsError."""
    named = environ.get(KIND_VARIABLE) or None
    kind = next((kind for kind in get_args(LabKind) if kind == named), None)
    if kind != named:
        raise SettingsError(f"{KIND_VARIABLE} is set by the lab for what runs in it, to one of {get_args(LabKind)}")
    return kind


def run_in_lab(name: str, arguments: list[str], options: tuple[str, ...] | None = None) -> int:
    """Run `preflight ARGUMENTS` in the lab and return its exit code.

    options: of those that the lab adds, the ones that the command takes, each with its value; None for all.
    """
    from preflight.lab.labs import lab_for

    try:
        with lab_for(name) as lab:
            added = lab.preflight_arguments()
            taken = added if options is None else [word for each in options for word in _option(added, each)]
            inner = python_module("preflight", *arguments, *taken)
            return _run(lab.users_command(inner), lab.environment())
    except LabError as error:
        raise click.UsageError(str(error)) from None
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _option(words: list[str], option: str) -> list[str]:
    """An option and its value, if it is there."""
    return words[words.index(option) : words.index(option) + 2] if option in words else []


def _run(command: list[str], environment: dict[str, str]) -> int:
    """Wait for the child. A signal goes to the child, which ends first and writes its report."""
    # In a new session a Ctrl-C at the terminal reaches it once, through the handler below, and not twice. What the
    # caller's shell opened for `--output json=/dev/fd/3` is open there too; nothing of ours is inheritable.
    child = subprocess.Popen(command, env=environment, start_new_session=True, close_fds=False)

    def forward(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)

    previous = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return child.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
