"""udp.quality: bad properties are named in their direction, accidents and few packets are not findings."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import pytest
from preflight_checks.udp_quality import judge, udp_quality

from preflight.api import Context, Direction, Peer, Result, Status
from preflight.model.path import DirectionStats, Drops, StampStats
from preflight.net import Net
from preflight.net.stamp.path import PathProbes
from preflight.net.stamp.quality import SILENT_COUNT, Quality
from preflight.net.turns import Turns
from preflight.settings.load import Settings
from preflight.settings.schema import Thresholds

PEER = Peer("10.66.0.2", "b")
LIMITS = Thresholds()


def direction(
    sent: int = 200, lost: int = 0, reordered: int = 0, duplicated: int = 0, jitter_ms: Sequence[float] = ()
) -> DirectionStats:
    """One direction; `jitter_ms` is the delay variation of its packets, else all are equally fast."""
    received = sent - lost
    return DirectionStats(sent, received, received, reordered, duplicated, tuple(jitter_ms) or (0.1,) * received)


def session(forward: DirectionStats | None, reverse: DirectionStats | None, sent: int = 200) -> StampStats:
    """A session that was answered, with these directions."""
    answered = reverse.received if reverse else sent - 1
    return StampStats(sent=sent, answered=answered, forward=forward, reverse=reverse, rtt_ms=(0.5,) * answered)


CLEAN = direction()


@pytest.mark.parametrize(
    ("forward", "status", "codes"),
    [
        (CLEAN, "pass", [None]),
        # Loss: few packets or few losses are no finding; the bound decides, not the percentage.
        (direction(lost=1), "pass", [None]),
        (direction(lost=2), "pass", [None]),
        (direction(sent=20, lost=1), "pass", [None]),
        (direction(sent=3, lost=1), "pass", [None]),
        (direction(sent=800, lost=12), "pass", [None]),
        (direction(sent=800, lost=14), "warn", ["udp.loss"]),
        (direction(sent=800, lost=40), "fail", ["udp.loss"]),
        (direction(sent=200, lost=200 - 1), "fail", ["udp.loss"]),
        # Jitter: one late packet in twenty is a stall, not the path.
        (direction(jitter_ms=[0.1] * 192 + [90.0] * 8), "pass", [None]),
        (direction(jitter_ms=[0.1, 60.0] * 100), "warn", ["udp.jitter"]),
        # Of so few packets even many late ones may be an accident.
        (direction(sent=3, jitter_ms=[0.1, 60.0, 60.0]), "pass", [None]),
        (direction(sent=20, jitter_ms=[0.1] * 18 + [60.0] * 2), "pass", [None]),
        (direction(reordered=2), "pass", [None]),
        (direction(sent=800, reordered=160), "warn", ["udp.reordering"]),
        (direction(sent=800, duplicated=160), "warn", ["udp.duplication"]),
        # Packets overtake each other where delay varies by more than their distance: one cause.
        (direction(reordered=60, jitter_ms=[0.1, 60.0] * 100), "warn", ["udp.jitter"]),
        (direction(sent=800, lost=40, duplicated=160), "fail", ["udp.loss", "udp.duplication"]),
    ],
)
def test_verdicts(forward: DirectionStats, status: str, codes: list[str | None]) -> None:
    """Each bad property has its own result; the first is the worst and the other direction stays good."""
    for swapped in (False, True):
        pair = (CLEAN, forward) if swapped else (forward, CLEAN)
        results = judge(PEER, session(*pair, sent=max(forward.sent, 200)), LIMITS)
        bad = [result for result in results if result.direction.value == ("reverse" if swapped else "forward")]
        good = [result for result in results if result not in bad]
        assert [result.code and result.code.slug for result in bad] == codes
        assert bad[0].status.value == status
        assert [result.status for result in good] == [Status.PASS]
        assert len({result.id for result in results}) == len(results)
        assert all(result.measurements["sent"] for result in results)


@pytest.mark.parametrize(
    ("undirected", "sent", "status"),
    [(0, 200, None), (2, 200, None), (10, 800, None), (14, 800, "warn"), (90, 800, "fail")],
)
def test_a_path_that_breaks_off(undirected: int, sent: int, status: str | None) -> None:
    """Packets behind the last answer have no direction, but are not passed over where they are many."""
    stats = replace(session(CLEAN, CLEAN, sent), answered=sent - undirected, undirected=undirected)
    results = [result for result in judge(PEER, stats, LIMITS) if result.direction is Direction.ROUND_TRIP]
    assert [result.status.value for result in results] == ([status] if status else [])
    assert [result.code and result.code.slug for result in results] == (["udp.loss"] if status else [])
    assert all(result.measurements["undirected"] == undirected for result in results)


def test_each_number_has_the_count_behind_it() -> None:
    """A percentage without its number of packets cannot be judged by the reader of the report."""
    lossy = replace(direction(sent=800, lost=40, reordered=5, duplicated=2), extent=3, breaks=frozenset({10}))
    forward, _ = judge(PEER, session(lossy, CLEAN, 800), LIMITS)
    assert (
        forward.measurements.items()
        >= {
            "sent": 800,
            "received": 760,
            "observed": 760,
            "ipdv_pairs": 758,
            "reordered": 5,
            "reordering_extent": 3,
            "duplicated": 2,
            "rtt_packets": 200,
        }.items()
    )


def test_thresholds_are_the_settings() -> None:
    """A line that is always bad but good enough can be accepted."""
    lossy = session(direction(sent=800, lost=40), CLEAN, 800)
    tolerant = Thresholds(loss_percent=10.0, loss_fail_percent=20.0)
    assert {result.status for result in judge(PEER, lossy, tolerant)} == {Status.PASS}
    shaky = session(direction(jitter_ms=[0.1, 60.0] * 100), CLEAN)
    assert {result.status for result in judge(PEER, shaky, Thresholds(jitter_ms=100.0))} == {Status.PASS}


def test_losses_without_direction_are_not_given_one() -> None:
    """A reflector that does not count cannot show which direction lost packets, so neither is judged."""
    results = judge(PEER, session(None, None), LIMITS)
    assert {result.status for result in results} == {Status.INCONCLUSIVE}
    assert {result.code and result.code.slug for result in results} == {"run.needs-responder"}
    assert results[0].message.startswith("1 of 200 packets got no answer, and the reflector's numbers")
    overtaken = replace(session(None, None), answered=200)
    assert judge(PEER, overtaken, LIMITS)[0].message.startswith(
        "all 200 packets were answered, but the reflector's numbers"
    )


def test_a_silent_peer_is_not_judged() -> None:
    """Without a responder nothing is measured, and that is said."""
    (result,) = judge(PEER, StampStats(sent=1, answered=0, port_unreachable=True), LIMITS)
    assert (result.status, result.code and result.code.slug) == (Status.INCONCLUSIVE, "run.needs-responder")


class Mesh:
    """Replaces `ctx.net` and its path: some peers have been silent so far."""

    def __init__(self, silent: set[str]) -> None:
        self.silent_names, self.asked = silent, dict[str, int]()
        self.path = self

    def quality(self, decided: Callable[[Peer, StampStats], bool], peers: int) -> Quality:
        """As Net."""
        return Quality(cast("PathProbes", self), Turns(), LIMITS, decided, lambda _: None, peers)

    def silent(self, peer: Peer) -> bool:
        """As PathProbes."""
        return peer.name in self.silent_names

    def first(self, peer: Peer) -> StampStats | None:
        """As PathProbes: this check is the first of the run."""
        return None

    def proven_silent(self, peer: Peer) -> StampStats | None:
        """As PathProbes; one was asked for seconds."""
        return StampStats(sent=10, answered=0) if peer.name == "p499" else None

    async def stamp(self, peer: Peer, *, count: int, interval_s: float) -> StampStats:
        """Like PathProbes; one of the silent peers has come up meanwhile."""
        self.asked[peer.name] = self.asked.get(peer.name, 0) + count
        if peer.name in self.silent_names - {"p300"}:
            return StampStats(sent=count, answered=0)
        return session(direction(count), direction(count), count)


def test_the_silent_of_a_large_mesh_are_not_waited_for_one_by_one() -> None:
    """They get a few packets, all others their share; nobody is left out, and a peer that came up is measured.

    One that was proven silent is not asked again, and has a result too.
    """
    peers = tuple(Peer(f"10.66.{n // 250}.{n % 250}", f"p{n}") for n in range(500))
    net = Mesh({f"p{n}" for n in range(250, 500)})
    context = Context(Settings(), peers, None, cast("Net", net))

    async def run() -> list[Result]:
        return [result async for result in udp_quality.function(context)]

    results = asyncio.run(run())
    assert {net.asked[f"p{n}"] for n in range(250)} == {40}
    assert {net.asked[f"p{n}"] for n in range(250, 499)} == {SILENT_COUNT}
    assert "p499" not in net.asked
    assert {result.target for result in results} == {peer.name for peer in peers}
    passed = {result.target for result in results if result.status is Status.PASS}
    assert passed == {f"p{n}" for n in range(250)} | {"p300"}


@pytest.mark.parametrize(
    ("drops", "rejected", "codes"),
    [
        # What an end dropped itself accounts for what is missing in its direction, and for no more than that.
        (Drops(overflowed=500), {}, ["run.overloaded"]),
        (Drops(limited=60), {}, ["run.overloaded"]),
        (Drops(overflowed=5), {}, ["udp.loss"]),
        (Drops(unsent=500, here=500), {}, ["udp.loss"]),
        (Drops(), {"foreign": 500}, ["udp.loss"]),
    ],
)
def test_what_an_end_dropped_is_no_loss_forward(drops: Drops, rejected: dict[str, int], codes: list[str]) -> None:
    """Packets to the peer that its responder dropped are overload; whatever came here instead does not matter."""
    stats = replace(session(direction(lost=60), CLEAN), drops=drops, rejected=rejected)
    assert codes_of(judge(PEER, stats, LIMITS), Direction.FORWARD) == codes


@pytest.mark.parametrize(
    ("drops", "rejected", "codes"),
    [
        (Drops(unsent=60), {}, ["run.overloaded"]),
        (Drops(here=60), {}, ["run.overloaded"]),
        (Drops(overflowed=500), {}, ["udp.loss"]),
        (Drops(), {"bad-hmac": 60}, ["run.needs-responder"]),
        (Drops(), {"bad-hmac": 3}, ["udp.loss"]),
    ],
)
def test_what_an_end_dropped_is_no_loss_back(drops: Drops, rejected: dict[str, int], codes: list[str]) -> None:
    """The path did not lose answers that the peer did not send, this node had no room for, or nobody could read."""
    stats = replace(session(CLEAN, direction(lost=60)), drops=drops, rejected=rejected)
    assert codes_of(judge(PEER, stats, LIMITS), Direction.REVERSE) == codes


def test_an_overloaded_end_breaks_no_path_off() -> None:
    """Silence behind the last answer is the responder's, if it says that it dropped packets meanwhile."""
    stats = replace(session(CLEAN, CLEAN, sent=300), undirected=100, drops=Drops(overflowed=100))
    assert codes_of(judge(PEER, stats, LIMITS), Direction.ROUND_TRIP) == ["run.overloaded"]


