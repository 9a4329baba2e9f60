"""Promises about evil, broken and absurd control planes, and about whatever answers in their place."""

import asyncio
import gzip
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rrset
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from preflight_checks import control_health, posture_roles, posture_routes
from preflight_checks.control_clock import control_clock
from preflight_checks.control_dns import judge as judge_dns
from preflight_checks.control_tls import control_tls
from preflight_checks.enroll_cycle import enroll_cycle
from preflight_checks.nodes_state import nodes_state
from preflight_checks.posture_scope import posture_scope
from pydantic import SecretStr

from preflight.api import Check, Context, Result, Status
from preflight.net import Net
from preflight.net.dns import Resolver
from preflight.net.secrets.local import LocalSecrets
from preflight.proto.control.url import ControlUrl
from preflight.settings.load import Enrolment, Secrets, Settings
from preflight.settings.schema import ControlSettings
from tests.net.conftest import ControlPlane

TOKEN = "s3cr3t-bearer-of-the-attacks"
POPULI = "x-populi-feature: exec-lease-v1\r\n"
ROW = b'{"id":"n","capabilities":{},"version":"1","last_seen_unix_ms":%s}'
FORGIVEN = (Status.PASS, Status.SKIP, Status.WARN)

Reply = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


def http(status: str, body: bytes = b"", more: str = "", *, ours: bool = False) -> bytes:
    """An answer; ours: with the header that a control plane sends."""
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{POPULI if ours else ''}{more}\r\n"
    return head.encode() + body


def listing(row: bytes) -> bytes:
    return http("200 OK", b'{"schema_version":1,"nodes":[' + row + b"]}", ours=True)


HEALTHY = http("200 OK", b"ok\n", ours=True)


class Evil:
    """A server on loopback: `/health` is good unless told otherwise, everything else is answered by `reply`."""

    def __init__(self, reply: Reply, health: Reply = HEALTHY) -> None:
        self.reply, self.health = reply, health
        self.heads: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until an answer that is not the good one was sent."""
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                self.heads.append(head)
                length = next(
                    (line[15:] for line in head.split("\r\n") if line.lower().startswith("content-length")), "0"
                )
                await reader.readexactly(int(length.strip(": ")))
                said = self.health if " /health " in head else self.reply
                if callable(said):
                    await said(writer)
                    break
                writer.write(said)
                await writer.drain()
                if said is not HEALTHY:
                    break
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def opened(evil: Evil, tls: ssl.SSLContext | None = None) -> AsyncIterator[Evil]:
    """The server while it is asked; nothing of it stays behind."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await evil.serve(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls, limit=2**20)
    evil.port = server.sockets[0].getsockname()[1]
    try:
        yield evil
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def run(check: Check, url: str, *, token: str | None = TOKEN, **more: Any) -> list[Result]:
    """The results of one check as the runner would take them."""
    settings = Settings(
        control=ControlSettings(url=url, **{"timeout_ms": 500, **more.pop("control", {})}),
        secrets=Secrets(token=SecretStr(token) if token else None),
        **more,
    )
    ctx = Context(settings=settings, peers=(), overlay=None, net=Net(settings))
    ctx.net.secrets = LocalSecrets(settings, {"VOX_MESH_WORKER_TOKEN": token} if token else {})
    try:
        async with aclosing(check.function(ctx)) as results:
            told = [result async for result in results]
    finally:
        await ctx.net.aclose()
    for result in told:
        assert result.code is None or result.code in check.codes or result.code.area == "run"
        assert result.message.isprintable(), result.message
        assert len(result.message) < 1500
        assert TOKEN not in repr(result)
    return told


def attack(check: Check, evil: Evil, **more: Any) -> list[Result]:
    async def talk() -> list[Result]:
        async with opened(evil):
            return await run(check, evil.url, **more)

    return asyncio.run(talk())


def codes_of(results: Sequence[Result]) -> list[str]:
    return [result.code.slug if result.code else result.status.value for result in results]


