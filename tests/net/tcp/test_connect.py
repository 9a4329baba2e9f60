"""Connections and TLS handshakes on real sockets; every failure is data."""

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from preflight.model.tcp import Handshake
from preflight.net.tcp.certificates import read_certificate
from preflight.net.tcp.connect import Tcp
from preflight.proto.control.http import header
from tests.net.conftest import answer, server_context

if TYPE_CHECKING:
    from tests.net.conftest import OpenTrap

NOW = datetime.now(UTC)
ASK = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_open_and_refused(address: str) -> None:
    """An accepting port, and the same one when nobody listens any more; both families."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    with socket.socket(family) as listener:
        listener.bind((address, 0))
        listener.listen()
        port = int(listener.getsockname()[1])
        opened = asyncio.run(Tcp().connect(address, port))
    refused = asyncio.run(Tcp().connect(address, port))
    assert (opened.outcome, refused.outcome) == ("open", "refused")
    assert opened.family == ("IPv6" if ":" in address else "IPv4")
    assert refused.detail


def test_whether_a_host_answers_is_asked_once() -> None:
    """A reset is an answer too; those who ask meanwhile and later take the same one."""
    tcp = Tcp()

    async def ask(port: int) -> list[bool]:
        return await asyncio.gather(*(tcp.answered("127.0.0.1", port, 1.0) for _ in range(3)))

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.2)
        port = int(listener.getsockname()[1])
        assert asyncio.run(ask(port)) == [True, True, True]
        listener.accept()[0].close()
        with pytest.raises(TimeoutError):
            listener.accept()
    assert asyncio.run(Tcp().answered("127.0.0.1", port, 1.0))


def test_a_full_backlog_is_silence() -> None:
    """A listener that takes no more connections drops them: no answer within the time given.

    Later checks of the run do not wait for it again, until somebody got through.
    """
    tcp = Tcp()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        host, port = listener.getsockname()
        with socket.socket() as first, socket.socket() as second:
            for waiting in (first, second):
                waiting.setblocking(False)
                waiting.connect_ex((host, port))
            connection = asyncio.run(tcp.connect(host, port, timeout_s=0.3))
            assert tcp.silent(host, port)
            transfer = asyncio.run(tcp.transfer(host, port, ASK))
            handshake = asyncio.run(tcp.handshake(host, port, "control.example"))
    assert connection.outcome == "timeout"
    assert {transfer.outcome, handshake.outcome} == {"timeout"}
    assert {connection.detail, transfer.detail, handshake.detail} == {"no answer within 0.3 s"}
    asyncio.run(tcp.connect(host, port))
    assert not tcp.silent(host, port)


@pytest.mark.parametrize(("enough", "words"), [(True, "no answer within 0.2 s"), (False, "no answer within 0.6 s")])
def test_a_wait_ends_sooner_where_that_is_enough(enough: bool, words: str) -> None:
    """What else is known of the line by then decides, and the sentence says how long it was."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        host, port = listener.getsockname()
        with socket.socket() as first, socket.socket() as second:
            for waiting in (first, second):
                waiting.setblocking(False)
                waiting.connect_ex((host, port))
            found = asyncio.run(Tcp().connect(host, port, 0.6, sooner_s=0.2, enough=lambda: enough))
    assert (found.outcome, found.detail) == ("timeout", words)


def test_an_address_without_a_way_is_unreachable() -> None:
    """The system's own refusal is not silence: a socket of one family cannot reach a broadcast address."""
    connection = asyncio.run(Tcp().connect("255.255.255.255", 9, timeout_s=1.0))
    assert connection.outcome == "unreachable"
    assert connection.detail


