"""control.tls, control.health and control.clock: their judges, by table."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from ipaddress import ip_interface, ip_network
from typing import Any

import pytest
from preflight_checks import control_clock, control_health, control_tls

from preflight.api import Status, codes
from preflight.model.control import ControlError, ControlErrorKind, HttpAnswer, NotHttpError
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.tcp import Certificate, Handshake, HandshakeOutcome
from preflight.net.control.pace import Pace
from preflight.proto.control.health_probe import Probe, is_slow
from preflight.proto.control.http import Proxy
from preflight.proto.control.url import ControlUrl
from tests.kernel_says import routed

C = OverlayPeer("k", "192.0.2.3:51820", (ip_network("10.66.0.3/32"),))
OVERLAY = routed(
    OverlayState("wireguard", "wg0", up=True, mtu=1420, addresses=(ip_interface("10.66.0.1/24"),), peers=(C,)),
    inside=["10.66.0.3", "10.66.0.9"],
    outside=["192.0.2.3"],
)
BARE = OverlayState(product="wireguard", interface="wg0", up=True, mtu=1420)
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
URL = ControlUrl("https", "10.66.0.3", 9847)
DAY = timedelta(days=1)


def shook(
    outcome: HandshakeOutcome,
    *,
    starts: timedelta = -DAY,
    ends: timedelta = 60 * DAY,
    date: datetime | None = None,
    detail: str = "the reason",
    address: str = "10.66.0.3",
) -> Handshake:
    certificate = Certificate("CN=c", "CN=ca", ("control.example", "*.example"), NOW + starts, NOW + ends)
    dated = b"HTTP/1.1 200 OK\r\ndate: " + formatdate(date.timestamp(), usegmt=True).encode() if date else b""
    alive = outcome not in ("timeout", "refused", "unreachable", "failed")
    return Handshake(address, 9847, outcome, 3.0, detail, "TLSv1.3", certificate if alive else None, dated)


@pytest.mark.parametrize(
    ("handshakes", "code"),
    [
        ([shook("trusted")], None),
        ([shook("expired", starts=-90 * DAY, ends=-DAY)], "control.tls-expired"),
        ([shook("expired", starts=-90 * DAY, ends=-DAY, date=NOW)], "control.tls-expired"),
        ([shook("expired", starts=-90 * DAY, ends=-DAY, date=NOW - 2 * DAY)], "control.clock-skew"),
        ([shook("not-yet-valid", starts=DAY)], "control.tls-not-yet-valid"),
        ([shook("not-yet-valid", starts=DAY, date=NOW + 2 * DAY)], "control.clock-skew"),
        ([shook("expired")], "control.tls-expired"),
        ([shook("expired", date=NOW - 2 * DAY)], "control.tls-expired"),
        ([shook("untrusted", date=NOW - 2 * DAY)], "control.tls-untrusted"),
        ([shook("name")], "control.tls-name"),
        ([shook("failed", detail="WRONG_VERSION_NUMBER")], "control.tls-failed"),
        ([shook("timeout")], "control.timeout"),
        ([shook("refused")], "control.refused"),
        ([shook("unreachable")], "control.unreachable"),
        ([shook("timeout", address="fd66::dead"), shook("trusted")], None),
        ([shook("timeout", address="fd66::dead"), shook("untrusted")], "control.tls-untrusted"),
        ([shook("trusted"), shook("name")], "control.tls-name"),
        ([shook("trusted", ends=14 * DAY)], None),
        ([shook("trusted", starts=-76 * DAY, ends=13.9 * DAY)], "control.tls-expiring"),
        ([shook("trusted", ends=0.6 * DAY)], None),
        ([shook("trusted", ends=0.4 * DAY)], "control.tls-expiring"),
        (
            [shook("trusted"), shook("trusted", starts=-88 * DAY, ends=2 * DAY, address="fd66::3")],
            "control.tls-expiring",
        ),
        ([shook("trusted", ends=2 * DAY), shook("name")], "control.tls-name"),
    ],
)
def test_control_tls(handshakes: list[Handshake], code: str | None) -> None:
    """Each way to refuse a certificate; the clock when the server's own time is within its validity."""
    result = control_tls.judge(URL, handshakes, NOW)
    assert (result.code.slug if result.code else None) == code
    assert (result.status is Status.PASS) == (code is None)
    assert result.code is None or result.remedy


def test_whose_clock_is_wrong() -> None:
    """Protects from a fix that cannot heal: a node whose clock the kernel calls synchronised needs no other one."""
    shaken = [shook("not-yet-valid", starts=DAY, date=NOW + 2 * DAY)]
    own, theirs = (control_tls.judge(URL, shaken, NOW, synchronised=right) for right in (False, True))
    assert own.measurements["problem"] == theirs.measurements["problem"] == "this node's clock"
    assert [remedy.where for remedy in (*own.remedies, *theirs.remedies)] == ["node", "control host"]
    assert "the control plane's is the wrong one" in theirs.message


