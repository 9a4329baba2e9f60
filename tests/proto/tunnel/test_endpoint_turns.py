"""An endpoint that returns, and one that only moves."""

import pytest

from preflight.proto.tunnel.endpoint_turns import Turns, moved, turns

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
    assert turns(seen) == found


def test_what_is_worth_a_longer_look() -> None:
    """One change is, and none is not."""
    assert moved([A, None, B])
    assert not moved([A, None, A])
