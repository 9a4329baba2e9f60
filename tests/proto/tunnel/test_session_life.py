"""When a session lives behind which everything is dropped, and when nothing shows it."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.product_ping import ProductPing
from preflight.model.remedy import as_text
from preflight.proto.tunnel.session_life import Life, life, policy_levers

NOW = 1_000_000.0
ADDRESS = "100.64.0.2"
NB = OverlayPeer(
    key="nodekey:b", name="nb", addresses=(ip_network("100.64.0.2/32"),), endpoint="192.0.2.2:41641", online=True,
    last_handshake_unix_s=NOW - 9, rx_bytes=500, tx_bytes=900,
)  # fmt: skip
NEVER = replace(NB, last_handshake_unix_s=0.0, rx_bytes=0, tx_bytes=296)
THROUGH, PATH = ProductPing("TSMP", 0.012), ProductPing("disco", 0.012, "192.0.2.2:41641")
LEAF = OverlayPeer(key="bbbbbbbb02", name="leaf", last_seen_unix_s=NOW - 0.7, last_sent_unix_s=NOW - 0.3)
ROOT = OverlayPeer(key="cccccccc03", name="planet", last_seen_unix_s=NOW - 0.7, last_sent_unix_s=NOW - 0.3)


def tailnet(peer: OverlayPeer) -> OverlayState:
    """A node of a tailnet with one peer."""
    return OverlayState("tailscale", "tailscale0", up=True, mtu=1280, peers=(peer,))


@pytest.mark.parametrize(
    ("peer", "pings", "words"),
    [
        (NB, (PATH, THROUGH), "tailscale's own ping of nb goes through the session (12 ms)"),
        # The daemon pinged and nobody answered: what its state says is older than that.
        (NB, (ProductPing("disco"), ProductPing("TSMP")), None),
        (NB, (PATH, ProductPing("TSMP")), None),
        (NB, (), "tailscale reaches nb at 192.0.2.2:41641, with a handshake 9 s ago"),
        (replace(NB, endpoint=None, relayed=True), (), None),
        (replace(NB, last_handshake_unix_s=NOW - 200), (), None),
        (replace(NB, online=False), (), None),
        (replace(NB, expired=True), (PATH, THROUGH), None),
    ],
)
def test_a_tailnet(peer: OverlayPeer, pings: tuple[ProductPing, ...], words: str | None) -> None:
    """Its own ping proves the session; without any, only a direct path with a fresh handshake does."""
    seen = life(tailnet(peer), ADDRESS, pings, NOW)
    assert (seen.words if seen else None) == words
    assert seen is None or (seen.here, seen.unkeyed) == (False, False)


@pytest.mark.parametrize("pings", [(), (PATH, ProductPing("TSMP"))])
def test_a_path_without_any_handshake(pings: tuple[ProductPing, ...]) -> None:
    """The peer is there and no key of the session fits: two machines have one key."""
    seen = life(tailnet(NEVER), ADDRESS, pings, NOW)
    assert seen == Life(
        "tailscale reaches nb at 192.0.2.2:41641, and no handshake of the session is answered", unkeyed=True
    )
    once = replace(NEVER, tx_bytes=148)
    assert life(tailnet(once), ADDRESS, pings, NOW) is None


@pytest.mark.parametrize(
    ("members", "seen"),
    [
        ((LEAF,), Life("zerotier heard bbbbbbbb02 0.7 s ago")),
        ((replace(LEAF, last_seen_unix_s=NOW - 7, last_sent_unix_s=NOW - 7),), None),
        ((replace(LEAF, last_seen_unix_s=NOW - 11, last_sent_unix_s=NOW - 0.2),), None),
        (
            (replace(LEAF, last_seen_unix_s=NOW - 11, last_sent_unix_s=NOW - 11),),
            Life("zerotier has sent nothing to bbbbbbbb02 for 11 s, while this run sent to it", here=True),
        ),
        ((LEAF, replace(LEAF, key="dddddddd04", last_seen_unix_s=None)), None),
        ((LEAF, replace(LEAF, key="dddddddd04")), Life("zerotier heard bbbbbbbb02 and dddddddd04 0.7 s ago")),
        ((), None),
    ],
)
def test_zerotier(members: tuple[OverlayPeer, ...], seen: Life | None) -> None:
    """It does not say whose an address is, so all members that it may be must show the same; roots do not count."""
    state = OverlayState("zerotier", "zt0", up=True, mtu=2800, peers=(ROOT, *members), lists_members=False)
    assert life(state, "10.88.0.31", (), NOW) == seen


def test_nobody_knows_who_drops() -> None:
    """No line is called a fix: of the tailnet's rules, shields and a filter only one has to be changed."""
    levers = (*policy_levers("tailscale", "nb", here=False), *policy_levers("zerotier", "nb", here=True))
    assert {each.kind for each in levers} == {"next"}
    assert "shields-up" in (as_text(levers) or "")
    assert [each.where for each in policy_levers("zerotier", "nb", here=False)] == ["product console", "peer"]
