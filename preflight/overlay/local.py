"""Asking daemons of this machine, with a time limit on everything: a daemon that hangs is a finding too."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

from preflight.model.event import Tell, silent
from preflight.programs import find

TIMEOUT_S = 1.0
BUSY_S = 3.0
"""How long a daemon may think that its kernel calls running: a busy machine is not a dead daemon."""
MAXIMUM_BYTES = 8 << 20

T = TypeVar("T")
Method = Literal["GET", "POST"]
Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class LocalError(Exception):
    """A local daemon or program that gave no usable answer.

    kind: `absent` (nothing there to ask), `refused` (a socket without a listener), `privilege`, `timeout`, `garbage`.
    The text names the socket or program, never its answer: that may contain keys.
    """

    def __init__(self, kind: Literal["absent", "refused", "privilege", "timeout", "garbage"], text: str) -> None:
        super().__init__(text)
        self.kind = kind


@contextmanager
def understood(place: str) -> Iterator[None]:
    """Turn any parser error into LocalError `garbage`: an answer in another format is data, not a bug."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError):
        raise LocalError("garbage", f"{place} answered in a format that this version does not know") from None


def exists(path: Path) -> bool:
    """Whether a file exists and is visible."""
    try:
        path.stat()
    except OSError:
        return False
    return True


async def ask_unix(path: Path, request: bytes, *, until: bytes | None = None, tell: Tell = silent) -> bytes:
    """Send a request to a UNIX socket and read up to `until`, else until it closes. Raises LocalError."""
    asked = _ask(str(path), lambda: asyncio.open_unix_connection(str(path)), request, until)
    return await reported(tell, str(path), asked)


async def ask_http(
    connect: Connect,
    place: str,
    host: str,
    path: str,
    headers: dict[str, str] | None = None,
    tell: Tell = silent,
    *,
    method: Method = "GET",
) -> Any:
    """Ask a daemon of this machine for a JSON document. Raises LocalError."""
    return parse_json(await ask_http_text(connect, place, host, path, headers, tell, method=method), place)


async def ask_http_text(
    connect: Connect,
    place: str,
    host: str,
    path: str,
    headers: dict[str, str] | None = None,
    tell: Tell = silent,
    *,
    method: Method = "GET",
) -> bytes:
    """Get any answer of a daemon of this machine (HTTP/1.0: no keep-alive, no chunks). Raises LocalError."""
    sent = {"Host": host, **(headers or {}), **({"Content-Length": "0"} if method == "POST" else {})}
    lines = [f"{method} {path} HTTP/1.0", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
    asked = _ask(place, connect, "\r\n".join(lines).encode("ascii"), None)
    return body_of(await reported(tell, f"{place} {path}", asked), place)


async def run(*argv: str, tell: Tell = silent, timeout_s: float | None = None) -> tuple[int, str]:
    """Run a program and give its exit status and standard output. Raises LocalError if it is missing or hangs."""
    return await reported(tell, f"`{' '.join(argv)}`", _run(argv, TIMEOUT_S if timeout_s is None else timeout_s))


async def reported(tell: Tell, place: str, asked: Awaitable[T]) -> T:
    """Report what was asked, how long it took, and whether an answer came, never its content. Raises LocalError."""
    began = time.monotonic()
    tell(began, "asked", place=place)
    try:
        answer = await asked
    except LocalError as error:
        tell(time.monotonic(), "unanswered", place=place, kind=error.kind, took_ms=(time.monotonic() - began) * 1000)
        raise
    tell(time.monotonic(), "answered", place=place, took_ms=(time.monotonic() - began) * 1000)
    return answer


async def _run(argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
    place = " ".join(argv)
    program = find(argv[0])
    if program is None:
        raise LocalError("absent", f"{argv[0]} is not installed")
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *argv[1:],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except PermissionError:
        raise LocalError("privilege", f"{argv[0]} may not be run by this user") from None
    try:
        output, _ = await asyncio.wait_for(process.communicate(), timeout_s)
    except TimeoutError:
        raise LocalError("timeout", f"`{place}` did not finish within {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode("utf-8", "replace")


def body_of(answer: bytes, place: str) -> bytes:
    """The body of an HTTP answer of status 200. Raises LocalError."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status in ([b"401"], [b"403"]):
        raise LocalError("privilege", f"{place} refuses this user")
    if not head.startswith(b"HTTP/") or status != [b"200"]:
        raise LocalError("garbage", f"{place} gave no HTTP answer of status 200")
    return body


def parse_json(text: bytes | str, place: str) -> Any:
    """A JSON value. Raises LocalError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise LocalError("garbage", f"{place} gave an answer that is not JSON") from None


async def _ask(place: str, connect: Connect, request: bytes, until: bytes | None) -> bytes:
    patience_s = BUSY_S
    try:
        async with asyncio.timeout(patience_s) as limit:
            reader, writer = await connect()
            if _is_stopped(writer):
                patience_s = TIMEOUT_S
                limit.reschedule(asyncio.get_running_loop().time() + patience_s)
            try:
                writer.write(request)
                await writer.drain()
                return await _read(reader, until)
            finally:
                writer.transport.abort()  # a daemon that hangs would keep a close waiting
                with suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        raise LocalError("timeout", f"{place} did not answer within {patience_s:g} s") from None
    except FileNotFoundError:
        raise LocalError("absent", f"{place} does not exist") from None
    except PermissionError:
        raise LocalError("privilege", f"{place} may not be opened by this user") from None
    except (ConnectionResetError, BrokenPipeError):
        raise LocalError("garbage", f"{place} hung up without an answer") from None
    except OSError:
        raise LocalError("refused", f"nothing answers at {place}") from None


def _is_stopped(writer: asyncio.StreamWriter) -> bool:
    """Whether the process behind a UNIX socket is stopped (state T, proc_pid_stat(5)); False if that is unknown."""
    served = writer.get_extra_info("socket")
    if served is None or served.family != socket.AF_UNIX:
        return False
    pid, _, _ = struct.unpack("3i", served.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] in ("T", "t")


async def _read(reader: asyncio.StreamReader, until: bytes | None) -> bytes:
    answer = bytearray()
    while chunk := await reader.read(1 << 16):
        answer += chunk
        if len(answer) > MAXIMUM_BYTES or (until is not None and answer.endswith(until)):
            break
    return bytes(answer)
