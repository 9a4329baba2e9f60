"""The end of a tunnel that a rule of this node stops packets to, by real rules in a namespace."""

from dataclasses import replace

import pytest

from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.net.way.firewall import Firewall
from preflight.proto.way.far_ends import common_end, far_ends
from tests.net.way.conftest import DEVICE, OWN, Namespace, namespace

__all__ = ["namespace"]
pytestmark = [pytest.mark.lab]
ENDS = ("198.51.100.2", "198.51.100.3")
TUNNEL = OverlayState(
    product="vxlan",
    interface="vx0",
    up=True,
    mtu=1450,
    peers=tuple(OverlayPeer(key=end, endpoint=f"{end}:4789") for end in ENDS),
)


@pytest.mark.parametrize(
    ("rule", "end"),
    [
        ("udp dport 4789 drop", ENDS[0]),
        (f"ip daddr {ENDS[1]} drop", ENDS[1]),
        ("udp dport 53 drop", None),
        # Two rules, or a guess: nobody knows which of them the peer is at.
        (f"ip daddr {ENDS[0]} drop; ip daddr {ENDS[1]} drop", None),
    ],
)
def test_the_end_that_gets_nothing(namespace: Namespace, rule: str, end: str | None) -> None:
    """Protects a silent member of a VXLAN whose packets this node drops: it was said to be vague, or the network's."""
    namespace.nft(f"table inet guard {{ chain output {{ type filter hook output priority 0; {rule}; }}; }}")
    flows = [replace(flow, source=OWN[4], interface_out=DEVICE) for flow in far_ends(TUNNEL)]
    rules = Firewall().snapshot()
    found = common_end(flows, rules, rules)
    assert (found.destination if found else None) == end
    assert common_end([], rules, rules) is None
