"""Requests over separate connections, on loopback: their outcome, and what the kernel said."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from preflight.model.tcp import Transfer
from preflight.net.tcp import transfer as shell
from preflight.net.tcp.transfer import ENOUGH_BYTES, transfer
from tests.net.conftest import answer, server_context

if TYPE_CHECKING:
    import trustme

    from tests.net.conftest import OpenTrap

REQUEST = b"GET / HTTP/1.1\r\nX-Padding: " + b"x" * 5000 + b"\r\nConnection: close\r\n\r\n"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def served(serve: Serve, address: str = "127.0.0.1", max_segment: int | None = None) -> Transfer:
    """One transfer to a server that is there for it."""

    async def run() -> Transfer:
        server = await asyncio.start_server(serve, address, 0)
        async with server:
            return await transfer(address, server.sockets[0].getsockname()[1], REQUEST, max_segment=max_segment)

    return asyncio.run(run())


def answering(size: int, *, hang: bool = False) -> Serve:
    """Takes the request, answers with this many bytes, and closes or not."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(bytes(size))
            await writer.drain()
            if hang:
                await reader.read()
        except OSError:
            pass
        finally:
            writer.transport.abort() if hang else writer.close()

    return serve


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("size", [100, 10 * ENOUGH_BYTES])
def test_an_answer_and_its_end(address: str, size: int) -> None:
    """Protects the good case: a short answer is read completely, of a long one no more than enough; all was taken."""
    done = served(answering(size), address)
    assert (done.outcome, done.delivered, done.sent) == ("finished", True, len(REQUEST))
    assert done.info is not None
    assert done.info.acked >= len(REQUEST)
    assert min(size, ENOUGH_BYTES) <= done.info.received


@pytest.mark.parametrize(("address", "packet"), [("127.0.0.1", 1240), ("::1", 1260)])
def test_small_segments_bound_both_directions(address: str, packet: int) -> None:
    """Protects the repeat: with TCP_MAXSEG of 1200 before connecting neither side sends larger segments."""
    done = served(answering(10 * ENOUGH_BYTES), address, 1200)
    assert done.info is not None
    assert done.packet_bytes == packet
    assert done.info.rcv_mss <= 1200
    assert done.full_size
    assert done.full_size_came


def test_one_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the difference: the request was taken and nothing is lost, so the network does not stall."""
    monkeypatch.setattr(shell, "PATIENCE_S", 0.3)
    done = served(answering(50, hang=True))
    assert (done.outcome, done.delivered) == ("unfinished", True)
    assert done.info is not None
    assert (done.info.unacked, done.info.lost, done.info.received) == (0, 0, 50)
    assert "0.3 s" in done.detail


def test_one_that_was_sent_again_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects who waits: what three retransmissions did not get through, the rest of the patience does not either."""
    counted = shell._info
    monkeypatch.setattr(shell, "PATIENCE_S", 3600.0)
    monkeypatch.setattr(shell, "LONGEST_PATIENCE_S", 3600.0)
    monkeypatch.setattr(shell, "_info", lambda link: replace(counted(link), timeouts=shell.TIMEOUTS, unacked=4))
    assert served(answering(50, hang=True)).outcome == "unfinished"


def test_one_that_hangs_up_at_once() -> None:
    """Protects against servers that do not like the request: an outcome, not an exception."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    assert served(serve).outcome in ("finished", "failed")


def test_nobody_listens_and_no_way() -> None:
    """Protects the connection's own failures: each is data."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    assert asyncio.run(transfer("127.0.0.1", port, REQUEST)).outcome == "refused"
    unreachable = asyncio.run(transfer("255.255.255.255", 9, REQUEST))
    assert (unreachable.outcome, unreachable.info, unreachable.packet_bytes) == ("unreachable", None, 0)


def test_tls_without_trust(open_trap: "OpenTrap", authority: "trustme.CA") -> None:
    """Protects https: the request goes inside TLS, for any certificate; nothing secret is in it."""

    async def run() -> tuple[Transfer, int]:
        context = server_context(authority.issue_cert("control.example"))
        async with open_trap(lambda request: answer(body=bytes(2 * ENOUGH_BYTES)), tls=context) as trap:
            done = await transfer("127.0.0.1", trap.port, REQUEST, server_name="another.example")
            return done, len(trap.requests)

    done, requests = asyncio.run(run())
    assert (done.outcome, done.delivered, requests) == ("finished", True, 1)


def test_plain_http_where_tls_is_spoken(open_trap: "OpenTrap") -> None:
    """Protects the failing handshake: reported in OpenSSL's words."""

    async def run() -> Transfer:
        async with open_trap(lambda request: answer()) as trap:
            return await transfer("127.0.0.1", trap.port, REQUEST, server_name="control.example")

    done = asyncio.run(run())
    assert done.outcome in ("failed", "unfinished")
