"""The `fast` path-MTU search against simulated networks."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflight.model.pmtu import OneWay, SearchOutcome
from preflight.proto.core import Received
from preflight.proto.pmtu import fast as pmtu
from preflight.proto.pmtu.exchange import Exchange
from preflight.proto.pmtu.fast import PathMtuSearch
from preflight.proto.pmtu.wire import MAGIC, ProbeServer
from tests.proto.pmtu.conftest import (
    BOTH,
    DIRECTIONS,
    LOST,
    NODE,
    PEER,
    PORT_UNREACHABLE,
    TOKEN,
    WHOLE,
    Link,
    network,
    sent,
    too_big,
    too_big_here,
    up_to,
    wireguard,
    wireguard_go,
)

IMPAIRMENTS: tuple[dict[str, Any], ...] = (
    {},
    {"loss": 0.02},
    {"loss": 0.05},
    {"jitter": 0.03},
    {"loss": 0.02, "jitter": 0.02, "duplicates": 0.05},
    {"delay": 0.0004},
)


@pytest.mark.parametrize("part", range(8))
def test_every_size_is_found_exactly(part: int) -> None:
    """Protects the promise of the search: the exact byte, for each size, under loss, delay, duplicates, reordering."""
    for mtu in range(576 + part, 9001, 8):
        impairment = IMPAIRMENTS[mtu // 8 % len(IMPAIRMENTS)]
        direction = DIRECTIONS[mtu // 64 % 2]
        net = network(direction, Link(up_to(mtu), **impairment), seed=mtu, ceiling=9000, peer_mtu=9000)
        found = net.search(direction)
        assert (found.outcome, found.mtu_bytes) == (SearchOutcome.MEASURED, mtu), (mtu, direction, impairment, found)
        assert found.black_hole == (mtu < 9000)


@BOTH
def test_a_usual_tunnel_takes_few_packets_and_round_trips(direction: OneWay) -> None:
    """Protects the targets: at most 60 packets, and about four round trips; in reverse the cookie takes one more."""
    more = direction == "reverse"
    for mtu in range(1280, 1420):
        found = network(direction, Link(up_to(mtu))).search(direction)
        assert found.mtu_bytes == mtu
        assert found.probes_sent <= 60
        assert found.rounds <= 6 + more
        assert found.duration_s <= (8 + more) * 0.04


@BOTH
def test_a_path_that_fits_takes_two_round_trips(direction: OneWay) -> None:
    """Protects the usual case: few packets, no finding."""
    found = network(direction, Link(up_to(1420))).search(direction)
    assert found.fits
    assert not found.black_hole
    assert (found.rounds, found.probes_sent <= 6, found.vanished, found.fragmented) == (2, True, (), ())


@BOTH
def test_the_other_direction_does_not_matter(direction: OneWay) -> None:
    """Protects the direction of a finding: a black hole one way leaves the verdict on the other way clean."""
    other: OneWay = "reverse" if direction == "forward" else "forward"
    net = network(other, Link(up_to(1312)))
    assert net.search(direction).fits
    assert net.search(other).black_hole


@BOTH
@pytest.mark.parametrize("fragments", [False, True])
def test_padding_and_outer_fragments(direction: OneWay, fragments: bool) -> None:
    """Protects WireGuard's padding rule, and that packets which arrive in outer fragments do not count as whole."""
    for underlay in range(1340, 1481, 3):
        carry = wireguard(underlay, 1420, fragments=fragments)
        whole = max(size for size in range(1000, 1421) if carry(size, 0.0) == WHOLE)
        found = network(direction, Link(carry)).search(direction)
        assert found.mtu_bytes == whole, underlay
        assert found.black_hole == (whole < 1420 and not fragments)
        assert found.fragmented_outside == (whole < 1420 and fragments)


@BOTH
@pytest.mark.parametrize("signalled_after", [100.01, 100.05, 100.06, 100.1, 100.12])
def test_a_tunnel_that_starts_to_fragment_is_no_black_hole(direction: OneWay, signalled_after: float) -> None:
    """Protects the case in which the first large packets vanish and later ones come in fragments (wireguard-go)."""
    found = network(direction, Link(wireguard_go(1380, 1420, signalled_after))).search(direction)
    assert found.mtu_bytes == 1312
    assert found.fragmented_outside
    assert not found.black_hole


@BOTH
@pytest.mark.parametrize("impairment", IMPAIRMENTS)
def test_fragments_are_distinguished_under_impairment(direction: OneWay, impairment: dict[str, Any]) -> None:
    """Protects the count of fragments against losses, late packets and duplicates."""
    for seed in range(20):
        net = network(direction, Link(wireguard(1380, 1420, fragments=True), **impairment), seed=seed)
        found = net.search(direction)
        assert (found.mtu_bytes, found.fragmented_outside) == (1312, True), (seed, found)


