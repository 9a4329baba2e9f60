"""The responder's mailbox: who gets what its observers see, and who gets the plain report."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from typing import cast

import pytest

from preflight.model.control import MailboxRow
from preflight.model.facts import DeathFacts
from preflight.model.observed import PeerObservation, PeerSight
from preflight.model.peer_tunnel import PeerTunnel
from preflight.net.control.client import ControlClient
from preflight.proto.pmtu.wire import ProbeServer
from preflight.proto.responder.admission import Admission, Limits
from preflight.proto.responder.mailbox_probe import (
    MAX_PAYLOAD,
    REQUEST_TYPE,
    ProbeRequest,
    ProbeResult,
    decode_result,
    encode_request,
)
from preflight.proto.stamp.reflector import SessionReflector
from preflight.responder.core import ResponderCore
from preflight.responder.mailbox import Look, Mailbox, blind

KEY = b"a key that only tests know"
PUBLIC = "c3RyYW5nZXIgc3RyYW5nZXIgc3RyYW5nZXIgc3RyYW4="
RULE = PeerObservation(
    station="input",
    finding="killed",
    direction="forward",
    code="host.firewall-drop",
    facts=DeathFacts(rule_handle=12, chain="guard input", comment="ä" * 80),
)


TUNNEL = PeerTunnel(interface="wg0", public_key=PUBLIC, knows_key=True, owner=PUBLIC, allowed=("10.66.0.1/32",))


class Box:
    """A control plane with one mailbox, which holds one request until it is acknowledged."""

    def __init__(self, payload: str) -> None:
        self.rows = [MailboxRow(1, "1", "2", REQUEST_TYPE, payload, 1)]
        self.delivered: list[str] = []

    async def inbox(self, agent_id: str) -> list[MailboxRow]:
        """What waits."""
        return list(self.rows)

    async def ack(self, agent_id: str, row: int) -> None:
        """Take it out; then the responder has done its work."""
        self.rows.clear()
        raise asyncio.CancelledError

    async def deliver(self, *, payload: str, **_: object) -> None:
        """A result for the asker."""
        self.delivered.append(payload)

    async def aclose(self) -> None:
        """Nothing to close."""


class Eyes:
    """Observers that see one thing, as often as it is asked."""

    def __init__(self, *told: PeerObservation) -> None:
        self.told = told
        self.asked: list[ProbeRequest] = []
        self.sent: list[int] = []

    @asynccontextmanager
    async def look(self, request: ProbeRequest) -> AsyncGenerator["Eyes", None]:
        """As `preflight.responder.observing.Observers` has it."""
        self.asked.append(request)
        yield self

    async def finish(self, sent: int) -> PeerSight:
        """What was seen."""
        self.sent.append(sent)
        return PeerSight(observed=self.told, tunnel=TUNNEL)


def answered(look: Look, *, signed: bool = True, allowed: bool = True) -> ProbeResult:
    """The result of one request to a responder with a key, which serves 10.66.0.0/24 without one."""
    request = ProbeRequest(
        nonce=bytes(16),
        created_unix_ms=time.time_ns() // 1_000_000,
        sender="1",
        receiver="2",
        address="10.66.0.1" if allowed else "192.0.2.1",
        port=40000,
        ssid=7,
        count=10,
        interval_ms=10,
    )
    core = ResponderCore(
        admission=Admission([ip_network("10.66.0.0/24")], Limits(), time.monotonic()),
        reflector=SessionReflector(key=KEY),
        probes=ProbeServer(KEY, b"secret" * 4),
        key=KEY,
    )
    box = Box(encode_request(request, KEY if signed else None))

    async def sent(_: ProbeRequest) -> tuple[int, dict[str, int]]:
        return 10, {}

    mailbox = Mailbox(cast("ControlClient", box), "2", KEY, core, print)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(mailbox.run(sent, look))
    (payload,) = box.delivered
    assert len(payload) <= MAX_PAYLOAD
    return decode_result(payload, KEY)


def test_who_signs_is_told_what_was_seen() -> None:
    """Protects the purpose of --observe; the observers know how many probes left."""
    eyes = Eyes(RULE)
    result = answered(eyes.look)
    assert (result.report.observed, result.report.tunnel) == ((RULE,), TUNNEL)
    assert (result.report.sent, eyes.sent) == (10, [10])
    assert [request.port for request in eyes.asked] == [40000]


def test_who_does_not_sign_is_not_looked_at() -> None:
    """An allowed address may be forged in a request: it gets the plain report, and costs no observer."""
    eyes = Eyes(RULE)
    result = answered(eyes.look, signed=False)
    assert (result.report.sent, result.report.observed, result.refusal) == (10, (), "")
    assert not eyes.asked


def test_who_is_refused_is_not_looked_at() -> None:
    """A stranger without the key learns only that it is one."""
    eyes = Eyes(RULE)
    result = answered(eyes.look, signed=False, allowed=False)
    assert result.refusal
    assert result.report.observed == ()
    assert not eyes.asked


def test_without_observe_nothing_is_told() -> None:
    """The default of a responder, and what it does where too many ask."""
    report = answered(blind).report
    assert (report.observed, report.tunnel) == ((), None)


def test_a_report_fits_into_a_mailbox() -> None:
    """What decides is there, however much was seen: the rest is left out."""
    rules = [replace(RULE, seen=number) for number in range(30)]
    clear = [PeerObservation(station="rp", finding="clear", direction="forward")] * 10
    observed = answered(Eyes(*clear, *rules).look).report.observed
    assert 0 < len(observed) < 24
    assert set(observed) <= set(rules)
