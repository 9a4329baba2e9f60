"""Clocks, certificates and names around a control plane: nonsense is a finding, a missing control plane is not."""

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
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
from preflight_checks.control_clock import control_clock
from preflight_checks.control_dns import judge as judge_dns
from preflight_checks.control_tls import control_tls
from pydantic import SecretStr

from preflight.api import Context, Result, Status
from preflight.net import Net
from preflight.net.names import Resolver
from preflight.proto.control.url import ControlUrl
from preflight.settings.load import Enrolment, Secrets, Settings
from preflight.settings.schema import ControlSettings
from tests.attack import evil_control
from tests.attack.evil_control import HEALTHY, TOKEN, Evil, attack, codes_of, http, opened, run

bounds = evil_control.bounds


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
    """A `Date` that no server can mean is ignored; then the clocks are not compared, and that does not pass."""
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
    """A TLS server with such a self-made certificate, and the file by which a client would trust it."""
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
    "truncated, and nobody on TCP": (truncated, "truncated"),
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
    """One run as a separate process, in an empty folder and with no settings but these."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **variables}
    command = [sys.executable, "-P", "-m", "preflight", *words, "--output", f"json={folder / 'report.json'}"]
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False, timeout=60)
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report


ABOUT_CONTROL = ("control.*", "nodes.*", "enroll.*", "posture.routes", "posture.roles", "posture.exposed", "mtu.tcp")


@pytest.mark.parametrize("token", [False, True], ids=["no token", "a token"])
def test_a_node_without_a_control_plane_is_not_blamed_for_it(token: bool, tmp_path: Path) -> None:
    """If none is configured every check about one skips; a token without a URL is a failure, and blocks the rest."""
    report = preflight(tmp_path, "run", *ABOUT_CONTROL, **({"VOX_MESH_TOKEN": TOKEN} if token else {}))
    found_codes = {result["code"] for result in report["results"]}
    about = [result for result in report["results"] if result["target"] == "control"]
    assert len(about) >= 10
    # With a token the bearer itself is good, and nothing asked for an enrolment.
    blamed = {"control.url-missing", "run.blocked", "run.not-applicable", None}
    assert found_codes == (blamed if token else {"run.not-applicable"})
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
