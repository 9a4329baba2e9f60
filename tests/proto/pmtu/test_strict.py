"""The `strict` path-MTU search against simulated networks: RFC 8899's rules, and its states."""

import itertools
from pathlib import Path

import pytest

from preflight.model.pmtu import OneWay, SearchOutcome
from preflight.proto.core import Received
from preflight.proto.pmtu.exchange import Exchange
from preflight.proto.pmtu.strict import BASE_PLPMTU, MAX_PROBES, TRANSITIONS, Event, State, StrictPathMtuSearch
from preflight.proto.pmtu.wire import SMALLEST, ProbeServer
from preflight.proto.responder.cookie import COOKIE_SECONDS
from tests.proto.pmtu.conftest import (
    BOTH,
    FRAGMENTS,
    LOST,
    NODE,
    PEER,
    PORT_UNREACHABLE,
    TOKEN,
    WHOLE,
    Link,
    network,
    sent,
    too_big_here,
    up_to,
    wireguard,
    wireguard_go,
)


def strict(direction: OneWay, *, ceiling: int = 1420, key: bytes | None = None) -> StrictPathMtuSearch:
    return StrictPathMtuSearch(Exchange(direction, address=PEER, ceiling=ceiling, token=TOKEN, key=key))


@BOTH
@pytest.mark.parametrize("delay", [0.0004, 0.02, 0.15, 0.6])
def test_one_probe_at_a_time_and_timers_of_a_second(direction: OneWay, delay: float) -> None:
    """Protects RFC 8899 sections 3 and 5.1.1: one probe in a round trip, and a second at least before one is lost."""
    net = network(direction, Link(up_to(1350), delay=delay))
    found = net.search(direction, StrictPathMtuSearch)
    assert found.mtu_bytes == 1350
    times = [at for at, _ in net.sent]
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert min(gaps) >= 2 * delay * 0.999
    answered = 2 * delay * 1.001
    assert all(gap <= answered or gap >= 1.0 for gap in gaps)


@BOTH
def test_a_path_that_fits_takes_three_round_trips(direction: OneWay) -> None:
    """Protects the usual case: a greeting, BASE, the ceiling; no timer runs out."""
    found = network(direction, Link(up_to(1420))).search(direction, StrictPathMtuSearch)
    assert found.fits
    assert (found.probes_sent, found.passed) == (3, (SMALLEST, BASE_PLPMTU, 1420))


@BOTH
def test_usual_sizes_are_found_exactly(direction: OneWay) -> None:
    """Protects the exact byte on tunnels, and the time that a black hole takes."""
    for mtu in range(1200, 1421, 3):
        found = network(direction, Link(up_to(mtu))).search(direction, StrictPathMtuSearch)
        assert (found.outcome, found.mtu_bytes, found.black_hole) == (SearchOutcome.MEASURED, mtu, mtu < 1420)
        assert found.duration_s < 40


@BOTH
@pytest.mark.parametrize("mtu", [600, 1000, 1199])
def test_less_than_base_goes_through_error(direction: OneWay, mtu: int) -> None:
    """Protects ERROR: a path that does not carry BASE_PLPMTU is still measured (section 5.2)."""
    search = strict(direction)
    states: set[State] = set()

    def carry(size: int, now: float) -> str:
        states.add(search.state)
        return up_to(mtu)(size, now)

    found = network(direction, Link(carry)).drive(search)
    assert (found.mtu_bytes, found.black_hole) == (mtu, True)
    assert states >= {State.BASE, State.ERROR, State.SEARCHING, State.SEARCH_COMPLETE}


@BOTH
def test_padding_and_outer_fragments(direction: OneWay) -> None:
    """Protects WireGuard's padding rule, and that packets which arrive in outer fragments do not count as whole."""
    for underlay in range(1340, 1481, 12):
        for fragments in (False, True):
            carry = wireguard(underlay, 1420, fragments=fragments)
            whole = max(size for size in range(1000, 1421) if carry(size, 0.0) == WHOLE)
            found = network(direction, Link(carry)).search(direction, StrictPathMtuSearch)
            assert found.mtu_bytes == whole, underlay
            assert found.black_hole == (whole < 1420 and not fragments)
            assert found.fragmented_outside == (whole < 1420 and fragments)


@BOTH
@pytest.mark.parametrize("signalled_after", [100.5, 101.5, 103.0, 106.0])
def test_a_tunnel_that_starts_to_fragment_is_no_black_hole(direction: OneWay, signalled_after: float) -> None:
    """Protects the case in which the first large packets vanish and later ones come in fragments (wireguard-go)."""
    link = Link(wireguard_go(1380, 1420, signalled_after))
    found = network(direction, link).search(direction, StrictPathMtuSearch)
    assert (found.mtu_bytes, found.fragmented_outside, found.black_hole) == (1312, True, False)


@BOTH
def test_fragments_of_others_cause_no_finding(direction: OneWay) -> None:
    """Protects a node that reassembles other traffic all the time from a false alarm."""
    for seed in range(40):
        for mtu in (1420, 1350):
            net = network(direction, Link(up_to(mtu)), seed=seed, noise=lambda rng: rng.randrange(4))
            found = net.search(direction, StrictPathMtuSearch)
            assert (found.mtu_bytes, found.black_hole) == (mtu, mtu < 1420), (seed, found)