@BOTH
def test_fragments_of_others_cause_no_finding(direction: OneWay) -> None:
    """Protects a node that reassembles other traffic all the time from a false alarm."""
    for seed in range(40):
        busy = network(direction, Link(up_to(1420)), seed=seed, noise=lambda rng: rng.randrange(4))
        found = busy.search(direction)
        assert found.fits, (seed, found)
        hole = network(direction, Link(up_to(1350)), seed=seed, noise=lambda rng: rng.randrange(4))
        found = hole.search(direction)
        assert (found.mtu_bytes, found.black_hole) == (1350, True), (seed, found)


@BOTH
def test_without_a_count_of_fragments_the_rest_still_works(direction: OneWay) -> None:
    """Protects peers whose host cannot count fragments: none are claimed, black holes are still found."""
    fragmenting = network(direction, Link(wireguard(1380, 1420, fragments=True)), counts=False)
    assert fragmenting.search(direction).fits
    assert network(direction, Link(up_to(1399)), counts=False).search(direction).mtu_bytes == 1399


@BOTH
def test_an_icmp_error_shortens_the_search(direction: OneWay) -> None:
    """Protects the signalled case: right value, no black hole, at most four round trips."""
    found = network(direction, Link(up_to(1380), tells=1380)).search(direction)
    assert (found.mtu_bytes, found.signalled, found.black_hole) == (1380, True, False)
    assert found.rounds <= 4
    assert found.icmp_from == (("192.0.2.1",) if direction == "forward" else ())


@BOTH
@pytest.mark.parametrize("icmp_mtu", [296, 1000, 1279, 1399, 1419])
def test_an_icmp_error_never_sets_the_value(direction: OneWay, icmp_mtu: int) -> None:
    """Protects against errors that lie: one counts as a signal only if packets of its size get through."""
    found = network(direction, Link(up_to(1380), tells=icmp_mtu)).search(direction)
    assert found.mtu_bytes == 1380
    assert found.signalled == (icmp_mtu <= 1380)
    assert found.black_hole == (icmp_mtu > 1380)


def test_a_forged_icmp_error_is_ignored() -> None:
    """Protects against off-path attackers: without the token nothing is believed (RFC 8899 section 4.6.1)."""
    search = started("forward")
    for quoted in (b"", MAGIC, MAGIC + b"wrongtok" + bytes(4), MAGIC + TOKEN + (77).to_bytes(4)):
        search.refused(too_big(quoted, 600, "203.0.113.66"), 100.0)
    larger = too_big(MAGIC + TOKEN + bytes(4), 600, "203.0.113.66")  # than what it answers: not too big
    search.refused(larger, 100.0)
    net = network("forward", Link(up_to(1400)))
    assert net.drive(search).icmp_from == ()


def started(direction: OneWay, *, ceiling: int = 1420, key: bytes | None = None) -> PathMtuSearch:
    return PathMtuSearch(Exchange(direction, address=PEER, ceiling=ceiling, token=TOKEN, key=key))


@BOTH
def test_silence_ends_the_search(direction: OneWay) -> None:
    """Protects a run against a peer without responder: no answer is an outcome, and it comes within seconds."""
    found = network(direction, Link(lambda size, now: LOST)).search(direction)
    assert (found.outcome, found.mtu_bytes) == (SearchOutcome.NO_ANSWER, None)
    assert not found.black_hole
    assert found.duration_s < 6
    assert found.rounds == pmtu.SILENT_BURSTS
    large = 2 if direction == "forward" else 0
    assert found.probes_sent == 1 + large + 3 + 5


def test_the_first_count_of_fragments_may_be_late() -> None:
    """Protects from calling whole what was put together before a busy peer first looked at its count."""
    peer = network("forward", Link(up_to(1420)))
    peer.put_together["peer"] = 2
    search = started("forward")
    for data in [data for step in range(3) for data in sent(search, 1.0 + step * pmtu.PACE_S * 1.01)]:
        (answer,) = peer.server.handle(data, (NODE, 4000), 1.0)
        search.receive(Received(answer), 1.02)
    assert search.result is None
    assert sent(search, 1.021)


@BOTH
def test_who_knows_the_round_trip_waits_for_some_of_it(direction: OneWay) -> None:
    """Protects lossy paths: where a greeting or the end of a burst is lost, nobody waits for a second."""
    took = []
    for seed in range(60):
        mtu = 1280 + 2 * seed
        found = network(direction, Link(up_to(mtu), loss=0.1), seed=seed, rtt_s=0.04).search(direction)
        assert found.mtu_bytes == mtu
        took.append(found.duration_s)
    assert sorted(took)[54] <= 20 * 0.04


