"""What both searches share: the events of a search, errors that are believed, and fragments that cannot be counted."""

import pytest

from preflight.model.event import Event, telling
from preflight.model.pmtu import PathMtu, SearchOutcome
from preflight.proto.pmtu.exchange import FragmentCount, RoundTrip
from preflight.proto.pmtu.fast import PathMtuSearch
from preflight.proto.pmtu.strict import StrictPathMtuSearch
from preflight.proto.pmtu.wire import UNKNOWN_COUNT
from tests.proto.pmtu.conftest import Link, network, up_to, wireguard

SEARCHES = pytest.mark.parametrize("kind", [PathMtuSearch, StrictPathMtuSearch], ids=["fast", "strict"])
Kind = type[PathMtuSearch | StrictPathMtuSearch]


def timeline(kind: Kind, link: Link, *, loss_back: float = 0.0) -> tuple[list[Event], PathMtu]:
    """The events of one forward search, and what it found."""
    events: list[Event] = []
    net = network("forward", link, seed=7)
    net.reverse.loss = loss_back
    return events, net.drive(kind(net.exchange("forward", telling(events.append, "pmtu"))))


def named(events: list[Event], name: str) -> list[Event]:
    """The events of one name."""
    return [event for event in events if event.name == name]


@SEARCHES
@pytest.mark.parametrize("mtu", [1420, 1333])
def test_a_search_can_be_reconstructed_from_its_events(kind: Kind, mtu: int) -> None:
    """Protects the timeline: sizes, times, answers and losses by number give the result that the search concluded."""
    events, found = timeline(kind, Link(up_to(mtu), loss=0.02), loss_back=0.02)
    sent = {event.fields["number"]: event for event in named(events, "probe-sent")}
    answered = named(events, "probe-answered")
    assert len(sent) == found.probes_sent
    for answer in answered:
        question = sent[answer.fields["number"]]
        assert answer.fields["size_bytes"] == question.fields["size_bytes"]
        rtt_s = answer.fields["rtt_s"]
        assert isinstance(rtt_s, float)
        assert question.at_s + rtt_s == pytest.approx(answer.at_s)
    sizes = [event.fields["size_bytes"] for event in answered]
    assert max(size for size in sizes if isinstance(size, int)) == found.mtu_bytes == mtu
    lost = {event.fields["size_bytes"] for event in named(events, "probe-lost")}
    assert lost >= set(found.vanished)
    (concluded,) = named(events, "concluded")
    assert concluded is events[-1]
    assert (concluded.fields["outcome"], concluded.fields["mtu_bytes"]) == (SearchOutcome.MEASURED, mtu)
    bounds = named(events, "bounds")[-1].fields
    assert (bounds["passes_bytes"], bounds["fails_bytes"]) == (mtu, mtu + 1)


def test_an_icmp_error_is_reported_with_who_sent_it() -> None:
    """Protects the question "why that size?": the next probes follow what a router reported."""
    events, _ = timeline(PathMtuSearch, Link(up_to(1380), tells=1380))
    first = named(events, "icmp-too-big")[0]
    assert (first.fields["mtu_bytes"], first.fields["by"], first.fields["believed"]) == (1380, "192.0.2.1", True)
    after = [event.fields["size_bytes"] for event in named(events, "probe-sent") if event.at_s > first.at_s]
    assert set(after) == {1380, 1381}


def test_states_are_reported_with_their_reason() -> None:
    """Protects the reader of a strict search: RFC 8899's states, and what moved it from one to the next."""
    events, _ = timeline(StrictPathMtuSearch, Link(up_to(1420)))
    states = [(event.fields["before"], event.fields["after"]) for event in named(events, "state")]
    assert states == [("DISABLED", "BASE"), ("BASE", "SEARCHING"), ("SEARCHING", "SEARCH_COMPLETE")]


def test_fragments_that_cannot_be_counted_are_reported() -> None:
    """Protects the honest word: on a node that reassembles other traffic the search says that it stopped counting."""
    events: list[Event] = []
    net = network("forward", Link(wireguard(1380, 1420)), noise=lambda rng: 5)
    found = net.drive(PathMtuSearch(net.exchange("forward", telling(events.append, "pmtu"))))
    assert found.miscounted
    assert named(events, "fragments-uncountable")


def test_a_count_that_wraps_goes_on() -> None:
    """Protects counters of 32 bits: behind the largest comes zero, and an older value changes nothing."""
    count = FragmentCount()
    count.take(UNKNOWN_COUNT - 1)
    count.mark()
    count.take(1)
    count.take(UNKNOWN_COUNT - 1)
    assert (count.since_mark, count.untouched) == (2, False)


def test_the_timeout_follows_the_round_trip() -> None:
    """Protects RFC 6298: a second while nothing is known, then a multiple of what was measured, with a floor."""
    rtt = RoundTrip()
    assert rtt.timeout == 1.0
    rtt.sample(0.1)
    assert rtt.timeout == pytest.approx(0.4)
    for _ in range(100):
        rtt.sample(0.001)
    assert rtt.timeout == 0.05
