"""What an inventory says of its hosts."""

from typing import Any

import pytest

from preflight.fleet.hosts import Host, InventoryError, read_hosts


def document(**hosts: dict[str, Any]) -> dict[str, Any]:
    """As `ansible-inventory --list` has it."""
    return {"_meta": {"hostvars": hosts}, "all": {"children": ["web"]}, "web": {"hosts": list(hosts)}}


def test_hosts_with_their_variables() -> None:
    """Protects the host variables that the help names, and their defaults."""
    found = read_hosts(
        document(b={"overlay_address": "10.66.0.2/24", "overlay_site": "oslo", "preflight_port": "8620"}, a={})
    )
    assert found == (Host("a"), Host("b", "10.66.0.2", "oslo", 8620))


def test_a_host_in_two_groups_is_one_host() -> None:
    """Protects from measuring a node twice."""
    assert read_hosts({"_meta": {}, "web": {"hosts": ["a"]}, "db": {"hosts": ["a"]}}) == (Host("a"),)


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ({"a": {"overlay_address": "web.example"}}, "a: overlay_address is 'web.example', which is not an address"),
        ({"a": {"preflight_port": 70000}}, "a: preflight_port is '70000', which is not a port"),
        ({"a": {"preflight_port": "eight"}}, "a: preflight_port is 'eight', which is not a port"),
        (
            {"a": {"overlay_address": "10.66.0.1"}, "b": {"overlay_address": "10.66.0.1"}},
            "a and b have one overlay_address, 10.66.0.1",
        ),
    ],
)
def test_mistakes_are_named(hosts: dict[str, Any], said: str) -> None:
    """Protects from measuring another node than the inventory means."""
    with pytest.raises(InventoryError) as error:
        read_hosts(document(**hosts))
    assert str(error.value) == said