def shake(
    open_trap: "OpenTrap",
    certificate: trustme.LeafCert,
    ca_file: Path | None,
    name: str = "127.0.0.1",
    send: bytes = b"",
) -> Handshake:
    async def talk() -> Handshake:
        async with open_trap(
            lambda r: answer(date="Tue, 24 Nov 2026 12:00:00 GMT"), tls=server_context(certificate)
        ) as trap:
            return await Tcp().handshake("127.0.0.1", trap.port, name, ca_file=ca_file, send=send)

    return asyncio.run(talk())


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def test_a_good_certificate(open_trap: "OpenTrap", authority: trustme.CA, ca_file: Path) -> None:
    """Trusted, with names, issuer and dates; nothing is asked over it."""
    handshake = shake(open_trap, authority.issue_cert("127.0.0.1", "control.example"), ca_file, send=ASK)
    assert handshake.outcome == "trusted"
    assert handshake.version in ("TLSv1.2", "TLSv1.3")
    assert handshake.certificate is not None
    assert set(handshake.certificate.names) == {"127.0.0.1", "control.example"}
    assert handshake.certificate.not_before <= NOW <= handshake.certificate.not_after
    assert handshake.reply == b""


@pytest.mark.parametrize(
    ("names", "starts_d", "ends_d", "server_name", "outcome"),
    [
        (("127.0.0.1",), -20, -10, "127.0.0.1", "expired"),
        (("127.0.0.1",), 10, 20, "127.0.0.1", "not-yet-valid"),
        (("other.example",), -1, 20, "127.0.0.1", "name"),
        (("other.example",), -1, 20, "control.example", "name"),
    ],
)
def test_bad_certificates_are_seen_all_the_same(
    open_trap: "OpenTrap",
    authority: trustme.CA,
    ca_file: Path,
    names: tuple[str, ...],
    starts_d: int,
    ends_d: int,
    server_name: str,
    outcome: str,
) -> None:
    """The reason is reported, the certificate is shown, and the server was asked for its time without a secret."""
    certificate = authority.issue_cert(
        *names, not_before=NOW + timedelta(days=starts_d), not_after=NOW + timedelta(days=ends_d)
    )
    handshake = shake(open_trap, certificate, ca_file, server_name, ASK)
    assert handshake.outcome == outcome
    assert handshake.certificate is not None
    assert handshake.certificate.names == names
    assert abs(handshake.certificate.not_after - NOW - timedelta(days=ends_d)) < timedelta(seconds=2)
    assert header(handshake.reply, "date") == "Tue, 24 Nov 2026 12:00:00 GMT"


def test_an_unknown_authority(open_trap: "OpenTrap", ca_file: Path) -> None:
    """A chain that ends elsewhere is untrusted, whatever is on the certificate."""
    stranger = trustme.CA()
    handshake = shake(open_trap, stranger.issue_cert("127.0.0.1"), ca_file)
    assert handshake.outcome == "untrusted"
    assert handshake.certificate is not None
    assert "trustme" in handshake.certificate.issuer.lower()


def test_a_server_that_speaks_no_tls() -> None:
    """Plain HTTP behind an https URL: the handshake fails, and OpenSSL's reason is kept."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(100)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await reader.read()
        finally:
            writer.transport.abort()

    async def talk() -> Handshake:
        server = await asyncio.start_server(plain, "127.0.0.1", 0)
        async with server:
            return await Tcp().handshake("127.0.0.1", server.sockets[0].getsockname()[1], "127.0.0.1")

    handshake = asyncio.run(talk())
    assert (handshake.outcome, handshake.detail) == ("failed", "WRONG_VERSION_NUMBER")


def test_silence_and_refusal_and_a_missing_ca_file(tmp_path: Path) -> None:
    """Before any TLS: nobody answers, nobody listens, and the CA file that is not there."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = int(listener.getsockname()[1])
        silent = asyncio.run(Tcp().handshake("127.0.0.1", port, "127.0.0.1", timeout_s=0.3))
        missing = asyncio.run(Tcp().handshake("127.0.0.1", port, "127.0.0.1", ca_file=tmp_path / "none.pem"))
    refused = asyncio.run(Tcp().handshake("127.0.0.1", port, "127.0.0.1"))
    assert (silent.outcome, refused.outcome, missing.outcome) == ("timeout", "refused", "ca-file")
    assert "none.pem" in missing.detail


def test_rubbish_is_no_certificate() -> None:
    """What cannot be parsed is nothing, not a crash."""
    assert read_certificate(b"\x30\x03abc") is None
