"""TCP connections and TLS handshakes, address by address; every failure is data."""

import asyncio
import errno
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from preflight.model.event import Listener, telling
from preflight.model.tcp import (
    Certificate,
    ConnectFailure,
    Connection,
    ConnectOutcome,
    Handshake,
    HandshakeOutcome,
    OldTls,
    Transfer,
)
from preflight.net import ancillary
from preflight.net.tcp.certificates import authorities, read_certificate, trust_file, unusable, wrong_format
from preflight.net.tcp.tls import client_context, hear_certificate_requests, observing_context, sent_chain
from preflight.net.tcp.transfer import transfer
from preflight.proto.tcp.tls_hello import RANDOM_BYTES, answer_to, client_hello

GREETING_BYTES = 512
REPLY_BYTES = 8192
"""How much of an answer is read after an untrusted handshake: its headers."""

_VERIFY_CODES: dict[int, HandshakeOutcome] = {  # X509_V_ERR_* of openssl/x509_vfy.h; everything else is unfit
    **dict.fromkeys((2, 18, 19, 20, 21, 27), "untrusted"),
    9: "not-yet-valid",
    10: "expired",
    62: "name",
    64: "name",
}
_NOT_TRUSTED = frozenset({"unfit", *_VERIFY_CODES.values()})


