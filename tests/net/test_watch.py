"""The packet watch sees what arrives before the firewall does, and only what it was asked for."""

import time

import pytest

from preflight.net import udp
from preflight.net.watch import PacketWatch

pytestmark = pytest.mark.lab


def seen(watch: PacketWatch, expected: int) -> int:
    """What the watch has seen, as soon as it is as much as expected."""
    deadline = time.monotonic() + 10
    while watch.seen() < expected:
        assert time.monotonic() < deadline, watch.seen()
        time.sleep(0.001)
    return watch.seen()


@pytest.mark.parametrize(("address", "other"), [("127.0.0.1", "127.0.0.2"), ("::1", None)])
def test_counts_what_comes_from_the_peer_to_the_port(address: str, other: str | None) -> None:
    """Other ports, other sources and what leaves by the same interface do not count."""
    with udp.open_udp(address) as here, udp.open_udp(address) as peer, udp.open_udp(address) as bystander:
        port = here.getsockname()[1]
        watch = PacketWatch("lo", address, port)
        for _ in range(3):
            udp.send(peer, b"probe", (address, port))
        udp.send(here, b"answer", peer.getsockname())
        udp.send(peer, b"else", bystander.getsockname())
        if other is not None:
            with udp.open_udp(other) as stranger:
                udp.send(stranger, b"stranger", (address, port))
        udp.send(peer, b"last", (address, port))
        assert seen(watch, 4) == 4
        watch.close()


def test_an_interface_that_is_not_there() -> None:
    """A missing interface is an OSError, with nothing left open."""
    with pytest.raises(OSError, match="No such device"):
        PacketWatch("preflight-none", "127.0.0.1", 5000)
