"""Asking local daemons: every way in which one can fail to answer, on real sockets and processes."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from preflight.model.event import Event, telling
from preflight.overlay import local
from preflight.overlay.local import LocalError, ask_http, ask_unix, body_of, exists, parse_json, run

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "TIMEOUT_S", 0.2)


async def _against(path: Path, handler: Handler, ask: Callable[[], Awaitable[Any]]) -> Any:
    """Ask a daemon that behaves as `handler` does."""
    server = await asyncio.start_unix_server(handler, str(path))
    try:
        return await ask()
    finally:
        server.close()


def _saying(answer: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    return handler


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


def test_an_answer_is_read_to_its_mark_although_the_daemon_keeps_the_connection(tmp_path: Path) -> None:
    """wireguard-go keeps the connection after an answer; waiting for its close would take the whole time limit."""

    async def keeping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"errno=0\n\n")
        await writer.drain()
        await _silent(reader, writer)

    path = tmp_path / "s"
    answer = asyncio.run(_against(path, keeping, lambda: ask_unix(path, b"get=1\n\n", until=b"\n\n")))
    assert answer == b"errno=0\n\n"


def test_a_daemon_that_hangs_is_a_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped daemon still accepts connections; it must not stop the run."""
    monkeypatch.setattr(local, "BUSY_S", 0.2)
    path = tmp_path / "s"
    with pytest.raises(LocalError, match="did not answer within") as caught:
        asyncio.run(_against(path, _silent, lambda: ask_unix(path, b"get=1\n\n", until=b"\n\n")))
    assert caught.value.kind == "timeout"


def test_a_busy_daemon_is_waited_for_and_a_stopped_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a living daemon answers late; one that was stopped never does, and costs less time."""
    monkeypatch.setattr(local, "TIMEOUT_S", 0.05)
    path = tmp_path / "s"

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(4 * local.TIMEOUT_S)
        writer.write(b"errno=0\n\n")
        await _silent(reader, writer)

    assert asyncio.run(_against(path, late, lambda: ask_unix(path, b"get=1\n\n", until=b"\n\n")))
    program = "import socket, sys; s = socket.socket(1); s.bind(sys.argv[1]); s.listen(); print(flush=True); input()"
    stopped = tmp_path / "stopped"
    with subprocess.Popen(
        [sys.executable, "-c", program, stopped], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as daemon:
        assert daemon.stdout is not None
        daemon.stdout.readline()
        daemon.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, daemon.pid, os.WSTOPPED)
        try:
            with pytest.raises(LocalError, match=r"did not answer within 0\.05 s"):
                asyncio.run(ask_unix(stopped, b"get=1\n\n", until=b"\n\n"))
        finally:
            daemon.kill()


def test_a_socket_that_is_not_there_or_that_nobody_serves(tmp_path: Path) -> None:
    """Absent and left behind are two different findings."""
    with pytest.raises(LocalError) as caught:
        asyncio.run(ask_unix(tmp_path / "none", b""))
    assert caught.value.kind == "absent"
    (tmp_path / "file").write_text("no socket")
    with pytest.raises(LocalError) as caught:
        asyncio.run(ask_unix(tmp_path / "file", b""))
    assert caught.value.kind == "refused"


def test_json_by_http(tmp_path: Path) -> None:
    """The one good answer."""
    path = tmp_path / "s"

    def ask() -> Awaitable[Any]:
        return ask_http(lambda: asyncio.open_unix_connection(str(path)), "the daemon", "localhost", "/status")

    assert asyncio.run(_against(path, _saying(b'HTTP/1.0 200 OK\r\nX: y\r\n\r\n{"a": 1}'), ask)) == {"a": 1}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", "garbage"),
        (b"\xff\xfe\x00garbage", "garbage"),
        (b"HTTP/1.0 200 OK\r\n\r\n{", "garbage"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"[" * 100_000, "garbage"),
        (b"HTTP/1.0 500 Oh\r\n\r\n{}", "garbage"),
        (b"HTTP/1.0 401 No\r\n\r\n{}", "privilege"),
        (b"HTTP/1.0 403 No\r\n\r\n{}", "privilege"),
    ],
)
def test_http_answers_that_are_of_no_use(answer: bytes, kind: str) -> None:
    """Each is distinguished, and none of its text is repeated: it may hold keys."""
    with pytest.raises(LocalError) as caught:
        parse_json(body_of(answer, "the daemon"), "the daemon")
    assert caught.value.kind == kind
    assert "garbage" not in str(caught.value)


def test_an_endless_answer_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that never stops talking fills no memory."""
    monkeypatch.setattr(local, "MAXIMUM_BYTES", 1 << 20)

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        except ConnectionError:
            writer.close()

    path = tmp_path / "s"
    assert len(asyncio.run(_against(path, endless, lambda: ask_unix(path, b"")))) < 2 << 20


def test_programs() -> None:
    """Exit status and output; a missing program and one that hangs are distinguished."""
    assert asyncio.run(run("sh", "-c", "echo out; echo err >&2; exit 3")) == (3, "out\n")
    with pytest.raises(LocalError) as caught:
        asyncio.run(run("no-such-program-anywhere"))
    assert caught.value.kind == "absent"
    with pytest.raises(LocalError) as caught:
        asyncio.run(run("sleep", "30"))
    assert caught.value.kind == "timeout"


def test_existence_is_a_question_without_exceptions(tmp_path: Path) -> None:
    """A folder that may not be searched and a name too long are just not there."""
    assert exists(tmp_path)
    assert not exists(tmp_path / ("x" * 5000))


def test_each_question_is_reported_with_its_time_and_never_its_answer(tmp_path: Path) -> None:
    """Which daemon kept the run waiting; what it answers may hold a private key."""
    events: list[Event] = []
    tell = telling(events.append, "overlay.local", "wireguard")
    path = tmp_path / "wg0.sock"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"private_key=0123\n\n")
        writer.close()

    async def ask() -> None:
        async with await asyncio.start_unix_server(serve, path):
            await ask_unix(path, b"get=1\n\n", until=b"\n\n", tell=tell)
        with pytest.raises(LocalError):
            await ask_unix(tmp_path / "none", b"get=1\n\n", tell=tell)
        await run("true", tell=tell)

    asyncio.run(ask())
    assert [(event.name, event.fields["place"]) for event in events] == [
        ("asked", str(path)),
        ("answered", str(path)),
        ("asked", f"{tmp_path}/none"),
        ("unanswered", f"{tmp_path}/none"),
        ("asked", "`true`"),
        ("answered", "`true`"),
    ]
    assert events[3].fields["kind"] == "absent"
    assert "0123" not in str(events)