def test_a_certificate_that_expires_soon_only_warns_and_the_limit_is_a_setting() -> None:
    """Nothing is broken yet; an operator who renews every week sets a shorter limit."""
    soon = [shook("trusted", starts=-85 * DAY, ends=5 * DAY)]
    assert control_tls.judge(URL, soon, NOW).status is Status.WARN
    assert "in 5.0 days" in control_tls.judge(URL, soon, NOW).message
    assert control_tls.judge(URL, soon, NOW, 3).status is Status.PASS


def test_tls_messages_name_the_facts() -> None:
    """Who it is for, when it ended, who issued it; but no bearer is led to a name that a stranger's certificate has."""
    named = control_tls.judge(URL, [shook("name")], NOW)
    assert "is for control.example, *.example, not for 10.66.0.3" in named.message
    assert "control.example" not in (named.remedy or "")
    assert "Issue a certificate for 10.66.0.3" in (named.remedy or "")
    hostile = Certificate("CN=c", "CN=ca", ("$(reboot)", "*.example"), NOW, NOW)
    assert "reboot" not in (control_tls.judge(URL, [replace(shook("name"), certificate=hostile)], NOW).remedy or "")
    assert "2026-11-23 12:00 UTC" in control_tls.judge(URL, [shook("expired", ends=-DAY)], NOW).message
    assert "CN=ca" in control_tls.judge(URL, [shook("untrusted")], NOW).message
    assert "one above it is expired" in control_tls.judge(URL, [shook("expired")], NOW).message
    assert "does not speak TLS" in control_tls.judge(URL, [shook("failed", detail="WRONG_VERSION_NUMBER")], NOW).message
    assert control_tls.judge(URL, [shook("trusted")], NOW).measurements["certificate_days_left"] == 60


@pytest.mark.parametrize(
    ("addresses", "overlay", "code"),
    [
        (["10.66.0.3"], OVERLAY, None),
        (["127.0.0.1"], None, None),
        (["127.0.0.1", "10.66.0.3"], OVERLAY, None),
        (["192.0.2.3"], OVERLAY, "control.plain-http"),
        (["10.66.0.3", "192.0.2.3"], OVERLAY, "control.plain-http"),
        (["10.66.0.3"], None, "control.plain-http"),
        (["10.66.0.3"], BARE, "run.no-answer"),
        (["10.66.0.9"], OVERLAY, "run.no-answer"),
        ([], OVERLAY, "run.no-answer"),
    ],
)
def test_plain_http(addresses: list[str], overlay: OverlayState | None, code: str | None) -> None:
    """Right on loopback and in the tunnel only; what cannot be judged is neither blamed nor praised."""
    result = control_tls.judge_plain(ControlUrl("http", "control.example", 80, port_given=False), addresses, overlay)
    assert (result.code.slug if result.code else None) == code


def answered(
    status: int = 200, body: bytes = b"ok\n", rtt_ms: float = 5.0, first: bool = False, **headers: str
) -> HttpAnswer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if status == 200 and body == b"ok\n":
        named.setdefault("x-populi-feature", "exec-lease-v1")
    return HttpAnswer(status, named, body, rtt_ms, 1000.0, 1000.0 + rtt_ms / 1000, first)


def refused(kind: ControlErrorKind) -> ControlError:
    return ControlError(kind, None, f"10.66.0.3:9847 {kind}")


@pytest.mark.parametrize(
    ("bad", "code", "status"),
    [
        (answered(200, b"<html>Welcome</html>", server="nginx"), "control.not-populi", "fail"),
        (answered(200, b"ok\n", x_populi_feature=""), None, "pass"),
        (answered(200, b"ok", server="caddy"), "control.not-populi", "fail"),
        (answered(200, b"", x_populi_feature="a"), "control.bad-answer", "fail"),
        (answered(404, b"nothing"), "control.not-populi", "fail"),
        (answered(401, b"login"), "control.not-populi", "fail"),
        (answered(204, b""), "control.not-populi", "fail"),
        (answered(301, location="https://portal.example/login?session=s3cr3t"), "control.redirected", "fail"),
        (answered(302, location="/login"), "control.redirected", "fail"),
        (answered(307), "control.redirected", "fail"),
        (answered(500, b"oops"), "control.unhealthy", "fail"),
        (answered(503, b"starting"), "control.unhealthy", "fail"),
        (answered(429, b"later", retry_after="60"), "control.throttled", "warn"),
        (replace(answered(), cut=True), "control.bad-answer", "fail"),
        (refused("timeout"), "control.timeout", "fail"),
        (refused("refused"), "control.refused", "fail"),
        (refused("unreachable"), "control.unreachable", "fail"),
        (refused("dns"), "control.dns-timeout", "fail"),
        (refused("tls"), "control.tls-failed", "fail"),
        (refused("protocol"), "control.unhealthy", "fail"),
        (refused("no-url"), "control.url-invalid", "fail"),
        (NotHttpError("10.66.0.3:22 answered with something that is not HTTP"), "control.not-populi", "fail"),
    ],
)
def test_control_health(bad: HttpAnswer | ControlError, code: str | None, status: str) -> None:
    """Whatever answers GET /health in place of a healthy control plane has its own name."""
    if code is None:
        assert isinstance(bad, HttpAnswer)
        assert control_health.finding(bad) is None
        return
    result = control_health.judge(URL, Probe((), bad, 1), 300.0)[0]
    assert (result.code.slug if result.code else None, result.status.value) == (code, status)
    assert result.remedy
    assert "s3cr3t" not in f"{result}"


