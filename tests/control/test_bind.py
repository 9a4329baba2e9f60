"""Which addresses count as exposed, and what a bind address may look like."""

import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from preflight.control import bind
from preflight.control.bind import BindError

NAMESPACE = "control-bind"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:9847", ["127.0.0.1:9847"]),
        ("[::1]:0", ["[::1]:0"]),
        ("::1:9847", ["[::1]:9847"]),
        ("localhost:1", ["127.0.0.1:1"]),
        ("0.0.0.0:65535", ["0.0.0.0:65535"]),
        ("[::]:1", ["[::]:1"]),
    ],
)
def test_addresses_are_read(text: str, expected: list[str]) -> None:
    """IPv4, IPv6 with and without brackets, the loopback's name."""
    assert [str(place) for place in bind.places(text)] == expected


def test_an_interface_stands_for_its_addresses() -> None:
    """Names instead of addresses that change."""
    assert "127.0.0.1:5" in [str(place) for place in bind.places("lo:5")]


@pytest.mark.parametrize("text", ["", ":", "1.2.3.4", "1.2.3.4:", "1.2.3.4:-1", "1.2.3.4:70000", "nobody0:1", "a b:1"])
def test_anything_else_is_refused(text: str) -> None:
    """With what was written in the sentence."""
    with pytest.raises(BindError):
        bind.places(text)


@pytest.mark.parametrize(
    ("address", "exposed"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("100.100.1.2", False),
        ("0.0.0.0", True),
        ("::", True),
        ("203.0.113.1", True),
    ],
)
def test_what_is_exposed(address: str, exposed: bool) -> None:
    """Loopback and carrier-grade NAT (Tailscale's range) are not; everything that no tunnel has is."""
    assert bind.exposed(ip_address(address)) == exposed


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network namespace with a tun device and one end of a veth pair, each with an address."""
    commands = f"""
        ip netns add {NAMESPACE}
        ip -n {NAMESPACE} tuntap add name tun0 mode tun
        ip -n {NAMESPACE} address add 10.66.0.1/24 dev tun0
        ip -n {NAMESPACE} link add veth0 type veth peer name veth1
        ip -n {NAMESPACE} address add 10.9.0.1/24 dev veth0
    """
    subprocess.run(["ip", "netns", "delete", NAMESPACE], capture_output=True, check=False)
    for command in filter(None, map(str.strip, commands.splitlines())):
        subprocess.run(command.split(), check=True)
    yield NAMESPACE
    subprocess.run(["ip", "netns", "delete", NAMESPACE], check=True)


@pytest.mark.lab
def test_a_tunnel_is_an_overlay_and_ethernet_is_not(namespace: str) -> None:
    """Private addresses alone say nothing: a LAN has them too."""
    code = (
        "from ipaddress import ip_address; from preflight.control.bind import exposed\n"
        "print([exposed(ip_address(address)) for address in ('10.66.0.1', '10.9.0.1')])"
    )
    inside = ["ip", "netns", "exec", namespace, sys.executable, "-c", code]
    run = subprocess.run(inside, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[False, True]"