def test_times_that_cannot_be_true_give_no_jitter() -> None:
    """Neither a finding nor a clean bill: the jitter was not measured, and that is said."""
    blank = replace(CLEAN, delay_variation_ms=())
    results = judge(PEER, replace(session(blank, blank), implausible=200), LIMITS)
    assert codes_of(results, Direction.ROUND_TRIP) == ["run.needs-responder"]
    assert results[0].measurements["jitter_p95_ms"] is None
    assert "jitter not measured" in results[0].message


def test_what_busy_hosts_add_is_not_the_path_s() -> None:
    """Protects a path from a warning about its ends' processors; what is left beyond that still is one, and is said."""
    late = direction(jitter_ms=[0.1, 60.0] * 100)
    for waited_ms, codes in (((40.0,) * 200, []), ((10.0,) * 200, ["udp.jitter"]), ((0.1,) * 200, ["udp.jitter"])):
        results = judge(PEER, replace(session(late, CLEAN), waited_ms=waited_ms), LIMITS)
        assert codes_of(results, Direction.FORWARD) == codes
        assert ("at the ends before a program took them" in results[0].message) is (waited_ms[0] > 1)


def test_more_copies_than_packets() -> None:
    """A peer that sends each answer twenty times is called a duplicating path, and breaks nothing."""
    results = judge(PEER, session(CLEAN, direction(duplicated=4000)), LIMITS)
    assert codes_of(results, Direction.REVERSE) == ["udp.duplication"]


