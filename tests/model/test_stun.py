"""Whether a NAT maps by destination is reported only where two servers saw one socket."""

import pytest

from preflight.model.stun import StunAnswer, depends_on_destination, host_of

A = StunAnswer("a", "192.0.2.1", "10.0.0.1:4000", "203.0.113.5:4000")


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (StunAnswer("b", "192.0.2.2", "10.0.0.1:4000", "203.0.113.5:4000"), False),
        (StunAnswer("b", "192.0.2.2", "10.0.0.1:4000", "203.0.113.5:4711"), True),
        # Another socket, the same server twice, no answer: nothing to compare.
        (StunAnswer("b", "192.0.2.2", "10.0.0.1:5000", "203.0.113.5:4711"), None),
        (StunAnswer("b", "192.0.2.1", "10.0.0.1:4000", "203.0.113.5:4711"), None),
        (StunAnswer("b", "192.0.2.2", "10.0.0.1:4000", why="silent"), None),
    ],
)
def test_mappings_are_compared_per_socket(other: StunAnswer, expected: bool | None) -> None:
    """A "no" that nobody measured would call a bad NAT a good one (RFC 4787 section 4.1)."""
    assert depends_on_destination([A, other]) is expected


def test_the_host_of_an_endpoint() -> None:
    """Brackets belong to the notation, not to the address."""
    assert [host_of(each) for each in ("192.0.2.1:1", "[2001:db8::1]:1")] == ["192.0.2.1", "2001:db8::1"]