class Tcp:
    """Connects to literal addresses only, so that each result is about exactly one address.

    Whom `connect` found silent last is not waited for again by others.
    """

    def __init__(self, listener: Listener | None = None) -> None:
        self._listener = listener
        self._silent: dict[tuple[str, int], str] = {}
        self._answered: dict[tuple[str, int], bool] = {}
        self._asking: dict[tuple[str, int], asyncio.Lock] = {}

    def silent(self, address: str, port: int) -> bool:
        """Whether nothing answered the last connection of this run: waiting for it again is useless."""
        return (address, port) in self._silent

    async def connect(
        self,
        address: str,
        port: int,
        timeout_s: float = 3.0,
        *,
        sooner_s: float | None = None,
        enough: Callable[[], bool] = lambda: True,
    ) -> Connection:
        """Complete a TCP handshake and close again. sooner_s: after this long already if that is enough then."""
        tell = telling(self._listener, "tcp.connect", address)
        tell(time.monotonic(), "connect-started", port=port, timeout_s=timeout_s)
        began = time.perf_counter()

        def ended(outcome: ConnectOutcome, detail: str = "", offender: str | None = None) -> Connection:
            elapsed_ms = (time.perf_counter() - began) * 1000
            self._silent.pop((address, port), None)
            if outcome == "timeout":
                self._silent[address, port] = detail
            tell(time.monotonic(), "connect-ended", port=port, outcome=outcome, elapsed_ms=elapsed_ms, detail=detail)
            return Connection(address, port, outcome, elapsed_ms, detail, offender)

        with socket.socket(_family(address), socket.SOCK_STREAM) as connection:
            connection.setblocking(False)
            ancillary.queue_errors(connection)
            try:
                async with asyncio.timeout(timeout_s) as limit:
                    with _ending(limit, sooner_s, enough):
                        await asyncio.get_running_loop().sock_connect(connection, (address, port))
            except TimeoutError:
                waited_s = sooner_s if sooner_s and time.perf_counter() - began < timeout_s else timeout_s
                return ended("timeout", f"no answer within {waited_s:g} s")
            except OSError as error:
                return ended(_outcome(error), _words(error), ancillary.first_offender(connection))
        return ended("open")

    async def answered(self, address: str, port: int, timeout_s: float) -> bool:
        """Whether a host answers TCP there itself, even if only with a reset; asked once, for all who want to know.

        What is refused by ICMP is not a word of the host.
        """
        place = (address, port)
        async with self._asking.setdefault(place, asyncio.Lock()):
            if place not in self._answered:
                found = await self.connect(address, port, timeout_s)
                self._answered[place] = found.outcome == "open" or (found.outcome == "refused" and not found.offender)
            return self._answered[place]

    async def greeting(self, address: str, port: int, timeout_s: float, *, say: bytes = b"") -> bytes:
        """What a server says before it was asked anything, as SSH, SMTP and databases do, and HTTP never.

        say: what it hears first, never a secret.
        """
        tell = telling(self._listener, "tcp.connect", address)
        tell(time.monotonic(), "greeting-awaited", port=port, timeout_s=timeout_s)
        said = b""
        with socket.socket(_family(address), socket.SOCK_STREAM) as connection, suppress(OSError):
            connection.setblocking(False)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(timeout_s):
                await loop.sock_connect(connection, (address, port))
                if say:
                    await loop.sock_sendall(connection, say)
                said = await loop.sock_recv(connection, GREETING_BYTES)
        tell(time.monotonic(), "greeting-ended", port=port, received_bytes=len(said))
        return said

    async def transfer(
        self,
        address: str,
        port: int,
        request: bytes,
        *,
        server_name: str | None = None,
        max_segment: int | None = None,
        patience_s: float | None = None,
    ) -> Transfer:
        """Send a request of several full segments; see `preflight.net.tcp.transfer`. The silent are not waited for."""
        if (why := self._silent.get((address, port))) is not None:
            return Transfer(address, port, "timeout", len(request), max_segment, detail=why)
        return await transfer(
            address,
            port,
            request,
            server_name=server_name,
            max_segment=max_segment,
            patience_s=patience_s,
            listener=self._listener,
        )

    async def handshake(
        self,
        address: str,
        port: int,
        server_name: str,
        *,
        ca_file: Path | None = None,
        timeout_s: float = 4.0,
        send: bytes = b"",
    ) -> Handshake:
        """A TLS handshake, verified as a client verifies it; if the certificate fails, a second one to read it.

        send: a request (never a secret) for that second, untrusted connection, so that the answer shows the time. On
        the first one it is sent only if the server asks for a certificate: TLS 1.3 says only later that it demands one.
        """
        if (why := self._silent.get((address, port))) is not None:
            return Handshake(address, port, "timeout", 0.0, why)
        tell = telling(self._listener, "tcp.connect", address)
        tell(time.monotonic(), "tls-started", port=port, server_name=server_name, timeout_s=timeout_s)
        began, seen = time.perf_counter(), _Seen()
        outcome, detail = await _shake_hands(address, port, server_name, ca_file, timeout_s, send, seen)
        if outcome in _NOT_TRUSTED:
            tell(time.monotonic(), "tls-repeated-untrusted", port=port, outcome=outcome)
            await _look_again(address, port, server_name, timeout_s, send, seen)
        elapsed_ms, certificate = (time.perf_counter() - began) * 1000, seen.certificate()
        tell(
            time.monotonic(),
            "tls-ended",
            port=port,
            outcome=outcome,
            detail=detail,
            version=seen.version,
            certificate_subject=certificate.subject if certificate else None,
            certificate_ends=certificate.not_after.isoformat() if certificate else None,
            elapsed_ms=elapsed_ms,
        )
        chain = tuple(filter(None, map(read_certificate, seen.chain)))
        shown = (seen.version, certificate, bytes(seen.reply), chain, seen.asked)
        return Handshake(address, port, outcome, elapsed_ms, detail, *shown, **_trust(outcome, ca_file))

    async def old_tls(self, address: str, port: int, server_name: str, *, timeout_s: float = 4.0) -> OldTls:
        """Offer TLS 1.1 at most, read what the server chooses or why it refuses, and hang up."""
        tell = telling(self._listener, "tcp.connect", address)
        tell(time.monotonic(), "old-tls-offered", port=port, server_name=server_name, timeout_s=timeout_s)
        answer = await _offer_old_tls(address, port, server_name, timeout_s)
        tell(
            time.monotonic(),
            "old-tls-answered",
            port=port,
            version=answer.version,
            refused=answer.refused,
            detail=answer.detail,
        )
        return answer


class _Seen:
    """What a handshake showed, gathered while it lasts."""

    def __init__(self) -> None:
        self.version: str | None = None
        self.der: bytes | None = None
        self.chain: list[bytes] = []
        self.asked = False
        self.reply = bytearray()

    def hear(self) -> None:
        """The server asks for a certificate of the client."""
        self.asked = True

    def certificate(self) -> Certificate | None:
        return read_certificate(self.der) if self.der else None


async def _offer_old_tls(address: str, port: int, server_name: str, timeout_s: float) -> OldTls:
    data, connected = b"", False
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(address, port)
            connected = True
            try:
                writer.write(client_hello(server_name, os.urandom(RANDOM_BYTES)))
                while (answer := answer_to(data)) is None and len(data) < REPLY_BYTES:
                    chunk = await reader.read(REPLY_BYTES)
                    if not chunk:
                        break
                    data += chunk
            finally:
                writer.transport.abort()
    except TimeoutError:
        return OldTls(address, detail=f"no TLS answer within {timeout_s:g} s", connected=connected)
    except (ConnectionResetError, BrokenPipeError):
        return OldTls(address, refused=True, detail="the connection was reset")
    except OSError as error:
        return OldTls(address, detail=_words(error), connected=connected)
    if answer is None:
        return OldTls(address, refused=True, detail="the connection was closed")
    return OldTls(address, answer.version, answer.version is None, answer.detail)


