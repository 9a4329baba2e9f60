"""Answers of a control plane: what is broken, foreign or absurd is a finding or undecided, never a pass or a skip."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from preflight_checks import control_health, posture_roles, posture_routes
from preflight_checks.enroll_cycle import enroll_cycle
from preflight_checks.nodes_state import nodes_state
from preflight_checks.posture_scope import posture_scope

from preflight.api import Result, Status
from preflight.settings.load import Enrolment
from tests.attack import evil_control
from tests.attack.evil_control import HEALTHY, POPULI, Evil, Reply, attack, codes_of, http, opened, run
from tests.net.conftest import ControlPlane

bounds = evil_control.bounds


ROW = b'{"id":"n","capabilities":{},"version":"1","last_seen_unix_ms":%s}'
FORGIVEN = (Status.PASS, Status.SKIP, Status.WARN)


def listing(row: bytes) -> bytes:
    return http("200 OK", b'{"schema_version":1,"nodes":[' + row + b"]}", ours=True)


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
BOMB = gzip.compress(b" " * 5_000_000)


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
    "length too long, then closed": (f"{LONG}short".encode(), "control.bad-answer"),
    "length that cuts": (
        f"HTTP/1.1 200 OK\r\n{POPULI}content-length: 9\r\n\r\n".encode() + b'{"nodes":[]}',
        "control.bad-answer",
    ),
    "garbled chunks": (
        f"HTTP/1.1 200 OK\r\n{POPULI}transfer-encoding: chunked\r\n\r\nzz\r\n".encode(),
        "control.unhealthy",
    ),
    "closed in the middle of the headers": (b"HTTP/1.1 200 OK\r\ncontent-le", "control.bad-answer"),
    "closed at once": (b"", "control.bad-answer"),
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
    """Whatever name a member has, the finding about it is one printable line of bounded length."""
    results = attack(nodes_state, Evil(listing((ROW % b"5").replace(b'"n"', NAMES[name]))))
    assert codes_of(results) == ["nodes.stale"]


@pytest.mark.parametrize(
    "text", [b'"\\ud800"', b'"\xff"', b'"a\x01"'], ids=["lone surrogate", "no UTF-8", "raw control"]
)
def test_text_that_is_none_is_a_bad_answer(text: bytes) -> None:
    """A number that no report can hold is refused where it comes in."""
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
    """Any answer except a control plane's own `ok` is a finding; at worst a warning to wait."""
    (result,) = attack(control_health.control_health, Evil(BROKEN[name][0], health=BROKEN[name][0]))
    assert result.code is not None
    assert result.status is Status.FAIL or result.code.slug == "control.throttled"


@pytest.mark.parametrize("name", BROKEN)
def test_another_servers_health_is_never_taken_for_the_control_planes(name: str) -> None:
    """Where a control plane answers the API, that is what passes, and the report says who answers `/health`."""
    (result,) = attack(control_health.control_health, Evil(HEALTHY, health=BROKEN[name][0]))
    assert result.status is not Status.PASS or "for GET /health is answered" in result.message


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
    """Only an answer that Populi alone gives counts as let through: a gateway is named as what it is, or undecided."""
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
    """A gateway's 403 proves no enforced scope, its 204 no removed row, its page no spent or unknown token."""

    async def scope(evil: Evil) -> list[Result]:
        async with opened(evil):
            return await run(posture_scope, evil.url, intrusive=True)

    assert codes_of(asyncio.run(scope(Evil(GATEWAYS[name][0])))) == ["run.no-answer"]
    reported = attack(enroll_cycle, Evil(GATEWAYS[name][0]), enrolment=Enrolment())
    assert not [code for code in codes_of(reported) if code == "pass" or code.startswith("enroll.")]
    bad = [result for result in reported if result.status is Status.FAIL]
    assert {result.code.slug for result in bad if result.code} <= {"control.not-populi", "control.redirected"}
    assert bad


def test_an_open_control_plane_is_found(tmp_path: Path) -> None:
    """Our own server without a secret lets everyone in, and the report says so explicitly."""
    server = ControlPlane(tmp_path, {}).start()
    try:
        (result,) = asyncio.run(run(posture_routes.posture_routes, server.url, token=None))
    finally:
        server.kill()
    assert codes_of([result]) == ["posture.open"]
    assert "31 of 31 requests" in result.message


def test_no_redirect_is_followed_and_no_cookie_kept() -> None:
    """A bearer goes to the configured URL only, and a stranger's cookies are forgotten."""

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
