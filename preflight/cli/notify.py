"""`watch --exec`: a command of the user's for each change, which it gets by its environment, never in its words."""

import asyncio
import os
import shlex
from collections.abc import Mapping, Sequence

import click

from preflight.report.entries import Entry

LIMIT_S = 60.0
"""How long one command may take; the next round waits for it."""
PREFIX = "PREFLIGHT_CHANGE_"


def command_of(text: str | None) -> tuple[str, ...]:
    """The words of the option; no shell reads them. Raises click.UsageError."""
    if text is None:
        return ()
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise click.UsageError(f"--exec: {error}") from None
    if not words:
        raise click.UsageError("--exec needs a command")
    return words


def variables(entry: Entry) -> Mapping[str, str]:
    """What the command gets: text of others too, so a script must quote it."""
    values = {
        "TREND": entry.trend,
        "CODE": entry.code,
        "TARGET": entry.target,
        "DIRECTION": entry.direction,
        "TEXT": entry.text,
        "ADVICE": "\n".join(entry.more),
    }
    return {f"{PREFIX}{name}": value.replace("\0", "") for name, value in values.items()}


async def notify(command: Sequence[str], entry: Entry) -> str:
    """Run it, and wait; a sentence if it failed, else nothing."""
    environ = {**os.environ, **variables(entry)}
    try:
        process = await asyncio.create_subprocess_exec(*command, env=environ, stdin=asyncio.subprocess.DEVNULL)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    try:
        async with asyncio.timeout(LIMIT_S):
            code = await process.wait()
    except TimeoutError:
        return f"{command[0]} was ended after {LIMIT_S:.0f} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return f"{command[0]} ended with exit code {code}" if code else ""
