"""reach.icmp: a filter, a dead path, loss and chance are distinguished."""

import asyncio
from typing import Any, cast

import pytest
from preflight_checks.reach_icmp import FIRST, MORE, Reached, judge, measure

from preflight.api import Context, Direction, Peer, Status
from preflight.model.icmp import PRIVILEGE, EchoStats
from preflight.model.path import StampStats
from preflight.settings.load import Settings

PEER = Peer("10.66.0.2", "b")
ALIVE = StampStats(sent=3, answered=3)
CLOSED = StampStats(sent=3, answered=0, port_unreachable=True)
DEAD = StampStats(sent=3, answered=0)


def echoes(sent: int, received: int, error: str | None = None) -> EchoStats:
    """A burst of which the first ones were answered."""
    return EchoStats(sent, received, (0.5,) * received, error)


@pytest.mark.parametrize(
    ("echo", "udp", "status", "code"),
    [
        (echoes(4, 4), None, Status.PASS, None),
        (echoes(0, 0, PRIVILEGE), None, Status.INCONCLUSIVE, "run.needs-privilege"),
        (echoes(4, 0), ALIVE, Status.WARN, "reach.icmp-filtered"),
        (echoes(4, 0), CLOSED, Status.WARN, "reach.icmp-filtered"),
        (echoes(0, 0, "Operation not permitted"), ALIVE, Status.WARN, "reach.icmp-filtered"),
        (echoes(4, 0), DEAD, Status.FAIL, "reach.unreachable"),
        (echoes(4, 0, "Destination host unreachable"), DEAD, Status.FAIL, "reach.unreachable"),
        (echoes(0, 0, "Network is unreachable"), DEAD, Status.FAIL, "reach.unreachable"),
        # Loss is a finding only from enough echoes, and only where no responder tells its direction.
        (echoes(100, 99), DEAD, Status.WARN, "reach.loss"),
        (echoes(100, 90), DEAD, Status.FAIL, "reach.loss"),
        (echoes(100, 90), ALIVE, Status.PASS, None),
        (echoes(100, 100), DEAD, Status.PASS, None),
        (echoes(4, 3), DEAD, Status.PASS, None),
    ],
)
def test_verdicts(echo: EchoStats, udp: StampStats | None, status: Status, code: str | None) -> None:
    """Each combination of echoes and UDP has one meaning, and none of them claims a direction."""
    result = judge(PEER, Reached(echo, udp), 1.0, 3.0)
    assert (result.status, str(result.code) if result.code else None) == (status, code)
    assert result.direction is Direction.ROUND_TRIP


def test_what_the_kernel_said_is_reported() -> None:
    """A refusal on this node must not read as silence of the peer."""
    message = judge(PEER, Reached(echoes(0, 0, "Operation not permitted"), DEAD), 1.0, 3.0).message
    assert message.startswith("no echo left this node (Operation not permitted)")


class Net:
    """Replaces `ctx.net`: how many of the first four echoes come back, and what UDP does; counts the echoes."""

    def __init__(self, received: int, udp: StampStats) -> None:
        self.received, self.udp, self.counts = received, udp, list[int]()
        self.icmp = self.path = self

    async def echo(self, address: str, *, count: int, interval_s: float, timeout_s: float) -> EchoStats:
        """As Icmp."""
        self.counts.append(count)
        return echoes(count, self.received)

    async def stamp(self, peer: Peer, *, count: int, interval_s: float) -> StampStats:
        """As PathProbes."""
        return self.udp


@pytest.mark.parametrize(
    ("received", "udp", "counts"),
    [
        (4, DEAD, [FIRST]),
        (3, DEAD, [FIRST, MORE]),
        (3, ALIVE, [FIRST]),
        (3, CLOSED, [FIRST]),
        (0, DEAD, [FIRST]),
        (0, ALIVE, [FIRST]),
    ],
)
def test_many_echoes_go_only_where_they_decide(received: int, udp: StampStats, counts: list[int]) -> None:
    """On a mesh in which all lose packets a hundred echoes to each take longer than everything else together."""
    net = Net(received, udp)
    context = Context(Settings(), (PEER,), None, cast("Any", net))
    asyncio.run(measure(context, PEER))
    assert net.counts == counts
