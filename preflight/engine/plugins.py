"""Checks of other packages, each in a separate process: nothing they do ends, blocks or silences this one.

Not even their imports happen here. `preflight.engine.plugin_child` is the other side: it writes one line for
each message, whose first byte is its type.
"""

import asyncio
import json
import os
import pickle
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from preflight.api import Check, Context, Result, facts
from preflight.engine.contract import RESULT, CheckBrokeError, check_type
from preflight.model.event import telling
from preflight.model.plugins import BrokenPlugin
from preflight.programs import python_module, search_path

IMPORT_SECONDS = 10.0
"""How long the modules of one package may take to be imported."""
GRACE_SECONDS = 5.0
"""How long a cancelled check may clean up before it is killed."""
BEGUN, CHECK_DECLARED, BROKEN, GIVEN, BROKE, ENDED = b"B", b"C", b"X", b"R", b"F", b"E"
_CHILD = "preflight.engine.plugin_child"
_LONGEST_LINE = 8 << 20


def declared_by(package: str, origin: str) -> list[Check | BrokenPlugin]:
    """What a package of checks declares. A module whose import does not end, or ends the process, costs only itself."""
    culprits: list[BrokenPlugin] = []
    while True:
        lines, how = _import(package, [culprit.name for culprit in culprits])
        if lines[-1:] == [ENDED]:
            break
        begun = [line[1:].decode(errors="replace") for line in lines if line[:1] == BEGUN] or [package]
        culprits.append(BrokenPlugin(origin, begun[-1], f"its import {how}"))
        if begun[-1] == package:
            break  # every other module of it imports it
    return [*_declarations(lines, package, origin), *culprits]


def _declarations(lines: Iterable[bytes], package: str, origin: str) -> Iterator[Check | BrokenPlugin]:
    for line in lines:
        kind, body = line[:1], line[1:]
        try:
            if kind == CHECK_DECLARED:
                yield _check(json.loads(body), origin)
            elif kind == BROKEN:
                name, reason = json.loads(body)
                yield BrokenPlugin(origin, name, reason)
        except ValueError:
            yield BrokenPlugin(origin, package, "its import wrote among our messages")


def _import(package: str, without: Iterable[str]) -> tuple[list[bytes], str]:
    """The lines of a child that imports all modules but some, and how it ended if it did not say."""
    words = python_module(_CHILD, "declare", package, *without)
    how = f"did not end within {IMPORT_SECONDS:g} s"
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=_environment(), start_new_session=True
    ) as child:
        try:
            said, _ = child.communicate(timeout=IMPORT_SECONDS)
            how = f"ended the process ({_exit(child.returncode)})"
        except subprocess.TimeoutExpired:
            _kill_group(child.pid)
            said, _ = child.communicate()
        finally:
            _kill_group(child.pid)
    return said.splitlines(), how


def _check(row: dict[str, Any], origin: str) -> Check:
    function = PluginFunction(str(row["module"]), str(row.pop("name")))
    reads = [getattr(facts, str(kind)) for kind in row.pop("reads")]
    return check_type().validate_python({**row, "origin": origin, "function": function, "reads": reads})


@dataclass(frozen=True, slots=True)
class PluginFunction:
    """The function of a check that lives in a module of another package, under a name there."""

    module: str
    name: str

    async def __call__(self, context: Context) -> AsyncGenerator[Result, None]:
        """Run it in a process and hand on what it gives. Raises CheckBrokeError if it breaks, however it does."""
        child = await asyncio.create_subprocess_exec(
            *python_module(_CHILD, "run", self.module, self.name),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=_environment(),
            start_new_session=True,  # only we get Ctrl-C from the terminal; we end the child
            limit=_LONGEST_LINE,
        )
        tell = telling(context.net.listener, "engine.plugins", f"{self.module}.{self.name}")
        tell(time.monotonic(), "child-started", pid=child.pid)
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            with suppress(ConnectionError):  # it ended without having read all: its own words follow, or its exit code
                child.stdin.write(pickle.dumps((context.settings, context.peers, context.overlay, context.handed_over)))
                await child.stdin.drain()
                child.stdin.close()
            async for line in child.stdout:
                kind, body = line[:1], line[1:]
                if kind == GIVEN:
                    yield RESULT.validate_json(body)
                elif kind == BROKE:
                    raise CheckBrokeError(*json.loads(body))
                elif kind == ENDED:
                    return
            raise CheckBrokeError(f"its process ended before it did ({_exit(await child.wait())})", [])
        finally:
            await _end(child)
            tell(time.monotonic(), "child-ended", pid=child.pid, exit_code=child.returncode)


async def _end(child: asyncio.subprocess.Process) -> None:
    """Let it clean up, for a bounded time; then nothing that it has started is left."""
    if child.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGTERM)  # `terminate` may reap it, and the event loop would miss its end
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await child.wait()
    _kill_group(child.pid)
    await child.wait()


def _kill_group(leader: int) -> None:
    """End a whole process group. A group keeps its number while it has a member, so no other process is hit."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": search_path()}


def _exit(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
