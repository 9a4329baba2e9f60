"""The processes of a program in this network namespace, and what one wrote to its log last: it only reads.

It needs root: what another user's process has open is that user's.
"""

import os
import re
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from preflight.model.event import Tell, silent
from preflight.overlay.local import LocalError, run

PROC: Final = Path("/proc")
SYSTEM_LOGS: Final = (Path("/var/log/syslog"), Path("/var/log/daemon.log"), Path("/var/log/messages"))
_TAIL_BYTES: Final = 128 << 10
_LINES: Final = 400
_SYSTEM_BYTES: Final = 1 << 20
_OF_JOURNAL: Final = re.compile(r"^(\d+\.\d+) \S+ [^:]+: (.*)$")


def processes(program: str, proc: Path = PROC) -> Iterator[Path]:
    """The folders below /proc of its processes in this network namespace."""
    own = _namespace(proc / "self")
    for process in _called(program, proc):
        with suppress(OSError):  # not ours to read, or it has ended
            if _namespace(process) == own:
                yield process


def hidden(program: str, proc: Path = PROC) -> bool:
    """Whether one runs of which this user may not see in which namespace."""
    for process in _called(program, proc):
        try:
            _namespace(process)
        except PermissionError:
            return True
        except OSError:
            continue
    return False


def _called(program: str, proc: Path) -> Iterator[Path]:
    """The folders of all processes of that name. Each run asks for several, of a thousand: no `Path` for the others."""
    name = program.encode()
    ids = filter(str.isdecimal, os.listdir(proc)) if proc.is_dir() else ()  # noqa: PTH208 - names alone
    for id in ids:
        with suppress(OSError), open(f"{proc}/{id}/comm", "rb", buffering=0) as comm:  # noqa: PTH123 - as above
            if comm.read().strip() == name:
                yield proc / id


def _namespace(process: Path) -> str:
    return str((process / "ns" / "net").readlink())


def arguments(process: Path) -> list[str]:
    """Its command line. Raises OSError."""
    return (process / "cmdline").read_bytes().decode("utf-8", "replace").rstrip("\0").split("\0")


def as_it_sees(process: Path, name: str) -> Path:
    """A file by the name that the process has for it: below its root, or from its folder."""
    return process / "root" / name.lstrip("/") if name.startswith("/") else process / "cwd" / name


def tun_devices(process: Path) -> tuple[str, ...]:
    """The TUN devices that it has open."""
    found: list[str] = []
    with suppress(OSError):
        for each in (process / "fdinfo").iterdir():
            with suppress(OSError):
                words = (line.split() for line in each.read_text(encoding="utf-8", errors="replace").splitlines())
                found += [line[1] for line in words if len(line) == 2 and line[0] == "iff:"]
    return tuple(dict.fromkeys(found))


async def last_lines(
    process: Path, named: str | None = None, tell: Tell = silent, *, timed: bool = False
) -> tuple[str, ...]:
    """The last lines of its log, oldest first: of a file that it has open, else of the journal, else of the system's.

    named: the file that its own options name. timed: those of the journal with their local time. Empty where none is
    found.
    """
    files = [as_it_sees(process, named)] if named is not None else []
    files += [process / "fd" / number for number in ("1", "2")]
    for file in files:
        if (tail := _tail(file, _TAIL_BYTES)) is not None:
            return tuple(tail[-_LINES:])
    return await _journal(f"_PID={process.name}", tell, timed=timed) or _system_log(process.name)


def of_file(file: Path) -> tuple[str, ...]:
    """The last lines of a log; empty if it may not be read."""
    return tuple((_tail(file, _TAIL_BYTES) or ())[-_LINES:])


async def of_unit(unit: str, tell: Tell = silent) -> tuple[str, ...]:
    """What the journal has of a unit of systemd, which need not run."""
    return await _journal(f"--unit={unit}", tell)


def _tail(file: Path, most: int) -> list[str] | None:
    """The last lines of a regular file; None if it is not one, or may not be read."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as opened:
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(0, size - most))
            lines = opened.read(most).decode("utf-8", "replace").splitlines()
        except OSError:
            return None
    return lines[1:] if size > most else lines


async def _journal(whose: str, tell: Tell, *, timed: bool = False) -> tuple[str, ...]:
    form = "short-unix" if timed else "cat"
    argv = ("journalctl", "--quiet", "--no-pager", f"--output={form}", f"--lines={_LINES}", whose)
    try:
        status, said = await run(*argv, tell=tell)
    except LocalError:
        return ()
    lines = said.splitlines() if status == 0 else ()
    return tuple(map(_with_local_time, lines) if timed else lines)


def _with_local_time(line: str) -> str:
    """A line of the journal as a program writes it that prints the time itself."""
    found = _OF_JOURNAL.match(line)
    if found is None:
        return line
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(float(found[1])))} {found[2]}"


def _system_log(pid: str, files: Sequence[Path] = SYSTEM_LOGS) -> tuple[str, ...]:
    """Its lines in a log that all programs share, without the time and the name."""
    mark = f"[{pid}]: "
    for file in files:
        lines = _tail(file, _SYSTEM_BYTES) or []
        if own := [line.partition(mark)[2] for line in lines if mark in line]:
            return tuple(own[-_LINES:])
    return ()
