"""The remote end of a VXLAN that the kernel's tables name, without a packet that was seen to leave."""

import asyncio
from dataclasses import replace

import pytest

from preflight.model.network_state import NetworkState
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.routing import Neighbour
from preflight.net.way.far_end import far_end
from preflight.net.way.firewall import Firewall
from preflight.net.way.routes import KernelState
from preflight.proto.way.far_ends import learned_end
from preflight.proto.way.observers import Moment
from tests.net.way.conftest import DEVICE, OWN, Namespace, namespace

__all__ = ["namespace"]
B, C = "02:00:00:00:00:0b", "02:00:00:00:00:0c"
TUNNEL = OverlayState(
    product="vxlan",
    interface="vx0",
    up=True,
    mtu=1450,
    peers=(
        OverlayPeer(key="198.51.100.2", endpoint="198.51.100.2:4789", hardware=(B,)),
        OverlayPeer(key="198.51.100.3", endpoint="198.51.100.3:4789", hardware=(C, B.replace("b", "e"))),
    ),
)
PEER = Neighbour(interface="vx0", address="10.66.0.2", state="stale", hardware=B)


@pytest.mark.parametrize(
    ("peer", "end"),
    [
        (PEER, "198.51.100.2"),
        (replace(PEER, hardware=C), "198.51.100.3"),
        (replace(PEER, hardware="02:00:00:00:00:99"), None),
        (replace(PEER, state="failed", hardware=None), None),
        (None, None),
    ],
)
def test_the_end_is_the_one_behind_which_the_peer_was_heard(peer: Neighbour | None, end: str | None) -> None:
    """Protects a host route by a dead gateway: two ends that fare differently left the endpoint unknown."""
    found = learned_end(TUNNEL, peer)
    assert (found.destination if found else None) == end


def test_an_address_behind_two_ends_names_neither() -> None:
    """A table that was written by hand may have one hardware address twice."""
    both = tuple(replace(each, hardware=(B,)) for each in TUNNEL.peers)
    assert learned_end(replace(TUNNEL, peers=both), PEER) is None


@pytest.mark.lab
@pytest.mark.parametrize(("own", "source"), [(None, OWN[4]), ("192.0.2.77", "192.0.2.77")])
def test_the_source_is_the_one_that_was_set(namespace: Namespace, own: str | None, source: str) -> None:
    """Where two uplinks have separate tables, the source that was set decides by which of them packets leave."""
    namespace.run("ip", "route", "add", "default", "dev", DEVICE)
    rules = Firewall().snapshot()
    before = Moment(overlay=TUNNEL, kernel=NetworkState(neighbours=(PEER,)), rules=rules)
    kernel = KernelState()
    found = asyncio.run(far_end(kernel, Firewall(), replace(TUNNEL, source=own), PEER.address, before))
    assert found is not None
    assert (found.destination, found.source) == ("198.51.100.2", source)