@BOTH
def test_a_round_trip_of_before_is_no_promise(direction: OneWay) -> None:
    """Protects slow links: what waits in a full queue for a second now is not silence."""
    for delay in (0.1, 0.4, 0.9):
        found = network(direction, Link(up_to(1420), delay=delay), rtt_s=0.001).search(direction)
        assert (found.outcome, found.fits) == (SearchOutcome.MEASURED, True)


def test_port_unreachable_ends_the_search() -> None:
    """Protects the quick answer where nobody listens; once answers came the same error gives no verdict."""
    search = started("forward")
    sent(search, 1.0)
    search.refused(PORT_UNREACHABLE, 1.1)
    assert search.result is not None
    assert search.result.outcome is SearchOutcome.REFUSED
    greeted = started("forward")
    (hello,) = sent(greeted, 1.0)
    (welcome,) = ProbeServer(None, b"s" * 16).handle(hello, (NODE, 4000), 1.0)
    greeted.receive(Received(welcome), 1.1)
    greeted.refused(PORT_UNREACHABLE, 1.2)
    assert greeted.result is None


@BOTH
@pytest.mark.parametrize("loss", [0.3, 0.6, 0.9])
def test_heavy_loss_never_makes_a_finding(direction: OneWay, loss: float) -> None:
    """Protects against the worst answer: a path that carries everything, with heavy loss, is not a black hole."""
    for seed in range(30):
        found = network(direction, Link(up_to(1420), loss=loss), seed=seed).search(direction)
        assert not found.black_hole, (seed, found)
        assert not found.fragmented_outside, (seed, found)


@BOTH
def test_the_key_decides_who_is_heard(direction: OneWay) -> None:
    """Protects the authenticated mode: one key works, another key or none gets silence."""
    key = b"k" * 16
    assert network(direction, Link(up_to(1333)), key=key).search(direction).mtu_bytes == 1333
    for stranger in (None, b"x" * 16):
        net = network(direction, Link(up_to(1333)), key=key)
        assert net.drive(started(direction, key=stranger)).outcome is SearchOutcome.NO_ANSWER


@BOTH
def test_ipv6_counts_its_own_headers(direction: OneWay) -> None:
    """Protects the arithmetic: sizes are IP packets in both families."""
    net = network(direction, Link(up_to(1300)), address="fd66::2", node="fd66::1")
    assert net.search(direction).mtu_bytes == 1300


def test_the_peer_says_how_large_it_can_send() -> None:
    """Protects the reverse direction from calling a peer's smaller interface a black hole."""
    net = network("reverse", Link(up_to(1320)), ceiling=1420, peer_mtu=1320)
    found = net.search("reverse")
    assert (found.fits, found.ceiling_bytes) == (True, 1320)


def test_an_interface_that_shrinks_lowers_the_ceiling() -> None:
    """Protects against a wrong ceiling: what this node cannot send is not the path's fault."""
    search = started("forward", ceiling=1500)
    search.refused(too_big_here(1420), 1.0)
    found = network("forward", Link(up_to(9000))).drive(search)
    assert (found.fits, found.ceiling_bytes) == (True, 1420)


@BOTH
def test_bursts_are_bounded_and_paced(direction: OneWay) -> None:
    """Protects the network: at most ten datagrams in flight, never two sent at one moment."""
    net = network(direction, Link(up_to(1350)))
    net.search(direction)
    assert max(net.in_flight) <= 10
    times = [at for at, _ in net.sent]
    assert all(later - sooner >= pmtu.PACE_S * 0.99 for sooner, later in itertools.pairwise(times))


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(DIRECTIONS))
def test_random_bytes_are_ignored(data: bytes, direction: OneWay) -> None:
    """Protects the search against whatever else arrives on its socket."""
    search = started(direction)
    sent(search, 1.0)
    search.receive(Received(data), 1.1)
    search.receive(Received(MAGIC + TOKEN + data), 1.1)
    assert search.result is None


@BOTH
def test_a_duplicated_or_foreign_answer_changes_nothing(direction: OneWay) -> None:
    """Protects the evidence: every answer counts once, and only for the session that asked."""
    server = ProbeServer(None, b"s" * 16)
    search = started(direction)
    other = PathMtuSearch(Exchange(direction, address=PEER, ceiling=1420, token=b"other567"))
    (hello,) = sent(search, 1.0)
    (foreign,) = server.handle(sent(other, 1.0)[0], (NODE, 4000), 1.0)
    asked = sum(len(sent(search, 1.0 + step * pmtu.PACE_S * 1.01)) for step in (1, 2))
    assert asked == (2 if direction == "forward" else 0)
    search.receive(Received(foreign), 1.01)
    assert sent(search, 1.02) == []
    (welcome,) = server.handle(hello, (NODE, 4000), 1.0)
    for _ in range(3):
        search.receive(Received(welcome), 1.05)
    assert bool(sent(search, 1.06)) == (direction == "reverse")
    assert search.result is None