def test_a_good_control_plane() -> None:
    """The median of the round trips without the one that opened the connection."""
    good = (answered(rtt_ms=400, first=True), *(answered(rtt_ms=ms) for ms in (4, 6, 5)))
    result = control_health.judge(URL, Probe(good, None, 3), 300.0)[0]
    assert (result.status, result.attempts) == (Status.PASS, 3)
    assert result.measurements["rtt_ms"] == 5
    assert "after 3 attempts" in result.message


def test_one_of_two_servers_that_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that restarts fails once and is asked again; failures by turns with good answers are the finding."""
    monkeypatch.setattr(control_health, "delay_s", lambda *_: 0.0)

    def probed(*statuses: int) -> Probe:
        left = iter(statuses)

        class Client:
            pace = Pace()

            async def health(self, timeout_s: float) -> HttpAnswer:
                status = next(left, 200)
                return answered(status, b"ok\n" if status == 200 else b"")

            def apart(self) -> Any:
                return self

            async def aclose(self) -> None:
                pass

        probe: Probe = asyncio.run(control_health.measure(Client()))
        return probe

    restarts, turns, limited = probed(200, 503, 503, 200), probed(503, 200, 503, 200, 503), probed(200, 429, 200, 429)
    assert restarts.bad is None
    assert limited.bad is None
    assert len(turns.good) == 2
    result = control_health.judge(URL, turns, 300.0)[0]
    assert result.code is codes.CONTROL_UNHEALTHY
    assert "2 answers in between were good" in result.message


def test_a_slow_control_plane_comes_with_time_outs() -> None:
    """A warning with the settings to paste; the threshold is the operator's."""
    probe = Probe(tuple(answered(rtt_ms=900) for _ in range(4)), None, 1)
    slow = control_health.judge(URL, probe, 300.0)[0]
    assert slow.code is not None
    assert (slow.code.slug, slow.status) == ("control.slow", Status.WARN)
    assert "VOX_ORCHESTRATOR_MESH_HTTP_TIMEOUT_MS=18000" in (slow.remedy or "")
    assert control_health.judge(URL, probe, 1000.0)[0].status is Status.PASS


def test_only_answers_that_all_took_long_are_slow() -> None:
    """Each of a few may have waited behind other packets of this node; such answers are asked for again, alone."""
    few = [answered(rtt_ms=900) for _ in range(3)]
    assert is_slow(Probe(tuple(few)), 300.0)
    assert not is_slow(Probe((*few, answered(rtt_ms=20))), 300.0)
    assert is_slow(Probe((*few, *few, *few, answered(rtt_ms=20))), 300.0)


def test_proxies() -> None:
    """Good through it: a pass and a warning. Bad through it and good past it: the proxy. Bad both ways: not it."""
    proxy = Proxy.read("HTTP_PROXY", "http://user:s3cr3t@192.0.2.8:3128")
    good, bad = Probe((answered(),), None, 1), Probe((), answered(403, b"denied by squid"), 1)
    through = control_health.judge(URL, good, 300.0, proxy)
    assert [(r.status.value, r.code.slug if r.code else None, r.aspect) for r in through] == [
        ("pass", None, ""),
        ("warn", "host.proxy-env", "proxy"),
    ]
    in_the_way = control_health.judge(URL, bad, 300.0, proxy, good)
    assert [(r.status.value, r.code.slug if r.code else None) for r in in_the_way] == [("fail", "host.proxy-env")]
    assert 'NO_PROXY="$NO_PROXY,10.66.0.3"' in (in_the_way[0].remedy or "")
    neither = control_health.judge(URL, bad, 300.0, proxy, Probe((), refused("timeout"), 1))
    assert neither[0].code is not None
    assert neither[0].code.slug == "control.not-populi"
    assert "s3cr3t" not in f"{through}{in_the_way}{neither}"


@pytest.mark.parametrize(
    ("skew_s", "status", "words"),
    [(0, "pass", "agree"), (-4, "pass", "agree"), (9, "warn", "ahead"), (-9, "warn", "behind"), (600, "fail", "ahead")],
)
def test_control_clock(skew_s: int, status: str, words: str) -> None:
    """Beyond the threshold even at the kind end of the error bar; which clock is wrong is not claimed."""
    date = formatdate(1000.0 + skew_s, usegmt=True)
    answers = [answered(date=date)]
    result = control_clock.judge(answers, 5000.0, 60000.0)
    assert result.status.value == status
    assert words in result.message
    assert result.measurements["clock_error_ms"] == 1002
    assert status == "pass" or "which of the two" in result.message


def test_no_date_no_clock() -> None:
    """Nothing to compare with is undecided, not a pass."""
    for answers in ([answered()], []):
        assert control_clock.judge(answers, 5000.0, 60000.0).status is Status.INCONCLUSIVE
