"""reach.icmp: a filter, a dead path, loss and chance are distinguished."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from preflight_checks.reach_icmp import FEW, FIRST, FULLY, MORE, Reached, judge, reach_icmp

from preflight import codes
from preflight.api import Context, Direction, Peer, Result, Status
from preflight.model.icmp import PRIVILEGE, EchoStats
from preflight.model.path import StampStats
from preflight.model.remedy import by_hand
from preflight.net.turns import Starts, Turns
from preflight.proto.way.observation import Death
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


def test_a_rule_of_this_node_is_not_looked_for_at_the_peer() -> None:
    """The echoes' answers come and are dropped here, while a stateful rule lets UDP in: the line is for this node."""
    rule = Death(code=codes.HOST_FIREWALL_DROP, message="rule 2 drops them", remedies=by_hand("Delete rule 2."))
    result = judge(PEER, Reached(echoes(4, 0), ALIVE), 1.0, 3.0, rule)
    assert (result.status, str(result.code)) == (Status.WARN, "reach.icmp-filtered")
    assert result.message.endswith("but UDP comes back: rule 2 drops them")
    assert result.remedies == rule.remedies


class Net:
    """Replaces `ctx.net`: how many echoes of each burst to a peer come back and how late, and what UDP does."""

    def __init__(
        self,
        received: dict[str, Sequence[int]],
        udp: StampStats,
        spread_ms: float = 0.0,
        *,
        tcp: bool = False,
        heard: Sequence[str] = (),
        responding: Sequence[str] = (),
    ) -> None:
        self.connected, self.heard, self.responding = tcp, heard, responding
        self.received = {address: list(counts) for address, counts in received.items()}
        self.udp, self.spread_ms = udp, spread_ms
        self.counts: dict[str, list[int]] = {address: [] for address in received}
        self.icmp = self.path = self.tcp = self.ways = self.rules = self
        self.turns = Turns()

    def starts(self, shortest_s: float) -> Starts:
        """As Net, without waiting."""
        starts = Starts(shortest_s)
        starts.gap_s = 0.0
        return starts

    async def echo(self, address: str, *, count: int, interval_s: float, timeout_s: float) -> EchoStats:
        """As Icmp; a burst beyond those that are given is answered as the last of them."""
        self.counts[address].append(count)
        left = self.received[address]
        received = min(left.pop(0) if len(left) > 1 else left[0], count)
        rtt_ms = tuple(0.5 + self.spread_ms * (number == 1) for number in range(received))
        return EchoStats(count, received, rtt_ms)

    def has_answered(self, address: str) -> bool:
        """As Icmp: whether another check was answered."""
        return address in self.heard

    def first(self, peer: Peer) -> StampStats | None:
        """As PathProbes: the first session of the run that its responder answered."""
        return ALIVE if peer.address in self.responding else None

    async def answered(self, address: str, port: int, timeout_s: float) -> bool:
        """As Tcp."""
        return self.connected

    def echoes_stopped(self, peer: Peer, interface: str | None) -> None:
        """As OwnRules, on a node without rules."""

    async def stamp(self, peer: Peer, *, count: int, interval_s: float) -> StampStats:
        """As PathProbes."""
        return self.udp


def found(net: Net) -> dict[str, str | None]:
    """The code of each peer."""
    peers = tuple(Peer(address, address) for address in net.received)
    context = Context(Settings(), peers, None, cast("Any", net))

    async def run() -> list[Result]:
        return [result async for result in reach_icmp.function(context)]

    return {result.target: str(result.code) if result.code else None for result in asyncio.run(run())}


@pytest.mark.parametrize(
    ("received", "udp", "counts"),
    [
        ((4,), DEAD, [FIRST]),
        ((3, 90), DEAD, [FIRST, MORE]),
        ((3,), ALIVE, [FIRST]),
        ((3,), CLOSED, [FIRST]),
        ((0,), DEAD, [FIRST]),
        ((0,), ALIVE, [FIRST]),
    ],
)
def test_many_echoes_go_only_where_they_decide(received: Sequence[int], udp: StampStats, counts: list[int]) -> None:
    """On a mesh in which all lose packets a hundred echoes to each take longer than everything else together."""
    net = Net({"10.66.0.2": received}, udp)
    found(net)
    assert net.counts["10.66.0.2"] == counts


def test_what_was_lost_behind_our_own_packets_is_no_finding() -> None:
    """On a slow line the echoes of many peers wait for each other; alone they all come back."""
    net = Net({"10.66.0.2": (3, 100), "10.66.0.3": (0, 4), "10.66.0.4": (4,)}, DEAD, spread_ms=300.0)
    assert set(found(net).values()) == {None}
    assert net.counts == {"10.66.0.2": [FIRST, MORE], "10.66.0.3": [FIRST, FIRST], "10.66.0.4": [FIRST]}


def test_who_is_dead_is_not_asked_twice_where_nothing_waits() -> None:
    """People wait longest where something is broken: silence next to quick answers is silence."""
    net = Net({"10.66.0.2": (0,), "10.66.0.3": (4,)}, DEAD)
    assert found(net) == {"10.66.0.2": "reach.unreachable", "10.66.0.3": None}
    assert net.counts["10.66.0.2"] == [FIRST]


def test_who_answered_another_check_is_asked_again() -> None:
    """On a busy line the first echoes of a living peer are lost, and those of another check are answered meanwhile."""
    net = Net({"10.66.0.2": (0, 4), "10.66.0.3": (4,)}, DEAD, heard=["10.66.0.2"])
    assert found(net) == {"10.66.0.2": None, "10.66.0.3": None}
    assert net.counts["10.66.0.2"] == [FIRST, FIRST]


def test_whose_responder_has_answered_in_this_run_is_asked_again() -> None:
    """A limit on the rate drops echoes and UDP that come together: then TCP's answer proves no filter."""
    net = Net({"10.66.0.2": (0, 4)}, DEAD, tcp=True, responding=["10.66.0.2"])
    assert found(net) == {"10.66.0.2": None}
    only_echoes = Net({"10.66.0.2": (0,)}, ALIVE, responding=["10.66.0.2"])
    assert found(only_echoes) == {"10.66.0.2": "reach.icmp-filtered"}
    assert only_echoes.counts["10.66.0.2"] == [FIRST]


def test_echoes_lost_next_to_udp_are_sent_again() -> None:
    """A line of 100 kbit/s with a short queue took five of thirteen packets and no echo: no filter did that."""
    partly = StampStats(sent=13, answered=5)
    net = Net({"10.66.0.2": (0, 4)}, partly)
    assert found(net) == {"10.66.0.2": None}
    assert net.counts["10.66.0.2"] == [FIRST, FIRST]
    assert found(Net({"10.66.0.2": (0, 0)}, partly)) == {"10.66.0.2": "reach.icmp-filtered"}


def test_a_host_that_answers_tcp_is_not_called_unreachable() -> None:
    """Its filter takes neither echoes nor UDP, and the way to it is open."""
    net = Net({"10.66.0.2": (0,), "10.66.0.3": (4,)}, DEAD, tcp=True)
    assert found(net) == {"10.66.0.2": "reach.icmp-filtered", "10.66.0.3": None}


def test_after_some_peers_a_few_echoes_have_to_do() -> None:
    """Loss to all peers is measured at the first of them."""
    net = Net({f"10.66.0.{number}": (3, 90) for number in range(2, 12)}, DEAD)
    assert "reach.loss" in found(net).values()
    assert sorted(counts[1] for counts in net.counts.values()) == [FEW] * (10 - FULLY) + [MORE] * FULLY
