"""All observers of one burst: they look for its packets by the length that these really have."""

from typing import Any

import pytest

from preflight.model.path import StampStats
from preflight.model.peer import Peer
from preflight.model.tapped import Tapped
from preflight.model.udp_port import UdpPort
from preflight.proto.way.kernel_word import Watched
from preflight.proto.way.netfilter.ruleset import FilterSnapshot
from preflight.proto.way.observers import PROBE_BYTES, Moment, Record, filter_bursts, observe, tunnel_side
from tests.proto.way import world
from tests.proto.way.seeing import BEGAN_NS, OWN, PROBE, READ_NS, B, inner, outer, state


def record(*packets: Any, payload_bytes: int = 76, peer: str = B) -> Record:
    """A burst of six packets that nobody answered."""
    moment = Moment(overlay=state(), kernel=world.state(), rules=FilterSnapshot())
    return Record(
        peer=Peer(address=peer, name="b"),
        watched=Watched(tunnel=world.TUNNEL, flows=(world.INNER,), outer=world.OUTER, sent=6),
        before=moment,
        after=moment,
        stats=StampStats(sent=6, answered=0, local=(OWN, PROBE), payload_bytes=payload_bytes),
        tapped=Tapped(packets=packets, began_ns=BEGAN_NS),
        read_ns=READ_NS,
    )


@pytest.mark.parametrize(
    ("payload_bytes", "peer", "length"),
    [(76, B, 104), (164, B, 192), (164, "fd66::2", 212), (76, "fd66::2", 124), (0, B, PROBE_BYTES)],
)
def test_a_burst_has_the_length_of_its_own_packets(payload_bytes: int, peer: str, length: int) -> None:
    """Unsigned probes are smaller than signed ones, and IPv6 adds to both: nothing is assumed of a sent burst."""
    made = record(payload_bytes=payload_bytes, peer=peer)
    assert made.inner.length_bytes == length
    assert next(iter(filter_bursts(made))).flow.length_bytes == length


def test_a_tunnel_without_its_port_here_leaves_elsewhere() -> None:
    """A container has the tunnel's device, and the socket stays in the namespace in which the tunnel was made."""
    peer, here = Peer(address=B, name="b"), (UdpPort(51820, "0.0.0.0"),)
    assert not tunnel_side(peer, state(), here).elsewhere
    assert not tunnel_side(peer, state(), None).elsewhere
    assert tunnel_side(peer, state(), ()).elsewhere
    assert not tunnel_side(peer, state(listen_port=None), ()).elsewhere


def test_unsigned_probes_are_seen_to_leave() -> None:
    """The tunnel's data is known by the length inside, so a wrong one would claim that nothing left this node."""
    data = [outer("data", out=True, inner_bytes=(97, 112)) for _ in range(6)]
    said = observe(record(*(inner(out=True) for _ in range(6)), *data))
    (leaving,) = [each for each in said if each.station.id == "wire" and each.direction == "forward"]
    assert (leaving.finding, leaving.packets, leaving.seen) == ("seen", "data", 6)