async def _shake_hands(
    address: str, port: int, server_name: str, ca_file: Path | None, timeout_s: float, send: bytes, seen: _Seen
) -> tuple[HandshakeOutcome, str]:
    """One verified handshake: its outcome, and OpenSSL's or the system's words for a failure."""
    try:
        context = client_context(ca_file)
    except OSError as error:
        return "ca-file", f"control.ca_file {ca_file} cannot be used: {wrong_format(ca_file) or _words(error)}"
    hear_certificate_requests(context, seen.hear)
    try:
        await _observe(address, port, server_name, context, timeout_s, send, seen, only_if_asked=True)
    except ssl.SSLCertVerificationError as error:
        return _VERIFY_CODES.get(error.verify_code, "unfit"), error.verify_message
    except ssl.SSLError as error:
        # Whatever the alert is called: a server that asks and then ends the handshake wanted what it asked for.
        return "client-certificate" if seen.asked else "failed", error.reason or "no reason given"
    except TimeoutError:
        return "timeout", f"no TLS answer within {timeout_s:g} s"
    except ConnectionResetError as error:
        # asyncio uses the same class for a plain end of the connection, without a number.
        reset = error.errno is not None
        words = "the connection was reset" if reset else "the connection was closed during the handshake"
        return "client-certificate" if seen.asked else "reset" if reset else "failed", words
    except (ConnectionAbortedError, BrokenPipeError):
        return "failed", "the connection was closed during the handshake"
    except OSError as error:
        return _outcome(error), _words(error)
    if send and seen.asked and not seen.reply:
        return "client-certificate", "the connection ended without an answer"
    return "trusted", ""


async def _look_again(address: str, port: int, server_name: str, timeout_s: float, send: bytes, seen: _Seen) -> None:
    """A handshake without verification. What it shows is a hint, so its failure changes nothing."""
    try:
        await _observe(address, port, server_name, observing_context(), timeout_s, send, seen)
    except (OSError, TimeoutError, asyncio.LimitOverrunError):
        pass


async def _observe(
    address: str,
    port: int,
    server_name: str,
    context: ssl.SSLContext,
    timeout_s: float,
    send: bytes,
    seen: _Seen,
    *,
    only_if_asked: bool = False,
) -> None:
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(address, port, ssl=context, server_hostname=server_name)
        try:
            tls = writer.get_extra_info("ssl_object")
            seen.version, seen.der = tls.version(), tls.getpeercert(binary_form=True)
            seen.chain = sent_chain(tls)
            if send and (seen.asked or not only_if_asked):
                writer.write(send)
                while b"\r\n\r\n" not in seen.reply and len(seen.reply) < REPLY_BYTES:
                    chunk = await reader.read(REPLY_BYTES)
                    if not chunk:
                        break
                    seen.reply += chunk
        finally:
            writer.transport.abort()


@contextmanager
def _ending(limit: asyncio.Timeout, sooner_s: float | None, enough: Callable[[], bool]) -> Iterator[None]:
    """End a wait sooner, if that is enough by then."""
    if sooner_s is None:
        yield
        return
    loop = asyncio.get_running_loop()
    look = loop.call_later(sooner_s, lambda: limit.reschedule(loop.time()) if enough() else None)
    try:
        yield
    finally:
        look.cancel()


def _trust(outcome: HandshakeOutcome, ca_file: Path | None) -> dict[str, Any]:
    """What the file of trusted authorities holds, where nobody in it vouches for the server."""
    name, file = trust_file(ca_file)
    if file is None or outcome not in ("untrusted", "expired"):
        return {}
    problem = unusable(file)
    said = f"{name} names {file}: {problem}" if problem else ""
    return {"authorities": authorities(file), "trust": name, "trust_problem": said}


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _words(error: OSError) -> str:
    """The system's words; asyncio puts its own in `strerror`."""
    if error.errno and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__


def _outcome(error: OSError) -> ConnectFailure:
    if error.errno == errno.ECONNREFUSED:
        return "refused"
    return "timeout" if error.errno == errno.ETIMEDOUT else "unreachable"