@BOTH
def test_a_path_that_shrinks_after_the_search_is_noticed(direction: OneWay) -> None:
    """Protects black-hole detection (section 4.3): what was found is probed again, and its loss begins a new search."""
    search = strict(direction)

    def carry(size: int, now: float) -> str:
        return up_to(1400 if search.state is not State.SEARCH_COMPLETE and not shrunk else 1300)(size, now)

    shrunk: list[float] = []

    def shrinking(size: int, now: float) -> str:
        if search.state is State.SEARCH_COMPLETE:
            shrunk.append(now)
        return carry(size, now)

    found = network(direction, Link(shrinking)).drive(search)
    assert shrunk
    assert (found.outcome, found.mtu_bytes) == (SearchOutcome.MEASURED, 1300)


@BOTH
def test_a_break_is_not_taken_for_a_limit(direction: OneWay) -> None:
    """Protects against blaming a size for a path that is cut for ten seconds in the middle of the search."""
    link = Link(lambda size, now: LOST if 102 <= now < 112 else up_to(1333)(size, now))
    net = network(direction, link)
    found = net.search(direction, StrictPathMtuSearch)
    assert (found.outcome, found.mtu_bytes) == (SearchOutcome.MEASURED, 1333)
    assert found.duration_s > 10


@BOTH
def test_silence_ends_the_search(direction: OneWay) -> None:
    """Protects a run against a peer without responder: no answer is an outcome, and it comes in time."""
    found = network(direction, Link(lambda size, now: LOST)).search(direction, StrictPathMtuSearch)
    assert (found.outcome, found.mtu_bytes, found.probes_sent) == (SearchOutcome.NO_ANSWER, None, 2 * MAX_PROBES)
    assert found.duration_s < 20


def test_port_unreachable_ends_the_search() -> None:
    """Protects the quick answer where nobody listens; once answers came the same error gives no verdict."""
    search = strict("forward")
    (hello,) = sent(search, 1.0)
    greeted = strict("forward")
    sent(greeted, 1.0)
    (welcome,) = ProbeServer(None, b"s" * 16).handle(hello, (NODE, 4000), 1.0)
    greeted.receive(Received(welcome), 1.1)
    greeted.refused(PORT_UNREACHABLE, 1.2)
    assert greeted.result is None
    search.refused(PORT_UNREACHABLE, 1.1)
    assert search.result is not None
    assert search.result.outcome is SearchOutcome.REFUSED


def test_a_cookie_that_grew_old_is_renewed() -> None:
    """Protects long searches: a request that is answered by a fresh cookie only is asked again, not counted as lost."""
    server = ProbeServer(None, b"s" * 16)
    search = strict("reverse")
    (hello,) = sent(search, 0.0)
    (welcome,) = server.handle(hello, (NODE, 4000), 0.0)
    search.receive(Received(welcome), 0.1)
    (stale,) = sent(search, 0.2)
    (fresh,) = server.handle(stale, (NODE, 4000), 3 * COOKIE_SECONDS)
    search.receive(Received(fresh), 0.3)
    (again,) = sent(search, 0.4)
    (answer,) = server.handle(again, (NODE, 4000), 3 * COOKIE_SECONDS)
    assert len(answer) + 28 == BASE_PLPMTU
    search.receive(Received(answer), 0.5)
    assert search.state is State.SEARCHING


def test_what_this_node_cannot_send_is_not_probed_for() -> None:
    """Protects against a wrong ceiling: an interface that shrinks lowers it."""
    search = strict("forward", ceiling=1500)
    search.refused(too_big_here(1420), 1.0)
    found = network("forward", Link(up_to(9000))).drive(search)
    assert (found.fits, found.ceiling_bytes) == (True, 1420)


@BOTH
def test_an_icmp_error_is_tried_and_not_believed(direction: OneWay) -> None:
    """Protects section 4.6.2: an error's size is probed; it is a signal only if packets of that size get through."""
    for icmp_mtu in (1000, 1380, 1399, 1419):
        found = network(direction, Link(up_to(1380), tells=icmp_mtu)).search(direction, StrictPathMtuSearch)
        assert (found.mtu_bytes, found.signalled, found.black_hole) == (1380, icmp_mtu <= 1380, icmp_mtu > 1380)


@BOTH
def test_the_key_decides_who_is_heard(direction: OneWay) -> None:
    """Protects the authenticated mode: one key works, another key or none gets silence."""
    key = b"k" * 16
    net = network(direction, Link(up_to(1420)), key=key)
    assert net.drive(strict(direction, key=key)).fits
    for stranger in (None, b"x" * 16):
        assert net.drive(strict(direction, key=stranger)).outcome is SearchOutcome.NO_ANSWER


def test_the_table_is_whole() -> None:
    """Protects the state machine: each state is reached and left, and no connection ever strands in one."""
    assert {state for state, _ in TRANSITIONS} == set(State)
    assert {*TRANSITIONS.values()} == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)
    assert all(TRANSITIONS[state, Event.SILENT] is State.DISABLED for state in State if state is not State.DISABLED)


def test_the_documents_show_the_table() -> None:
    """Protects docs/measuring.md from another state machine than the one that runs."""
    page = Path("docs/measuring.md").read_text(encoding="utf-8")
    for (state, event), then in TRANSITIONS.items():
        assert f"| {state} | {event} | {then} |" in page


def test_fragments_and_losses_mix() -> None:
    """Protects a limit that shows in both ways at once: every second large packet vanishes, the others are split."""
    counter = itertools.count()

    def carry(size: int, now: float) -> str:
        return WHOLE if size <= 1312 else (FRAGMENTS, LOST)[next(counter) % 2]

    found = network("forward", Link(carry)).search("forward", StrictPathMtuSearch)
    assert found.mtu_bytes == 1312
