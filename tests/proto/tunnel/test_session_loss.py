"""A product that does not reach the peer either, and when its state shows nothing of the kind."""

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.product_ping import ProductPing
from preflight.proto.tunnel.session_loss import loss

NOW = 1_000_000.0
RELAYED = OverlayPeer(
    key="nodekey:b", name="nb", addresses=(ip_network("100.64.0.2/32"),), relay="lab", online=True,
    last_handshake_unix_s=NOW - 82, tx_bytes=900,
)  # fmt: skip
LEAF = OverlayPeer(
    key="bbbbbbbb02", name="leaf", endpoint="192.0.2.2:9993", last_seen_unix_s=NOW - 30, last_sent_unix_s=NOW - 0.3
)
PENDING = OverlayPeer(
    key="10.77.0.20", addresses=(ip_network("10.77.0.20/32"),), last_handshake_unix_s=0.0, tried=("192.0.2.2:4242",)
)


def words(product: str, address: str, *peers: OverlayPeer, pings: tuple[ProductPing, ...] = ()) -> str | None:
    """What the loss says of a silent peer."""
    state = OverlayState(product, "tun0", up=True, mtu=1280, peers=peers, lists_members=product != "zerotier")
    found = loss(state, "nb", address, pings, NOW)
    return None if found is None else f"{found.code}: {found.words}"


@pytest.mark.parametrize(
    ("peer", "pings", "said"),
    [
        (replace(RELAYED, online=False, last_seen_unix_s=5.0), (), "says that nb is offline, last seen at 1970-01-01"),
        (
            RELAYED,
            (ProductPing("TSMP"),),
            "no direct path to nb, and nothing comes back through the relay lab; its last handshake was",
        ),
        (replace(RELAYED, last_handshake_unix_s=0.0), (), "there never was a handshake"),
        (replace(RELAYED, last_handshake_unix_s=NOW - 130), (), "its last handshake was 130 s ago"),
        # The session may live behind the relay: nobody has asked it.
        (RELAYED, (), None),
        # Its own ping comes back, it has a path, or it sent nothing: none of these is a lost peer.
        (RELAYED, (ProductPing("disco", 0.01),), None),
        (replace(RELAYED, endpoint="192.0.2.2:41641"), (), None),
        (replace(RELAYED, tx_bytes=0), (), None),
        (replace(RELAYED, online=False, expired=True), (), None),
    ],
)
def test_a_tailnet(peer: OverlayPeer, pings: tuple[ProductPing, ...], said: str | None) -> None:
    """The control server's word comes first; a relay is blamed only where it is the only path and was used."""
    found = words("tailscale", "100.64.0.2", peer, pings=pings)
    assert (found is None) is (said is None)
    assert said is None or (said in (found or "") and (found or "").startswith("overlay.peer-lost: "))


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ((LEAF,), "heard nothing of bbbbbbbb02 for 30 s, and sent to it 0.3 s ago"),
        ((replace(LEAF, last_seen_unix_s=NOW - 6.6, last_sent_unix_s=NOW - 6.6),), None),
        ((replace(LEAF, last_seen_unix_s=NOW - 4, last_sent_unix_s=NOW),), None),
        ((LEAF, replace(LEAF, key="dddddddd04", last_seen_unix_s=NOW - 1)), None),
        (
            (replace(LEAF, endpoint=None, last_seen_unix_s=None, last_sent_unix_s=None, relayed=True),),
            "zerotier has no path to bbbbbbbb02: a root relays what it sends there, and nothing comes back",
        ),
        ((), None),
    ],
)
def test_zerotier(members: tuple[OverlayPeer, ...], said: str | None) -> None:
    """Silence counts only behind what was sent, and only if all members show it that the peer may be."""
    found = words("zerotier", "10.88.0.31", *members)
    assert (found is None) is (said is None)
    assert said is None or said in (found or "")


def test_nebula_s_pending_handshake() -> None:
    """Only its log knows why, so all causes are named; without an address for the peer it is the lighthouse."""
    assert "nebula sends handshakes to nb at 192.0.2.2:4242 and completes none" in str(
        words("nebula", "10.77.0.20", PENDING)
    )
    assert "no lighthouse has given nebula an address at which to reach nb" in str(
        words("nebula", "10.77.0.20", replace(PENDING, tried=()))
    )
    assert words("nebula", "10.77.0.20", replace(PENDING, last_handshake_unix_s=None)) is None
    assert words("wireguard", "10.77.0.20", PENDING) is None


@pytest.mark.parametrize(("missed", "lists", "told"), [(5, True, True), (3, True, False), (5, False, False)])
def test_nebula_forgets_a_refused_handshake(missed: int, lists: bool, told: bool) -> None:
    """An unanswered one stays pending; without its host map nothing can be missed."""
    state = OverlayState("nebula", "neb0", up=True, mtu=1300, lists_sessions=lists)
    found = loss(state, "nb", "10.77.0.20", (), NOW, missed=missed)
    assert (found is not None) is told
    assert found is None or "each of 5 handshakes with nb within moments" in found.words


@pytest.mark.parametrize(
    ("unasked", "line"),
    [
        ("lighthouse.hosts names no lighthouse to ask", "Name the lighthouse in lighthouse.hosts"),
        (
            "this node is a lighthouse itself (lighthouse.am_lighthouse), so it asks none",
            "Is this node to be a lighthouse?",
        ),
    ],
)
def test_a_nebula_that_asks_nobody(unasked: str, line: str) -> None:
    """No lighthouse is accused of what this node's own configuration leaves out; a real one stays one."""
    state = OverlayState("nebula", "neb0", up=True, mtu=1300, peers=(replace(PENDING, tried=()),), asks_none=unasked)
    found = loss(state, "nb", "10.77.0.20", (), NOW)
    assert found is not None
    assert f"at which to reach nb: {unasked}, and static_host_map has none" in found.words
    assert found.remedies[0].lines[0].startswith(line)


MEMBER = OverlayPeer(key="10.77.0.20", addresses=(ip_network("10.77.0.20/32"),), endpoint="192.0.2.2:4242")


@pytest.mark.parametrize(
    ("behind", "said"),
    [
        ((), "whose certificate has no network behind it"),
        ((ip_network("10.60.0.0/24"),), "whose certificate has only 10.60.0.0/24 behind it"),
        ((ip_network("10.50.0.0/16"),), None),
        (None, None),
    ],
)
def test_a_network_that_a_certificate_does_not_have(behind: Any, said: str | None) -> None:
    """The member is reached, and no filter is blamed; without a certificate nothing is said."""
    routed = ((ip_network("10.50.0.0/24"), "10.77.0.20"),)
    state = OverlayState("nebula", "neb0", up=True, mtu=1300, peers=(replace(MEMBER, behind=behind),), routed=routed)
    found = loss(state, "nb", "10.50.0.7", (), NOW)
    assert (found is None) is (said is None)
    assert found is None or ((said or "") in found.words and "-subnets 10.50.0.0/24" in found.remedies[0].lines[0])
    assert loss(state, "nb", "10.77.0.20", (), NOW) is None
