"""A tunnel's endpoint whose host says that nobody listens there: heard by a raw socket, and only that word counts."""

import asyncio
import socket
from dataclasses import replace
from ipaddress import ip_network
from time import monotonic

import pytest

from preflight.model.outer_error import OuterError
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.net.stamp import endpoint_refusals
from preflight.net.stamp.endpoint_refusals import EndpointRefusals, is_refusal

ENDPOINT = "198.51.100.7"
OWNER = OverlayPeer("b", endpoint=f"{ENDPOINT}:51820", addresses=(ip_network("10.66.0.2/32"),))
REFUSED = OuterError(
    offender=ENDPOINT,
    kind=3,
    code=3,
    source="192.0.2.1",
    destination=ENDPOINT,
    protocol=socket.IPPROTO_UDP,
    source_port=51821,
    destination_port=51820,
)


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (REFUSED, True),
        (replace(REFUSED, offender="203.0.113.1"), False),  # a router's word leaves the way back open
        (replace(REFUSED, code=13), False),
        (replace(REFUSED, destination_port=51821), False),
        (replace(REFUSED, source_port=862), False),  # not of the tunnel's own packets
        (replace(REFUSED, protocol=socket.IPPROTO_TCP), False),
    ],
)
def test_only_the_hosts_own_word_about_the_tunnels_port_counts(error: OuterError, counts: bool) -> None:
    """Anything else leaves ways on which something of the peer may still come."""
    assert is_refusal(error, OWNER, 51821) is counts


def test_without_a_known_port_of_this_node_any_of_its_ports_is_the_tunnels() -> None:
    """Some tunnels are read without it."""
    assert is_refusal(REFUSED, OWNER, None)


@pytest.mark.lab
def test_refusals_are_heard() -> None:
    """Two are enough; one may be of a moment in which the tunnel started."""

    async def heard(port: int, packets: int) -> bool:
        owner = replace(OWNER, endpoint=f"127.0.0.1:{port}")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tunnels:
            tunnels.bind(("127.0.0.1", 0))
            own = tunnels.getsockname()[1]
            with EndpointRefusals(tunnel(owner, own), "10.66.0.2") as refusals:
                for _ in range(packets):
                    tunnels.sendto(b"", ("127.0.0.1", port))
                    await asyncio.sleep(0.05)
                try:
                    await asyncio.wait_for(refusals.wait(), 0.5)
                except TimeoutError:
                    return False
                return True

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        assert not asyncio.run(heard(port, 3))
    assert asyncio.run(heard(port, 3))
    assert not asyncio.run(heard(port, 1))


@pytest.mark.lab
def test_a_host_that_has_stopped_refusing_may_have_started_its_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is still waited for."""
    monkeypatch.setattr(endpoint_refusals, "RECENT_S", 0.2)

    async def ended(port: int) -> bool:
        owner = replace(OWNER, endpoint=f"127.0.0.1:{port}")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tunnels:
            tunnels.bind(("127.0.0.1", 0))
            with EndpointRefusals(tunnel(owner, tunnels.getsockname()[1]), "10.66.0.2") as refusals:
                for _ in range(3):
                    tunnels.sendto(b"", ("127.0.0.1", port))
                    await asyncio.sleep(0.01)
                try:
                    await asyncio.wait_for(refusals.wait(monotonic() + 0.4), 0.8)
                except TimeoutError:
                    return False
                return True

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    assert not asyncio.run(ended(port))


def test_without_a_tunnel_nothing_is_heard() -> None:
    """Nobody has to ask for the reason."""

    async def run() -> None:
        with EndpointRefusals(None, "10.66.0.2") as refusals:
            await asyncio.wait_for(refusals.wait(), 0.1)

    with pytest.raises(TimeoutError):
        asyncio.run(run())


def tunnel(owner: OverlayPeer, listen_port: int) -> OverlayState:
    """With one peer."""
    return OverlayState("wireguard", interface="wg0", up=True, mtu=1420, peers=(owner,), listen_port=listen_port)
