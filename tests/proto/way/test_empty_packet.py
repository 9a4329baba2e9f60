"""WireGuard's empty packet ten seconds after data: a word of the peer's tunnel that needs nothing of ours there."""

from ipaddress import ip_network
from typing import Any

import pytest

from preflight.proto.way.empty_packet import due_ns, may_come, observe_empty, worth_waiting
from preflight.proto.way.tunnel_view import Burst, TunnelView, on_the_wire
from tests.proto.way.seeing import BEGAN_NS, BURST, FLOW, grown, outer, peer, state, told, view

SENT = tuple(outer("data", out=True) for _ in range(10))
DUE_NS = due_ns(BEGAN_NS)
SEEN = [("forward", "session", "receiver", "seen", "data")]
BLIND = [("forward", "session", "receiver", "blind", "data")]


def watched(*packets: Any, **values: Any) -> TunnelView:
    """A burst of the run's begin, with the tap open until the empty packet must have come."""
    known: dict[str, Any] = {"first_sent_ns": BEGAN_NS, "read_ns": DUE_NS, "begun": state()}
    return view(*BURST, *packets, **(known | values))


def observed(seen: TunnelView) -> list[tuple[str, str, str, str, str]]:
    """What is said of it, in short."""
    return told(observe_empty(seen, on_the_wire(seen)))


@pytest.mark.parametrize(
    ("at_s", "said"),
    [(9.5, BLIND), (9.9, SEEN), (10.0, SEEN), (10.6, SEEN), (11.0, SEEN)],
)
def test_only_the_time_of_the_empty_packet_shows_what_it_answers(at_s: float, said: object) -> None:
    """A keepalive of every 25 s comes at any time, also from a peer to which nothing gets."""
    assert observed(watched(*SENT, outer("keepalive", out=False, at_s=at_s))) == said


@pytest.mark.parametrize(
    ("rx_bytes", "said"), [(1000, "confirms nothing"), (1032, "cannot be seen"), (1064, "2 empty packets")]
)
def test_an_empty_packet_at_another_time_may_be_of_before_the_run(rx_bytes: int, said: str) -> None:
    """Who tried a ping before has started WireGuard's timer; a keepalive of 25 s does not come twice in ten."""
    came = outer("keepalive", out=False, at_s=4.0)
    later = grown(state(), rx_bytes=rx_bytes)
    seen = watched(*SENT, came, after=later)
    (word,) = observe_empty(seen, on_the_wire(seen))
    assert said in word.reason
    unknown = watched(*SENT, came, after=later, begun=None)
    assert observed(unknown) == []
    shaken = watched(*SENT, came, after=grown(later, last_handshake_unix_s=BEGAN_NS / 1e9 - 1))
    assert observed(shaken) == []


def test_what_other_machines_behind_the_same_peer_receive_counts_for_nobody() -> None:
    """Protects from 1700 empty packets that were another peer's answers, and from a hub taken for who is behind it."""
    hub = state(peer(addresses=(ip_network("10.66.0.0/24"),)))
    came = outer("keepalive", out=False, at_s=10.0)
    busy = watched(*SENT, before=hub, begun=hub, after=grown(hub, rx_bytes=1000 + 1700 * 32))
    assert observed(busy) == []
    seen = watched(*SENT, came, before=hub, begun=hub)
    assert observed(seen) == BLIND
    (word,) = observe_empty(seen, on_the_wire(seen))
    assert word.reason.startswith("the tunnel that carries packets for b reads them")


def test_nothing_is_missed_before_its_time() -> None:
    """A tap that was closed before has not shown that it does not come."""
    assert observed(watched(*SENT, read_ns=DUE_NS - 1)) == []
    assert observed(watched(*SENT)) == BLIND


@pytest.mark.parametrize(
    "seen",
    [
        watched(),
        watched(*SENT, first_sent_ns=0),
        watched(*SENT, outer("data", out=False)),
        watched(*SENT, outer("initiation", out=True)),
        watched(*SENT, outer("response", out=False)),
        watched(*SENT, burst=Burst(flow=FLOW, sent=10, answered=1)),
        watched(*SENT, before=state(peer(last_handshake_unix_s=0.0))),
        watched(*SENT, before=state(peer(last_handshake_unix_s=BEGAN_NS / 1e9 - 200))),
        watched(*SENT, before=state(product="nebula")),
    ],
    ids=[
        "nothing left",
        "unknown begin",
        "data came",
        "a handshake",
        "answered",
        "an answer",
        "never",
        "old",
        "nebula",
    ],
)
def test_it_is_only_waited_for_where_it_would_come(seen: TunnelView) -> None:
    """Without a session, or with anything else on its way, WireGuard's own timers say something else."""
    assert not may_come(seen, on_the_wire(seen))
    assert observed(watched(outer("keepalive", out=False, at_s=10.0))) == []


@pytest.mark.parametrize(
    ("rx_bytes", "worth"),
    [(1000, True), (1032, True), (1064, True), (1148, False), (1000 + 3 * 32, False)],
    ids=["nothing came", "a keepalive", "two", "a hello", "more than keepalives"],
)
def test_who_sends_anything_else_confirms_nothing_by_an_empty_packet(rx_bytes: int, worth: bool) -> None:
    """A peer whose responder says hello every three seconds never sends one: nobody waits eleven seconds for it."""
    seen = watched(*SENT, after=grown(state(), rx_bytes=rx_bytes))
    assert may_come(seen, on_the_wire(seen))
    assert worth_waiting(seen, on_the_wire(seen)) is worth


def test_where_it_is_not_known_what_came_it_is_waited_for() -> None:
    """The tap shows it when it comes."""
    seen = watched(*SENT, begun=None)
    assert worth_waiting(seen, on_the_wire(seen))
