"""Old TLS on real sockets: accepted, refused, hung up on, silent; and a control plane found at another address."""

import asyncio
import ssl
import warnings
from typing import TYPE_CHECKING

import pytest
import trustme
from preflight_checks.posture_tls import judge

from preflight.model.tcp import OldTls
from preflight.net.control.living import answers_at
from preflight.net.tcp.connect import Tcp
from preflight.proto.control.url import ControlUrl
from tests.net.conftest import answer, healthy, server_context

if TYPE_CHECKING:
    from tests.net.conftest import OpenTrap

NAME = "control.example"
URL = ControlUrl("https", NAME, 9847)


def old_context(certificate: trustme.LeafCert, newest: ssl.TLSVersion) -> ssl.SSLContext:
    """A server of ten years ago."""
    context = server_context(certificate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, newest
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.parametrize(
    ("newest", "version"),
    [
        (ssl.TLSVersion.TLSv1_3, "TLS 1.1"),
        (ssl.TLSVersion.TLSv1_1, "TLS 1.1"),
        (ssl.TLSVersion.TLSv1, "TLS 1.0"),
    ],
)
def test_an_old_server_is_recognised_by_what_it_chooses(
    open_trap: "OpenTrap", authority: trustme.CA, newest: ssl.TLSVersion, version: str
) -> None:
    """OpenSSL as a server: it answers our handwritten hello, so the hello is a good one."""

    async def talk() -> OldTls:
        certificate = authority.issue_cert(NAME)
        async with open_trap(healthy, tls=old_context(certificate, newest)) as trap:
            return await Tcp().old_tls("127.0.0.1", trap.port, NAME)

    assert asyncio.run(talk()) == OldTls("127.0.0.1", version)


def test_todays_server_refuses(open_trap: "OpenTrap", authority: trustme.CA) -> None:
    """By an alert, or by hanging up as asyncio's servers do: either passes."""

    async def talk() -> OldTls:
        async with open_trap(healthy, tls=server_context(authority.issue_cert(NAME))) as trap:
            return await Tcp().old_tls("127.0.0.1", trap.port, NAME)

    hello = asyncio.run(talk())
    assert (hello.version, hello.refused) == (None, True)


def test_one_that_hangs_up_and_one_that_is_silent(open_trap: "OpenTrap") -> None:
    """Hanging up is a refusal; silence, and a port that is closed, show nothing."""

    async def talk() -> list[OldTls]:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(5)
            writer.close()

        async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        seen = []
        for behave in (hang_up, be_silent):
            async with await asyncio.start_server(behave, "127.0.0.1", 0) as server:
                port = server.sockets[0].getsockname()[1]
                seen.append(await Tcp().old_tls("127.0.0.1", port, NAME, timeout_s=0.3))
        return [*seen, await Tcp().old_tls("127.0.0.1", port, NAME)]

    hung_up, silent, closed = asyncio.run(talk())
    assert hung_up.refused
    assert not silent.refused
    assert not closed.refused


@pytest.mark.parametrize(
    ("hellos", "expected"),
    [
        ([OldTls("a", refused=True, detail="protocol_version")], "pass"),
        ([OldTls("a", refused=True), OldTls("b", "TLS 1.0")], "posture.tls-old"),
        ([OldTls("a", refused=True), OldTls("b", detail="no answer")], "run.no-answer"),
        ([OldTls("a", refused=True), OldTls("b", detail="no answer", connected=False)], "pass"),
        ([OldTls("a", detail="no answer", connected=False)], "run.no-answer"),
        ([], "run.no-answer"),
    ],
)
def test_judge(hellos: list[OldTls], expected: str) -> None:
    """One address that accepts is a finding; what was not heard is not praised."""
    result = judge(URL, hellos)
    assert (result.code.slug if result.code else "pass") == expected


def test_a_control_plane_is_known_by_its_header_at_any_address(open_trap: "OpenTrap") -> None:
    """Any web server may listen on a public address: only one that speaks as a control plane is exposed."""

    async def talk() -> list[bool]:
        seen = []
        for respond in (healthy, lambda request: answer(body=b"ok\n")):
            async with open_trap(respond) as trap:
                there = ControlUrl("http", NAME, trap.port, "/mesh")
                seen.append(await answers_at(there, "127.0.0.1", None, 2.0))
                assert trap.requests[0].line.startswith("GET /mesh/health ")
                assert trap.requests[0].headers["host"] == f"{NAME}:{trap.port}"
                assert all("authorization" not in request.headers for request in trap.requests)
        return [*seen, await answers_at(there, "127.0.0.1", None, 2.0)]

    assert asyncio.run(talk()) == [True, False, False]
