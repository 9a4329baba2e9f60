"""`--lab NAME`: the same command again, inside node a of a lab."""

import signal
import subprocess
import sys
from types import FrameType


def run_in_lab(name: str, arguments: list[str]) -> int:
    """Run `preflight ARGUMENTS` without its `--lab` in the lab and return its exit code."""
    from preflight.lab.session import lab_for

    with lab_for(name) as lab:
        inner = [sys.executable, "-m", "preflight", *without_lab(arguments), *lab.preflight_arguments()]
        child = subprocess.Popen(lab.command(inner), env=lab.environment())

        def forward(number: int, frame: FrameType | None) -> None:
            # The child ends first and writes its report; then the lab is taken down.
            child.send_signal(number)

        previous = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            return child.wait()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def without_lab(arguments: list[str]) -> list[str]:
    """The arguments without `--lab NAME` or `--lab=NAME`."""
    rest = iter(arguments)
    kept = []
    for argument in rest:
        if argument == "--lab":
            next(rest, None)
        elif not argument.startswith("--lab="):
            kept.append(argument)
    return kept
