"""A peer is one machine, under a name that a report has for nothing else."""

import pytest

from preflight.settings.peers import LONGEST_NAME, peer_address, peer_name


@pytest.mark.parametrize(
    ("value", "address"), [(" 10.66.0.2 ", "10.66.0.2"), ("[fd66::2]", "fd66::2"), ("fd66:0:0::2", "fd66::2")]
)
def test_an_address_in_its_shortest_form(value: str, address: str) -> None:
    """One peer must not appear twice because its address was written in two ways."""
    assert peer_address(value) == address


@pytest.mark.parametrize("value", ["", "b", "10.66.0.256", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"])
def test_what_is_not_the_address_of_one_machine(value: str) -> None:
    """Measurements that go to everybody are not what anybody asked for."""
    with pytest.raises(ValueError, match="address"):
        peer_address(value)


@pytest.mark.parametrize("value", ["node", "control", "a/b", "a\x1bb", "x" * (LONGEST_NAME + 1)])
def test_names_that_a_report_cannot_carry(value: str) -> None:
    """`reach.udp/node/forward` would be about this node."""
    with pytest.raises(ValueError, match="name"):
        peer_name(value)
