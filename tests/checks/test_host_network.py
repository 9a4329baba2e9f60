"""host.network: one cause for all peers where nobody behind the gateway answers; where one does, nothing is asked."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import pytest
from preflight_checks.host_network import host_network

from preflight import codes
from preflight.api import CONTROL, NODE, Context, Direction, Peer, Result, Status, failed
from preflight.engine.diagnosis import diagnose
from preflight.model.facts import AnswerFacts, EchoFacts, Facts, HealthFacts
from preflight.model.kernel import NeedsPlatform
from preflight.model.overlay import OverlayState
from preflight.proto.way.beyond import Beyond
from preflight.proto.way.stations import Station
from preflight.settings.load import Settings
from tests.proto.way.test_beyond import NOBODY, ONLY_IT, end
from tests.sample_facts import sample

if TYPE_CHECKING:
    from preflight.net import Net

DEAD = (end("198.51.100.2", ONLY_IT), end("192.0.2.2", NOBODY))


class Traced:
    """Replaces `ctx.net`: what traces bring, and whether any was made."""

    def __init__(self, *found: Beyond, refused: Exception | None = None) -> None:
        self._found, self._refused, self.asked = found, refused, False

    async def beyond_gateway(self, overlay: OverlayState | None) -> Sequence[Beyond]:
        """As Net."""
        self.asked = True
        if self._refused is not None:
            raise self._refused
        return self._found


def found(net: Traced, known: Mapping[str, tuple[Facts, ...]]) -> Result:
    """The one result."""
    context = Context(Settings(), (Peer("10.66.0.2", "b"),), None, cast("Net", net), known)

    async def run() -> list[Result]:
        return [result async for result in host_network.function(context)]

    (result,) = asyncio.run(run())
    return result


def test_a_dead_network_is_one_cause_for_all_peers() -> None:
    """Also where the gateway refuses what goes to one of them, and the other has no session."""
    dead = found(Traced(*DEAD), {"b": (sample(AnswerFacts, sent=10, answered=0),)})
    assert (dead.status, str(dead.code), dead.target) == (Status.FAIL, "host.network-dead", NODE)
    assert dead.station == Station("network", "network")
    place, way = Station("network", "network"), Direction.ROUND_TRIP
    others = (
        failed(codes.REACH_NO_FORWARD, "b", Direction.FORWARD, "refused", station=place),
        failed(codes.OVERLAY_NO_HANDSHAKE, "c", way, "no answer"),
        failed(codes.REACH_UNREACHABLE, "d", way, "silent"),
        failed(codes.CONTROL_TIMEOUT, CONTROL, way, "silent"),
    )
    assert [str(cause.code) for cause in diagnose([*others, dead])] == ["host.network-dead"]


def test_a_network_of_which_nothing_is_shown_is_passed() -> None:
    """One endpoint alone may be off."""
    assert found(Traced(DEAD[0]), {}).status is Status.PASS


@pytest.mark.parametrize(
    ("refused", "code"), [(PermissionError(), "run.needs-privilege"), (NeedsPlatform("x"), "run.needs-platform")]
)
def test_what_cannot_be_asked_is_skipped(refused: Exception, code: str) -> None:
    """An ordinary user sends no raw packets."""
    result = found(Traced(refused=refused), {})
    assert (result.status, str(result.code)) == (Status.SKIP, code)


@pytest.mark.parametrize(
    "known",
    [
        {"b": (sample(AnswerFacts, sent=10, answered=1),)},
        {"b": (sample(EchoFacts, sent=4, received=1),)},
        {CONTROL: (sample(HealthFacts),)},
    ],
)
def test_nobody_is_asked_where_somebody_answers(known: Mapping[str, tuple[Facts, ...]]) -> None:
    """Then the network behind the gateway lives."""
    net = Traced(*DEAD)
    assert found(net, known).status is Status.SKIP
    assert not net.asked