def codes_of(results: Sequence[Result], where: Direction) -> list[str]:
    """The codes of one direction."""
    return [str(result.code) for result in results if result.direction is where and result.code]


@pytest.mark.parametrize("quicker", [False, True], ids=["at every pace", "above a rate"])
def test_what_this_node_s_firewall_keeps_back_is_never_green(quicker: bool) -> None:
    """Protects from "0 % lost" of the few packets that a rule on output lets out, also if it limits only their rate."""
    kept = replace(session(direction(sent=8), direction(sent=8), sent=8), send_errors={"EPERM": 192})
    stats = replace(session(CLEAN, CLEAN), quicker=kept) if quicker else kept
    forward, reverse = judge(PEER, stats, LIMITS)
    assert (forward.status, forward.code and forward.code.slug) == (Status.FAIL, "host.firewall-drop")
    assert "did not let 192 of 200 packets to b out (EPERM)" in forward.message
    assert reverse.status is Status.PASS


def test_a_single_refused_packet_is_an_accident() -> None:
    """Protects from a finding of one packet, which a rule that was just being loaded may refuse."""
    stats = replace(session(CLEAN, CLEAN), send_errors={"EPERM": 1})
    assert [result.status for result in judge(PEER, stats, LIMITS)] == [Status.PASS, Status.PASS]
