"""The meaning of a WireGuard session's counters: tables of two readings."""

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from preflight.model.kernel import Route
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.proto.tunnel.wireguard import ANSWER_S, CERTAIN_S, FLOW_S, WATCH_S, Finding, Watch, candidates

NOW = 1_795_416_000.0
B = OverlayPeer(
    key="B=",
    endpoint="10.201.2.1:51820",
    addresses=(ip_network("10.66.0.2/32"),),
    last_handshake_unix_s=0.0,
    rx_bytes=0,
    tx_bytes=0,
    keepalive_s=0,
)
C = replace(B, key="C=", addresses=(ip_network("10.66.0.3/32"),))
UNDERLAY = Route("10.201.2.1", interface="eth0", source="10.201.1.1")


def seen(after: OverlayPeer | None, **more: Any) -> Watch:
    """B, watched until nothing changes any more."""
    return Watch(
        **{
            "interface": "wg0",
            "before": B,
            "after": after,
            "now_unix_s": NOW,
            "watched_s": WATCH_S,
            "route": UNDERLAY,
            **more,
        }
    )


FRESH = replace(B, last_handshake_unix_s=NOW - 5, rx_bytes=92, tx_bytes=180)
MUTE = replace(B, tx_bytes=296)
OLD = replace(B, last_handshake_unix_s=NOW - 400, tx_bytes=296)


@pytest.mark.parametrize(
    ("watch", "finding"),
    [
        (seen(FRESH), Finding.ALIVE),
        (seen(replace(B, last_handshake_unix_s=NOW - 180)), Finding.ALIVE),
        (seen(replace(B, last_handshake_unix_s=NOW - 181, tx_bytes=148)), Finding.STALE),
        (seen(replace(B, last_handshake_unix_s=NOW + 30)), Finding.ALIVE),
        (seen(None), Finding.NOT_ALLOWED),
        (seen(MUTE), Finding.NO_HANDSHAKE),
        (seen(replace(MUTE, rx_bytes=148)), Finding.NO_HANDSHAKE),
        (seen(MUTE, port_closed=True), Finding.PORT_CLOSED),
        (seen(OLD, port_closed=True), Finding.PORT_CLOSED),
        (seen(OLD), Finding.STALE),
        (seen(B), Finding.NOTHING_SENT),
        (seen(B, objection="Operation not permitted"), Finding.REFUSED_HERE),
        (seen(MUTE, objection="Operation not permitted"), Finding.NO_HANDSHAKE),
        (seen(replace(B, endpoint=None)), Finding.NO_ENDPOINT),
    ],
)
def test_findings(watch: Watch, finding: Finding) -> None:
    """Each state of the table in the product's facts has exactly one reading."""
    assert watch.finding is finding


@pytest.mark.parametrize(
    ("source", "endpoint", "keepalive", "finding"),
    [
        ("192.168.1.5", "8.8.8.8:51820", 0, Finding.NO_KEEPALIVE),
        ("192.168.1.5", "8.8.8.8:51820", 25, Finding.ALIVE),
        ("192.168.1.5", "10.201.2.1:51820", 0, Finding.ALIVE),
        ("1.1.1.1", "8.8.8.8:51820", 0, Finding.ALIVE),
        ("fd00::5", "[2606:4700::1111]:51820", 0, Finding.NO_KEEPALIVE),
        (None, "8.8.8.8:51820", 0, Finding.ALIVE),
    ],
)
def test_keepalive_is_missed_only_behind_a_nat(
    source: str | None, endpoint: str, keepalive: int, finding: Finding
) -> None:
    """A tunnel between private addresses, or from a public one, needs no keepalive: no false alarm."""
    route = Route("x", interface="eth0", source=source)
    assert seen(replace(FRESH, endpoint=endpoint, keepalive_s=keepalive), route=route).finding is finding


def test_a_fresh_session_settles_as_soon_as_something_comes_back() -> None:
    """A healthy run must not wait; a fresh session that stays silent gets FLOW_S and no more."""
    assert seen(FRESH, watched_s=0.05).settled
    silent = replace(FRESH, rx_bytes=0)
    assert not seen(silent, watched_s=FLOW_S / 2).settled
    assert seen(silent, watched_s=FLOW_S).settled


def test_a_dead_session_is_watched_through_a_repeated_initiation() -> None:
    """One unanswered initiation may be one lost packet: WireGuard repeats after 5 s, so 6 s is the least."""
    assert WATCH_S >= 6
    assert not seen(MUTE, watched_s=5.9).settled
    assert seen(MUTE, watched_s=WATCH_S).settled
    # The repetition was seen to leave: only its answer is still waited for.
    assert not seen(MUTE, watched_s=5.2, repeated_s=5.1).settled
    assert seen(MUTE, watched_s=5.1 + ANSWER_S, repeated_s=5.1).settled


LOOP = Route("10.201.2.1", interface="wg0")


def test_an_endpoint_inside_the_tunnel_is_the_cause_only_of_a_dead_session() -> None:
    """A tunnel whose socket lives in another namespace looks like a loop from here, and works."""
    assert seen(MUTE, route=LOOP).finding is Finding.LOOP
    assert seen(FRESH, route=LOOP).finding is Finding.ALIVE


@pytest.mark.parametrize(
    "watch",
    [
        seen(MUTE, route=LOOP),
        seen(B, objection="Operation not permitted"),
        seen(B, route=Route("10.201.2.1", error="Network is unreachable")),
    ],
)
def test_what_is_wrong_on_this_node_is_reported_sooner(watch: Watch) -> None:
    """A loop, a local firewall, a missing route: no answer of the peer's would change that."""
    assert replace(watch, watched_s=CERTAIN_S).settled
    assert not replace(watch, watched_s=CERTAIN_S / 2).settled


def test_counters_of_another_peer_are_not_compared() -> None:
    """When the address moved to another key meanwhile, its counters are not growth."""
    assert seen(replace(C, tx_bytes=1000), before=replace(B, tx_bytes=900)).sent_bytes == 1000
    assert seen(replace(B, tx_bytes=0), before=replace(B, tx_bytes=900)).sent_bytes == 0


def test_the_peer_that_lacks_an_address_is_one_that_owns_no_other() -> None:
    """With c's address accounted for, only b can be the one that 10.66.0.2 was forgotten for."""
    bare = replace(B, addresses=())
    state = OverlayState(product="wireguard", interface="wg0", up=True, mtu=1420, peers=(bare, C))
    assert candidates(state, ["10.66.0.3"]) == (bare,)
    assert candidates(state, []) == (bare, C)


@pytest.mark.parametrize(
    ("before", "after", "repeats"),
    [
        (B, replace(B, tx_bytes=148), False),
        (B, MUTE, True),
        # One that left before the watch counts only if none was ever answered.
        (replace(B, tx_bytes=148), MUTE, True),
        (replace(OLD, tx_bytes=500), replace(OLD, tx_bytes=648), False),
        (replace(OLD, tx_bytes=500), replace(OLD, tx_bytes=796), True),
        (MUTE, MUTE, False),
        (B, None, False),
    ],
)
def test_a_repeated_initiation_is_known_by_the_counter(
    before: OverlayPeer, after: OverlayPeer | None, repeats: bool
) -> None:
    """Waiting for what was already seen costs five seconds; one lost initiation does not mean a dead tunnel."""
    assert seen(after, before=before).repeats is repeats
