"""The process in which another package's modules are imported (`declare`), or one of its checks runs (`run`).

Our messages leave by a copy of file descriptor 1. Whatever the package and its own children print goes to standard
error: standard output belongs to the report.
"""

import asyncio
import ctypes
import json
import os
import pickle
import signal
import sys
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from importlib import import_module

from preflight.api import Check, Context
from preflight.engine.catalog import declared_in, modules_of
from preflight.engine.contract import RESULT, breakage, check_type, declared, reason, well_formed
from preflight.engine.plugins import BEGUN, BROKE, BROKEN, CHECK_DECLARED, ENDED, GIVEN
from preflight.model.printable import excerpt
from preflight.net import Net

_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)

Say = Callable[[bytes, bytes], None]


def _declare(say: Say, package: str, *without: str) -> None:
    """Import every other module of the package, and report the checks in each, or why there are none."""
    for name in modules_of(package):
        if name in without:
            continue
        say(BEGUN, name.encode())
        try:
            found = dict(vars(import_module(name)))
        except BaseException as error:
            say(BROKEN, json.dumps([excerpt(name), reason(error)]).encode())
            continue
        for attribute, value in found.items():
            if isinstance(value, Check) and declared_in(value) in (name, None):
                _tell(say, attribute, replace(value, module=name))
    say(ENDED, b"")


def _tell(say: Say, attribute: str, check: Check) -> None:
    try:
        row = check_type().dump_python(declared(check), mode="json", exclude={"function", "reads"})
        row |= {"name": attribute, "reads": [kind.__name__ for kind in check.reads]}
        say(CHECK_DECLARED, json.dumps(row).encode())
    except Exception as error:
        say(BROKEN, json.dumps([excerpt(f"{check.module}.{attribute}"), reason(error)]).encode())


def _run(say: Say, module: str, name: str) -> None:
    """Run a check on the context that standard input holds."""
    settings, peers, overlay, facts = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this
    try:
        check: Check = getattr(import_module(module), name)
        asyncio.run(_follow(check, Context(settings, peers, overlay, Net(settings), facts), say))
    except BaseException as error:
        _broke(say, error)


async def _follow(check: Check, context: Context, say: Say) -> None:
    work = asyncio.current_task()
    assert work is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
    try:
        async with aclosing(check.function(context)) as results:
            async for result in results:
                # Facts travel as the measurements that were made from them.
                say(GIVEN, RESULT.dump_json(replace(well_formed(result), facts=None)))
        say(ENDED, b"")
    except BaseException as error:
        _broke(say, error)
    os._exit(0)  # what it has left running in tasks and threads must not hold up the run


def _broke(say: Say, error: BaseException) -> None:
    broke = breakage(error)
    say(BROKE, json.dumps([str(broke), broke.frames]).encode())


def _die_with_parent() -> None:
    """Nobody would end this process if the one that started it were killed. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def main(task: str, *words: str) -> None:
    """Do one task; ends the process without waiting for whatever the package has started."""
    messages = os.dup(1)
    os.dup2(2, 1)
    _die_with_parent()

    def say(kind: bytes, body: bytes) -> None:
        with os.fdopen(messages, "wb", closefd=False) as pipe:
            pipe.write(kind + body + b"\n")

    if task == "declare":
        _declare(say, *words)
    else:
        _run(say, *words)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
