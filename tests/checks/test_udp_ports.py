"""udp.ports: whether UDP gets to a peer whose responder is silent, by what its host says of ports that nobody uses."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from preflight_checks import udp_ports as module
from preflight_checks.udp_ports import ASKED, Said, judge, udp_ports

from preflight.api import Direction, Peer, Result, Status, inconclusive
from preflight.codes import RUN_NEEDS_RESPONDER
from preflight.engine.diagnosis import diagnose
from preflight.model.facts import AnswerFacts, EchoFacts, Facts
from preflight.model.overlay import OverlayState
from preflight.model.path import StampStats

NB = Peer("100.64.0.2", "nb")
ECHOED = EchoFacts(sent=4, received=4, rtt_min_ms=1.0, rtt_max_ms=2.0)
UNANSWERED = AnswerFacts(sent=10, answered=0, rejected=0)


@pytest.mark.parametrize(
    ("product", "status", "words"),
    [
        ("tailscale", Status.FAIL, "the tailnet's access rules let no UDP through, or a firewall on nb drops it"),
        ("zerotier", Status.FAIL, "the network's flow rules let no UDP through, or a firewall on nb drops it"),
        ("nebula", Status.WARN, "the inbound rules of nb's Nebula let no UDP in, or a firewall on nb drops it"),
        ("wireguard", Status.WARN, "nobody listens; a firewall on nb drops it"),
    ],
)
def test_silence_of_all_ports(product: str, status: Status, words: str) -> None:
    """The product's own lever comes first, and nothing says that a responder should be started."""
    result = judge(NB, Said(ASKED, 0, tcp=True), product)
    assert result.code is not None
    assert (result.code.slug, result.status, result.direction) == ("udp.blocked", status, Direction.ROUND_TRIP)
    assert result.message.startswith("nb answers echoes and TCP and no UDP: its port 862 is silent")
    assert f"{words}; should port 862 be let in" in result.message
    assert "preflight responder" not in (result.remedy or "")
    assert [each.where for each in result.remedies][-1] == "peer"


def test_what_it_accounts_for() -> None:
    """No second cause asks for a responder, although a warning is milder than a failure."""
    found = judge(NB, Said(ASKED, 0, tcp=False), "wireguard")
    asks = inconclusive(RUN_NEEDS_RESPONDER, "nb", Direction.ROUND_TRIP, "port 862 is silent")
    assert [cause.code.slug for cause in diagnose([asks, found])] == ["udp.blocked"]


@pytest.mark.parametrize("said", [None, Said(2, 0, tcp=True), Said(ASKED, 1, tcp=False)])
def test_what_proves_nothing(said: Said | None) -> None:
    """A host that says it once is reached; what this node did not send does not show a silence of the peer."""
    assert judge(NB, said, "tailscale").status in (Status.SKIP, Status.PASS)


async def _unconnected(*_: Any, **__: Any) -> Any:
    return SimpleNamespace(outcome="timeout")


def _net(own: str, tries: Sequence[str], before: StampStats | None) -> Any:
    left = iter(tries)

    async def port_says(*_: Any, **__: Any) -> str:
        return own

    async def ports_say(*_: Any, **__: Any) -> tuple[str, ...]:
        words: tuple[str, ...] = (next(left),) * ASKED
        return words

    return SimpleNamespace(
        icmp=SimpleNamespace(port_says=port_says, ports_say=ports_say),
        tcp=SimpleNamespace(connect=_unconnected),
        path=SimpleNamespace(proven_silent=lambda _: before),
    )


def run(
    echo: EchoFacts = ECHOED,
    answers: AnswerFacts = UNANSWERED,
    *,
    key: bool = True,
    own: str = "silent",
    tries: Sequence[str] = ("silent", "silent"),
    before: StampStats | None = None,
) -> Result:
    """The check with what the others saw. own: what the host says of the responder's port; tries: of the others.

    before: the last session of this run with the responder, where nothing of it was answered.
    """
    net = _net(own, tries, before)
    secrets = SimpleNamespace(key_for=lambda _: b"key" if key else None)
    handed: dict[type[Facts], tuple[Facts, ...]] = {EchoFacts: (echo,), AnswerFacts: (answers,)}
    context: Any = SimpleNamespace(
        peers=(NB,),
        overlay=OverlayState("tailscale", "tailscale0", up=True, mtu=1280),
        settings=SimpleNamespace(secrets=secrets),
        net=net,
        facts=lambda kind, _: handed[kind],
    )

    async def only() -> Result:
        results: list[Result] = [each async for each in udp_ports.function(context)]
        return results[0]

    return asyncio.run(only())


def test_a_peer_that_answers_echoes_and_no_udp(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole check."""
    monkeypatch.setattr(module, "REFILL_S", 0.0)
    assert run().status is Status.FAIL
    assert run(before=StampStats(10, 0)).status is Status.FAIL


def test_a_second_try_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that has just sent its fill of errors about other ports is silent once, and answers a little later."""
    monkeypatch.setattr(module, "REFILL_S", 0.0)
    assert run(tries=("silent", "closed")).status is Status.PASS
    assert run(tries=("closed",)).status is Status.PASS, "nothing is sent twice that was answered"
    assert run(tries=("silent", "silent")).status is Status.FAIL


@pytest.mark.parametrize(
    "more",
    [
        # A path that loses echoes may lose these too.
        {"echo": EchoFacts(sent=4, received=3, rtt_min_ms=1.0, rtt_max_ms=2.0)},
        {"answers": AnswerFacts(sent=10, answered=1)},
        {"answers": AnswerFacts(sent=10, answered=0, rejected=4)},
        # Nobody expects a responder there; and its host says that none runs.
        {"key": False},
        {"own": "closed"},
        # It said so a moment ago, and has no error left for this one.
        {"before": StampStats(10, 0, port_unreachable=True)},
    ],
)
def test_nothing_is_asked(more: dict[str, Any]) -> None:
    """Only a silent port of a peer that answers everything else is worth the packets."""
    assert run(**more).status is Status.SKIP
