"""host.portal: an answer in the place of nobody is a portal's, and nobody is asked where somebody answers."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast

import pytest
from preflight_checks.host_portal import host_portal

from preflight.api import CONTROL, Context, Peer, Result, Status
from preflight.model.facts import AnswerFacts, EchoFacts, Facts, HealthFacts
from preflight.model.overlay import OverlayState
from preflight.model.tcp import Interception
from preflight.settings.load import Settings
from tests.sample_facts import sample

if TYPE_CHECKING:
    from preflight.net import Net

PEER = Peer("10.66.0.2", "b")


class Asked:
    """Replaces `ctx.net`: what answers, and whether it was asked."""

    def __init__(self, answer: Interception | None) -> None:
        self._answer, self.peers = answer, list[str]()

    async def nobody_answers(
        self, overlay: OverlayState | None, peers: Iterable[str], timeout_s: float
    ) -> Interception | None:
        """As Net."""
        self.peers += peers
        return self._answer


def found(net: Asked, known: Mapping[str, tuple[Facts, ...]]) -> Result:
    """The one result."""
    context = Context(Settings(), (PEER,), None, cast("Net", net), known)

    async def run() -> list[Result]:
        return [result async for result in host_portal.function(context)]

    (result,) = asyncio.run(run())
    return result


@pytest.mark.parametrize(
    ("status", "location", "bad"),
    [
        (302, "http://login.example/", True),
        (200, None, True),
        (511, None, True),
        # A proxy that cannot reach the address, and a filter that forbids it.
        (503, None, False),
        (403, None, False),
    ],
)
def test_only_a_page_or_a_redirect_is_a_portal_s(status: int, location: str | None, bad: bool) -> None:
    """A proxy between this node and the web stops no tunnel; what it answers is said anyway."""
    result = found(Asked(Interception("192.0.2.1", "eth0", status, location)), {})
    assert result.status is (Status.FAIL if bad else Status.PASS)
    assert str(result.code) == ("host.captive-portal" if bad else "None")
    assert f"HTTP {status}" in result.message
    assert location is None or location in result.message


def test_silence_of_nobody_is_as_it_should_be() -> None:
    """The peers' addresses say by which devices the tunnels leave."""
    net = Asked(None)
    assert found(net, {"b": (sample(AnswerFacts, sent=10, answered=0),)}).status is Status.PASS
    assert net.peers == ["10.66.0.2"]


@pytest.mark.parametrize(
    "known",
    [
        {"b": (sample(AnswerFacts, sent=10, answered=1),)},
        {"b": (sample(EchoFacts, sent=4, received=1),)},
        {CONTROL: (sample(HealthFacts),)},
    ],
)
def test_nobody_is_asked_where_somebody_answers(known: Mapping[str, tuple[Facts, ...]]) -> None:
    """A portal lets no tunnel pass: where one does, the trouble has another cause."""
    net = Asked(Interception("192.0.2.1", "eth0", 302))
    assert found(net, known).status is Status.SKIP
    assert net.peers == []
