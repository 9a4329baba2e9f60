"""reach.rate: a limit on the rate is found behind what udp.quality saw, with both numbers, and nothing else is."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
from preflight_checks.reach_rate import MOST_PEERS, reach_rate
from preflight_checks.udp_quality import judge

from preflight.api import Context, Peer, Result, Status
from preflight.model.facts import LossFacts
from preflight.net.turns import Turns
from preflight.settings.load import Settings
from preflight.settings.schema import Thresholds
from tests.net.stamp.test_quality import measured
from tests.proto.stamp.lines import Line, Lines

if TYPE_CHECKING:
    from preflight.net import Net

PEER = Peer("10.66.0.2", "b")


class Over:
    """Replaces `ctx.net`."""

    def __init__(self, lines: Lines) -> None:
        self.path, self.turns = lines, Turns()


def found(lines: Lines, *peers: Peer) -> list[Result]:
    """What reach.rate says after udp.quality measured the same lines."""
    handed_over: dict[str, tuple[LossFacts, ...]] = {}
    for peer in peers or (PEER,):
        results = judge(peer, measured(lines, peer), Thresholds())
        handed_over[peer.target] = tuple(each.facts for each in results if isinstance(each.facts, LossFacts))
    lines.sent = 0
    context = Context(Settings(), peers or (PEER,), None, cast("Net", Over(lines)), handed_over)

    async def run() -> list[Result]:
        return [result async for result in reach_rate.function(context)]

    return asyncio.run(run())


@pytest.mark.parametrize("per_s", [5, 10, 20, 30, 50])
@pytest.mark.parametrize("burst", [1, 5, 20])
def test_a_policer_is_found_in_its_direction(per_s: float, burst: int) -> None:
    """With a rate that passes, one that does not, and at most two hundred packets."""
    for way in ("forward", "reverse"):
        line = Line(police_per_s=per_s, burst=burst)
        lines = Lines(line) if way == "forward" else Lines(reverse=line)
        (result,) = found(lines)
        assert (str(result.code), result.direction.value, result.status) == ("reach.policed", way, Status.FAIL)
        passing, losing = (float(str(result.measurements[f"{what}_per_s"])) for what in ("passing", "losing"))
        assert passing < per_s * 1.5  # a bucket that was full adds to it
        assert losing > per_s
        assert f"{losing:.0f} a second" in result.message
        assert lines.sent <= 200


def test_a_limit_that_leaves_enough_is_a_warning() -> None:
    """A hundred full packets a second are a megabit: that is worth a word, and no failure."""
    (result,) = found(Lines(Line(police_per_s=150, burst=20)))
    assert (str(result.code), result.status) == ("reach.policed", Status.WARN)


@pytest.mark.parametrize(
    "line",
    [Line(), Line(link_per_s=40), Line(link_per_s=40, room=4), Line(link_per_s=10), Line(loss=0.1), Line(loss=0.5)],
)
def test_nothing_else_is_a_policer(line: Line) -> None:
    """Slow links and loss at random have other codes, and where nothing is suspected nothing is sent."""
    lines = Lines(line)
    (result,) = found(lines)
    assert result.status is Status.SKIP
    assert lines.sent == 0 or line.loss > 0.15


def test_rates_of_many_peers_are_not_tried() -> None:
    """What limits an uplink limits every peer; a check must not become a load test."""
    peers = tuple(Peer(f"10.66.0.{number}", f"p{number}") for number in range(2, 8))
    results = found(Lines(Line(police_per_s=20)), *peers)
    assert {result.target for result in results} == {peer.name for peer in peers}
    assert sum(result.status is Status.FAIL for result in results) <= MOST_PEERS
    assert any("name this one with --peer" in result.message for result in results)


def busy(room: int = 30, police_per_s: float = 0.0) -> Line:
    """A slow link whose queue others fill for half a second."""
    link = Line(link_per_s=94.0, others_per_s=130.0, others_until_s=0.5, room=room)
    return replace(link, police_per_s=police_per_s)


def test_a_policer_is_found_behind_a_slow_link_that_others_fill_at_first() -> None:
    """What else this run sends fills the queue of a slow link, so that all of the first packets wait.

    Alone the rate that the link was seen to carry is below the limit, and nothing is lost.
    """
    (result,) = found(Lines(busy(police_per_s=30)))
    assert (str(result.code), result.direction.value) == ("reach.policed", "forward")


@pytest.mark.parametrize("room", [3, 10, 30])
def test_a_slow_link_that_others_fill_at_first_is_no_policer(room: int) -> None:
    """The same without the limit: what is lost then was lost behind other packets."""
    (result,) = found(Lines(busy(room)))
    assert result.status in (Status.SKIP, Status.PASS)
