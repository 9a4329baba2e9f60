"""What a Nebula configuration lets this node send."""

from typing import Any

import pytest

from preflight.model.product_policy import Permit
from preflight.overlay.nebula_policy import out_policy

FILE = "/etc/nebula/config.yml"


def permits(*rules: Any) -> tuple[Permit, ...]:
    """The rules as they are read."""
    found = out_policy({"firewall": {"outbound": list(rules)}}, FILE)
    assert found is not None
    assert found.file == FILE
    return found.permits


@pytest.mark.parametrize(
    ("rule", "permit"),
    [
        ({"port": "any", "proto": "any", "host": "any"}, Permit()),
        ({"port": "any", "proto": "icmp", "host": "any"}, Permit(protocol="icmp")),
        ({"port": 862, "proto": "udp", "host": "c"}, Permit(protocol="udp", ports=(862, 862), named=("host c",))),
        ({"port": "80-90", "proto": "tcp", "groups": ["a", "b"]}, Permit("tcp", (80, 90), (), ("groups a and b",))),
        ({"port": "fragment", "proto": "any", "group": "any"}, Permit(ports=(-1, -1))),
        ({"port": "any", "proto": "any", "host": "any", "ca_name": "x"}, Permit(named=("ca_name x",))),
        # Alternatives: anybody, whatever else is there.
        ({"port": "any", "proto": "any", "host": "any", "group": "a"}, Permit()),
    ],
)
def test_a_rule(rule: dict[str, Any], permit: Permit) -> None:
    """As Nebula reads it: a port, a protocol, and any of what says for whom."""
    assert permits(rule) == (permit,)


def test_a_network() -> None:
    """The only condition that fits an address."""
    (permit,) = permits({"port": "any", "proto": "any", "cidr": "10.66.0.0/24"})
    assert [str(each) for each in permit.to] == ["10.66.0.0/24"]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"firewall": {"inbound": []}},
        {"firewall": {"outbound": "any"}},
        {"firewall": {"outbound": [{"port": "http"}]}},
        {"firewall": {"outbound": [{"host": 7}]}},
        {"firewall": {"outbound": ["any"]}},
    ],
)
def test_what_is_not_understood(config: dict[str, Any]) -> None:
    """It is left to Nebula: nothing is claimed of it."""
    assert out_policy(config, FILE) is None
    assert out_policy({"firewall": {"outbound": []}}, FILE) is not None  # nothing may leave


def test_what_may_come_in() -> None:
    """Read in the same way; where it is not understood, nothing is known of it."""
    config = {"firewall": {"outbound": [], "inbound": [{"port": "any", "proto": "icmp", "host": "any"}]}}
    found = out_policy(config, FILE)
    assert found is not None
    assert found.inbound == (Permit(protocol="icmp"),)
    unread = out_policy({"firewall": {"outbound": [], "inbound": [{"port": "http"}]}}, FILE)
    assert unread is not None
    assert unread.inbound is None