@pytest.fixture(autouse=True)
def _bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter waits of the same kind, and nobody's proxies."""
    monkeypatch.setattr(control_health, "ANSWER_TIMEOUT_S", 0.4)
    monkeypatch.setattr(control_health, "PATIENCE_S", 0.4)
    for module in (posture_roles, posture_routes):
        monkeypatch.setattr(module, "PACE_S", 0.0)
        monkeypatch.setattr(module, "ASKED_S", 0.4)
        monkeypatch.setattr(module, "MOST_WAITED_S", 0.05)
    monkeypatch.setattr("preflight.net.control.client.MOST_WAITED_S", 0.05)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n{POPULI}\r\n".encode())
    while not writer.transport.is_closing():
        writer.write(b" ")
        await asyncio.sleep(0.02)


def endless(head: str, chunk: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(head.encode())
        while not writer.transport.is_closing():
            writer.write(chunk)
            await writer.drain()

    return send


async def silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


LONG = f"HTTP/1.1 200 OK\r\n{POPULI}content-length: 104857600\r\n\r\n"
OPEN_ENDED = f"HTTP/1.1 200 OK\r\n{POPULI}\r\n"
BOMB = gzip.compress(b" " * 50_000_000)

BROKEN: dict[str, tuple[Reply, str]] = {
    "500": (http("500 Oops", b"oops", ours=True), "control.unhealthy"),
    "503 of a broken database": (http("503 Later", b"the database", ours=True), "control.unhealthy"),
    "502 of a proxy": (http("502 Bad Gateway", b"<html>nginx</html>"), "control.unhealthy"),
    "HTML with status 200": (http("200 OK", b"<html>Welcome</html>"), "control.not-populi"),
    "login page with 401": (http("401 Unauthorized", b"<html>log in</html>"), "control.not-populi"),
    "403 of a gateway": (http("403 Forbidden", b"<html>no</html>"), "control.not-populi"),
    "404 of a gateway": (http("404 Not Found"), "control.not-populi"),
    "404 of a control plane": (http("404 Not Found", ours=True), "control.bad-answer"),
    "redirect": (http("307 Away", b"", "location: http://192.0.2.1/\x1b[31m\r\n"), "control.redirected"),
    "redirect to itself": (http("302 Found", b"", "location: /v1/populi/nodes\r\n"), "control.redirected"),
    "429": (http("429 Later", b"", "retry-after: 1e400\r\n", ours=True), "run.no-answer"),
    "another product's JSON": (http("200 OK", b'{"nodes":[],"schema_version":1}'), "control.not-populi"),
    "empty body": (http("200 OK", ours=True), "control.bad-answer"),
    "204": (http("204 No Content", ours=True), "control.bad-answer"),
    "truncated JSON": (http("200 OK", b'{"schema_version":1,"nodes":[{"id"', ours=True), "control.bad-answer"),
    "a list": (http("200 OK", b"[]", ours=True), "control.bad-answer"),
    "wrong types": (http("200 OK", b'{"schema_version":"x","nodes":{}}', ours=True), "control.bad-answer"),
    "nesting of 100000": (http("200 OK", b"[" * 100_000, ours=True), "control.bad-answer"),
    "nested objects": (http("200 OK", b'{"a":' * 50_000, ours=True), "control.bad-answer"),
    "slow drip": (drip, "control.timeout"),
    "silence": (silent, "control.timeout"),
    "100 MB": (endless(LONG, b" " * 65536), "control.bad-answer"),
    "never-ending body": (endless(OPEN_ENDED, b" " * 65536), "control.bad-answer"),
    "never-ending headers": (endless("HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 4096), "control.not-populi"),
    "never-ending 100-continue": (endless("", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), "control.timeout"),
    "gzip bomb": (http("200 OK", BOMB, "content-encoding: gzip\r\n", ours=True), "control.bad-answer"),
    "malformed header": (b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n", "control.not-populi"),
    "status of four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", "control.not-populi"),
    "status 000": (b"HTTP/1.1 000 OK\r\n\r\n", "control.not-populi"),
    "status 999": (http("999 What", ours=True), "control.unhealthy"),
    "negative length": (b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n", "control.not-populi"),
    "two lengths": (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", "control.not-populi"),
    "length too long, then closed": (f"{LONG}short".encode(), "control.unhealthy"),
    "length that cuts": (
        f"HTTP/1.1 200 OK\r\n{POPULI}content-length: 9\r\n\r\n".encode() + b'{"nodes":[]}',
        "control.bad-answer",
    ),
    "garbled chunks": (
        f"HTTP/1.1 200 OK\r\n{POPULI}transfer-encoding: chunked\r\n\r\nzz\r\n".encode(),
        "control.unhealthy",
    ),
    "closed in the middle of the headers": (b"HTTP/1.1 200 OK\r\ncontent-le", "control.unhealthy"),
    "closed at once": (b"", "control.unhealthy"),
    "HTTP/0.9": (b"<html>it works</html>\r\n\r\n", "control.not-populi"),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "control.not-populi"),
    "NUL bytes": (b"\x00" * 200 + b"\r\n\r\n", "control.not-populi"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_list_that_is_none_is_never_a_pass_or_a_skip(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read as the list of nodes is a finding under the right code, or undecided; nothing hangs."""
    monkeypatch.setattr("preflight.net.control.client.LIST_BYTES", 65536)  # so that no size is a matter of time
    reply, code = BROKEN[name]
    results = attack(nodes_state, Evil(reply))
    assert codes_of(results) == [code]
    assert results[0].status not in FORGIVEN


ABSURD = {
    "400 digits": b"9" * 400,
    "5000 digits": b"9" * 5000,
    "negative": b"-1",
    "beyond 64 bits": b"18446744073709551616",
    "1e400": b"1e400",
    "NaN": b"NaN",
    "float": b"1.5",
    "true": b"true",
    "null": b"null",
    "text": b'"soon"',
    "list": b"[1]",
    "in the year 584554531": b"18446744073709551615",
}


@pytest.mark.parametrize("name", ABSURD)
def test_an_absurd_number_is_a_finding(name: str) -> None:
    """A time that cannot be is the control plane's bad answer: no exception, no green list, no node blamed."""
    assert codes_of(attack(nodes_state, Evil(listing(ROW % ABSURD[name])))) == ["control.bad-answer"]


NAMES = {
    "control characters": b'"\\u001b[31m\\n\\r\\u0007"',
    "NUL": b'"\\u0000"',
    "right-to-left": b'"\\u202egnp"',
    "1 MB": b'"' + b"x" * 1_000_000 + b'"',
    "empty": b'""',
}


@pytest.mark.parametrize("name", NAMES)
def test_a_nodes_name_stays_one_short_line(name: str) -> None:
    """Whatever a member calls itself, the finding about it is one printable line of bounded length."""
    results = attack(nodes_state, Evil(listing((ROW % b"5").replace(b'"n"', NAMES[name]))))
    assert codes_of(results) == ["nodes.stale"]


@pytest.mark.parametrize(
    "text", [b'"\\ud800"', b'"\xff"', b'"a\x01"'], ids=["lone surrogate", "no UTF-8", "raw control"]
)
def test_text_that_is_none_is_a_bad_answer(text: bytes) -> None:
    """What no report could hold is refused where it comes in."""
    assert codes_of(attack(nodes_state, Evil(listing((ROW % b"5").replace(b'"n"', text))))) == ["control.bad-answer"]


def test_a_hundred_thousand_nodes_are_read_and_judged() -> None:
    """Size alone breaks nothing and takes no time out of proportion."""
    rows = b",".join((ROW % b"5").replace(b'"n"', b'"n%d"' % number) for number in range(100_000))
    results = attack(nodes_state, Evil(listing(rows)), control={"timeout_ms": 15000})
    assert codes_of(results) == ["nodes.stale"]


def test_a_key_that_comes_twice_counts_once() -> None:
    """The last one is taken, as by the workers; nothing breaks."""
    assert codes_of(attack(nodes_state, Evil(listing((ROW % b"5").replace(b"{", b'{"id":7,', 1))))) == ["nodes.stale"]


@pytest.mark.parametrize("name", BROKEN)
def test_health_that_is_none_is_never_a_pass(name: str) -> None:
    """Whatever comes back for `/health` but a control plane's own `ok` is a finding; at worst a warning to wait."""
    (result,) = attack(control_health.control_health, Evil(HEALTHY, health=BROKEN[name][0]))
    assert result.code is not None
    assert result.status is Status.FAIL or result.code.slug == "control.throttled"


GATEWAYS: dict[str, tuple[bytes, str]] = {
    "403": (http("403 Forbidden", b"<html>no</html>"), "run.no-answer"),
    "401 login page": (http("401 Unauthorized", b"<html>log in</html>"), "run.no-answer"),
    "404": (http("404 Not Found", b"<html>"), "control.not-populi"),
    "405": (http("405 Not Allowed"), "control.not-populi"),
    "400": (http("400 Bad Request", b"<html>"), "control.not-populi"),
    "422 of another framework": (http("422 What", b'{"detail":[{"loc":["body"]}]}'), "control.not-populi"),
    "302 to a login": (http("302 Found", b"", "location: https://sso.example/?s=1\r\n"), "control.redirected"),
    "307": (http("307 Away", b"", "location: /login\r\n"), "control.redirected"),
    "captive portal": (http("200 OK", b"<html>Welcome</html>"), "control.not-populi"),
    "another product": (http("200 OK", b'{"nodes":[],"leases":[],"schema_version":1}'), "control.not-populi"),
    "204": (http("204 No Content"), "control.not-populi"),
    "500": (http("500 Oops"), "run.no-answer"),
    "503": (http("503 Later", ours=True), "run.no-answer"),
    "429": (http("429 Later", b"", "retry-after: 99999999999\r\n"), "run.no-answer"),
    "403 with our header": (http("403 Forbidden", ours=True), "run.no-answer"),
    "404 with our header": (http("404 Not Found", ours=True), "run.no-answer"),
    "closed": (b"", "run.no-answer"),
}


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_gateways_answer_opens_no_control_plane(name: str) -> None:
    """Only what Populi gives to nobody else counts as let through: a gateway is named as what it is, or undecided."""
    reply, code = GATEWAYS[name]
    assert codes_of(attack(posture_routes.posture_routes, Evil(reply))) == [code]


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_gateways_answer_judges_no_token(name: str) -> None:
    """No token is called too strong, too weak or unknown because of what something in front of Populi says."""
    results = attack(posture_roles.posture_roles, Evil(GATEWAYS[name][0]))
    expected = "enroll.forbidden" if name == "403 with our header" else "run.no-answer"
    assert codes_of(results) == [expected]


@pytest.mark.parametrize(
    "name", ["403", "401 login page", "404", "302 to a login", "captive portal", "another product"]
)
def test_a_gateways_answer_enforces_no_scope_and_enrols_nobody(name: str) -> None:
    """A gateway's 403 is no enforced scope, its 204 no row that is gone, its page no spent or unknown token."""

    async def scope(evil: Evil) -> list[Result]:
        async with opened(evil):
            return await run(posture_scope, evil.url, intrusive=True)

    assert codes_of(asyncio.run(scope(Evil(GATEWAYS[name][0])))) == ["run.no-answer"]
    told = attack(enroll_cycle, Evil(GATEWAYS[name][0]), enrolment=Enrolment())
    assert not [code for code in codes_of(told) if code == "pass" or code.startswith("enroll.")]
    bad = [result for result in told if result.status is Status.FAIL]
    assert {result.code.slug for result in bad if result.code} <= {"control.not-populi", "control.redirected"}
    assert bad


def test_an_open_control_plane_is_found(tmp_path: Path) -> None:
    """Our own server without a secret lets everybody in, and that is said in so many words."""
    server = ControlPlane(tmp_path, {}).start()
    try:
        (result,) = asyncio.run(run(posture_routes.posture_routes, server.url, token=None))
    finally:
        server.kill()
    assert codes_of([result]) == ["posture.open"]
    assert "30 of 30 requests" in result.message


def test_no_redirect_is_followed_and_no_cookie_kept() -> None:
    """A bearer goes to the configured URL only, and what a stranger wants remembered is forgotten."""

    async def talk() -> None:
        async with opened(Evil(HEALTHY)) as other:
            away = http("307 Away", b"", f"location: {other.url}/v1/populi/nodes\r\nset-cookie: id=1; path=/\r\n")
            async with opened(Evil(away)) as evil:
                await run(nodes_state, evil.url)
                await run(posture_roles.posture_roles, evil.url)
                assert other.heads == []
                assert not any("cookie:" in head.lower() for head in evil.heads)

    asyncio.run(talk())


@pytest.mark.parametrize("value", ["9" * 400, "-1", "NaN", "1e400", "Fri, 31 Dec 9999 23:59:59 GMT", "\x1b[31m", "0"])
def test_no_retry_after_is_waited_out(value: str) -> None:
    """However long a server asks to wait, and however it writes it, the check keeps its own time."""
    later = http("429 Later", b"", f"retry-after: {value}\r\n", ours=True)
    assert codes_of(attack(control_health.control_health, Evil(HEALTHY, health=later))) == ["control.throttled"]
    assert codes_of(attack(nodes_state, Evil(later))) == ["run.no-answer"]


@pytest.mark.parametrize(
    ("date", "code"),
    [
        ("Fri, 31 Dec 9999 23:59:59 GMT", "control.clock-skew"),
        ("Fri, 31 Dec 9999 23:59:59 -2359", "run.no-answer"),
        ("Mon, 01 Jan 0100 00:00:00 GMT", "run.no-answer"),
        ("Tue, 99 Nov 2026 99:99:99 GMT", "run.no-answer"),
        ("9" * 400, "run.no-answer"),
        ("", "run.no-answer"),
        ("\x1b[31m", "run.no-answer"),
    ],
)
def test_no_date_breaks_the_comparison_of_clocks(date: str, code: str) -> None:
    """A `Date` that no server can mean is no time; then the clocks are not compared, and that is not called good."""
    answer = http("200 OK", b"ok\n", f"date: {date}\r\n", ours=True)
    assert codes_of(attack(control_clock, Evil(HEALTHY, health=answer))) == [code]


START = datetime(2026, 1, 1, tzinfo=UTC)
FAR = datetime(9999, 12, 31, tzinfo=UTC)
LONG_AGO = datetime(1950, 1, 1, tzinfo=UTC)
CERTIFICATES: dict[str, tuple[list[str], str, datetime, datetime]] = {
    "self-signed": (["127.0.0.1.example"], "evil", START, FAR),
    "three thousand names": ([f"n{n}.evil.example" for n in range(3000)], "evil", START, FAR),
    "control characters": (["\x1b[31m\n\r.example", "$(reboot).example"], "\x1b[31m\nevil", START, FAR),
    "no name": ([], "", START, FAR),
    "from 1950 to 1950": (["a.example"], "evil", LONG_AGO, LONG_AGO + timedelta(days=1)),
    "from the year 9999": (["a.example"], "evil", FAR - timedelta(days=1), FAR),
}


def context(
    names: list[str], subject: str, start: datetime, end: datetime, folder: Path
) -> tuple[ssl.SSLContext, Path]:
    """A TLS server with such a certificate of its own, and the file by which a client would trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else [])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, end)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(private + certificate)
    (folder / "ca.pem").write_bytes(certificate)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "server.pem")
    return made, folder / "ca.pem"


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "untrusted"])
@pytest.mark.parametrize("name", CERTIFICATES)
def test_an_odd_certificate_is_a_finding_in_one_short_line(name: str, trusted: bool, tmp_path: Path) -> None:
    """Names, dates and sizes that nobody needs break nothing, and no line to paste holds what a stranger wrote."""
    tls, ca_file = context(*CERTIFICATES[name], tmp_path)

    async def talk() -> list[Result]:
        async with opened(Evil(HEALTHY), tls) as evil:
            url = f"https://127.0.0.1:{evil.port}"
            return await run(control_tls, url, control={"ca_file": ca_file} if trusted else {})

    (result,) = asyncio.run(talk())
    assert result.status is Status.FAIL
    assert result.code is not None
    assert result.code.slug.startswith("control.tls-")
    assert "reboot" not in (result.remedy or "")
    assert len(repr(result)) < 20_000


class _NameServer(asyncio.DatagramProtocol):
    """Answers over UDP with what `say` makes of a query."""

    def __init__(self, say: Callable[[dns.message.Message], bytes]) -> None:
        self._say = say

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(self._say(dns.message.from_wire(data)), addr)  # type: ignore[attr-defined]


def records(query: dns.message.Message, *rows: tuple[str, str, str]) -> dns.message.Message:
    response = dns.message.make_response(query, recursion_available=True)
    for owner, kind, value in rows:
        response.answer.append(dns.rrset.from_text(owner, 60, "IN", kind, *value.split()))
    return response


def truncated(query: dns.message.Message) -> bytes:
    response = dns.message.make_response(query)
    response.flags |= dns.flags.TC
    return response.to_wire()


def many(query: dns.message.Message) -> bytes:
    if query.question[0].rdtype != dns.rdatatype.A:
        return dns.message.make_response(query).to_wire()
    addresses = " ".join(f"10.{n // 250}.{n % 250}.1" for n in range(3500))
    return records(query, ("c.overlay.test.", "A", addresses)).to_wire(max_size=65535)


LOOP = (("c.overlay.test.", "CNAME", "d.overlay.test."), ("d.overlay.test.", "CNAME", "c.overlay.test."))
NAME_SERVERS: dict[str, tuple[Callable[[dns.message.Message], bytes], str]] = {
    "garbage": (lambda query: b"\xff" * 300, "timeout"),
    "empty": (lambda query: b"", "timeout"),
    "wrong id": (lambda query: b"\x00\x00" + dns.message.make_response(query).to_wire()[2:], "timeout"),
    "another question": (
        lambda query: dns.message.make_response(dns.message.make_query("x.", "A")).to_wire(),
        "timeout",
    ),
    "looping CNAME": (lambda query: records(query, *LOOP).to_wire(), "failed"),
    "CNAME to nowhere": (lambda query: records(query, LOOP[0]).to_wire(), "no-address"),
    "truncated, and nobody on TCP": (truncated, "failed"),
    "half a message": (lambda query: dns.message.make_response(query).to_wire()[:20], "timeout"),
    "3500 addresses": (many, "answer"),
}


@pytest.mark.parametrize("name", NAME_SERVERS)
def test_a_name_servers_nonsense_is_a_finding(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a resolver sends is an outcome within the time of a query, and one line of bounded length."""

    def nobody(*_args: object, **_more: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    say, outcome = NAME_SERVERS[name]

    async def talk() -> Result:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _NameServer(say), local_addr=("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        monkeypatch.setattr(socket, "getaddrinfo", nobody)
        try:
            resolution = await Resolver(["127.0.0.1"], port=port, timeout_s=0.15, attempts=1).resolve("c.overlay.test")
        finally:
            transport.close()
            await asyncio.sleep(0)
        assert [lookup.outcome for lookup in resolution.resolvers] == [outcome]
        result: Result = judge_dns(resolution, ControlUrl("http", "c.overlay.test", 9847), None)
        return result

    result = asyncio.run(talk())
    assert result.status is Status.FAIL
    assert result.message.isprintable()
    assert len(result.message) < 1000
    assert len(repr(result.evidence)) < 10_000


def preflight(folder: Path, *words: str, **variables: str) -> dict[str, Any]:
    """One run as a process of its own, in an empty folder and with no settings but these."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **variables}
    command = [sys.executable, "-P", "-m", "preflight", *words, "--output", f"json={folder / 'report.json'}"]
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False, timeout=60)
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report


ABOUT_CONTROL = ("control.*", "nodes.*", "enroll.*", "posture.routes", "posture.roles", "posture.exposed", "mtu.tcp")


@pytest.mark.parametrize("token", [False, True], ids=["no token", "a token"])
def test_a_node_without_a_control_plane_is_not_blamed_for_it(token: bool, tmp_path: Path) -> None:
    """Where none is configured every check about one skips; a token without a URL is a failure, and blocks the rest."""
    report = preflight(tmp_path, "run", *ABOUT_CONTROL, **({"VOX_MESH_TOKEN": TOKEN} if token else {}))
    told = {result["code"] for result in report["results"]}
    about = [result for result in report["results"] if result["target"] == "control"]
    assert len(about) >= 10
    assert told == ({"control.url-missing", "run.blocked"} if token else {"run.not-applicable"})
    assert [cause["code"] for cause in report["diagnosis"]] == (["control.url-missing"] if token else [])


def test_where_no_control_plane_is_configured_nothing_about_one_is_judged() -> None:
    """A node without URL, token, scope, section and `--enroll` is meant to have none; any of these asks for a URL."""
    bare = Settings()
    meant = (
        Settings(control=ControlSettings(url="http://10.66.0.3")),
        Settings(control=ControlSettings(scope_id="lab")),
        Settings(secrets=Secrets(token=SecretStr(TOKEN))),
        Settings(secrets=Secrets(submitter_token=SecretStr(TOKEN))),
        Settings(enrolment=Enrolment()),
    )
    assert [Context(one, (), None, Net(one)).has_control for one in (bare, *meant)] == [False] + [True] * len(meant)
