"""An endpoint that returns, and one that only moves."""

import pytest

from preflight.proto.tunnel.endpoint_turns import Seen, Turns, moved, renewals, turns

A, B, C = "192.0.2.1:51820", "192.0.2.2:51820", "192.0.2.3:40000"


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        ([A, B, A, B], Turns((A, B), 3)),
        ([A, A, None, B, B, A, None, A, B, A], Turns((A, B), 4)),
        # A third place, such as a fresh mapping of a NAT, hides nothing.
        ([A, B, C, A, B], Turns((A, B), 3)),
        # A laptop that has moved, one that came back, a NAT that gives a new port each time, and nothing known.
        ([A, A, B, B, B], None),
        ([A, B, B, A], None),
        # One machine with both families.
        ([A, "[2001:db8::1]:51820", A, "[2001:db8::1]:51820"], None),
        ([A, B, C], None),
        ([A, None, A, None], None),
        ([None, None], None),
        ([], None),
    ],
)
def test_turns(seen: list[str | None], found: Turns | None) -> None:
    """Only what returns twice is two machines."""
    assert turns(map(Seen, seen)) == found


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        # Nebula's two machines take the session from each other by a handshake each.
        ([(A, 1), (A, 1), (B, 2), (A, 3)], Turns((A, B), 2)),
        # WireGuard's have a session each, and a late packet of a machine that moved is no third change.
        ([(A, 1), (B, 2), (A, 1)], None),
        ([(A, 1), (B, 2), (A, 1), (B, 2)], Turns((A, B), 3)),
        # A laptop comes back with the session that it had; so does one whose session was renewed meanwhile.
        ([(A, 1), (B, 1), (A, 1)], None),
        ([(A, 1), (B, 1), (B, 2), (A, 2)], None),
        ([(A, 1), (B, None), (A, 3)], None),
    ],
)
def test_turns_with_sessions(seen: list[tuple[str, int | None]], found: Turns | None) -> None:
    """Another session at each change is another machine sooner: one that moves keeps its session."""
    assert turns([Seen(place, session) for place, session in seen]) == found


def test_what_is_worth_a_longer_look() -> None:
    """One change is, and none is not."""
    assert moved(map(Seen, (A, None, B)))
    assert not moved(map(Seen, (A, None, A)))


def at(place: str, *sessions: int) -> list[Seen]:
    """A peer at one place, with these sessions one after the other."""
    return [Seen(place, session) for session in sessions for _ in range(2)]


def test_sessions_that_another_machine_takes() -> None:
    """The peer stays where it is; one that restarted has one session more, and one that lives keeps its own."""
    found = renewals(at("192.0.2.2:4242", 1, 2, 3, 4, 5))
    assert found is not None
    assert (found.of_this_node, found.changes, found.places[0]) == (True, 4, "192.0.2.2:4242")
    for sessions in ((1, 2), (1, 2, 3, 4), (1,), (1, 2, 1, 2, 1, 2)):
        assert renewals(at("192.0.2.2:4242", *sessions)) is None
    assert moved(at("192.0.2.2:4242", 1, 2))
    assert not moved(at("192.0.2.2:4242", 1))
    assert not moved([Seen("192.0.2.2:41641"), Seen("192.0.2.2:41641")])
