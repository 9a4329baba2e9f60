"""Whether a tunnel is behind a NAT, from the endpoint at which the peer sees it."""

import pytest

from preflight.model.nat import translated


@pytest.mark.parametrize(
    ("seen_as", "port", "expected"),
    [
        ("10.0.0.1:51820", 51820, False),
        ("10.0.0.1:51820", None, False),
        ("10.0.0.1:4711", 51820, True),
        ("203.0.113.5:51820", 51820, True),
        ("[::ffff:10.0.0.1]:51820", 51820, False),
        ("[fe80::1%eth0]:51820", 51820, False),
    ],
)
def test_another_address_or_port_is_a_nat(seen_as: str, port: int | None, expected: bool) -> None:
    """An address that is written in another way is still the same address."""
    assert translated(seen_as, ["10.0.0.1", "fe80::1"], port) is expected
