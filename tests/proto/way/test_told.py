"""Both ends of a tunnel compared: which key, list or preshared key is wrong, and at which end."""

from typing import Any

import pytest

from preflight.model.peer_tunnel import PeerTunnel
from preflight.proto.way.observation import Death
from preflight.proto.way.told import observe_told, peer_tunnel
from tests.proto.way.seeing import KEY_B, KEY_C, OWN, OWN_KEY, STRANGER, B, peer, state, view

FITS = PeerTunnel(
    interface="wg9", public_key=KEY_B, knows_key=True, owner=OWN_KEY, allowed=(f"{OWN}/32",), preshared=False
)
BY = "b by mailbox"


def _told(own: Any = None, **values: Any) -> tuple[str, Death]:
    fields = {name: getattr(FITS, name) for name in FITS.__dataclass_fields__}
    (found,) = observe_told(view(before=own or state()), PeerTunnel(**(fields | values)), BY)
    assert (found.by, found.finding, found.direction) == (BY, "killed", "forward")
    assert found.death is not None
    return f"{found.station.id}@{found.station.host}", found.death


def test_two_ends_that_fit() -> None:
    """Nothing is said."""
    assert observe_told(view(), FITS, BY) == ()


def test_this_node_has_an_old_key_of_the_peer() -> None:
    """The peer's current key is in the sentence; it is not pasted, for only the peer's report says that it is right."""
    place, death = _told(public_key=KEY_C)
    assert place == "session@receiver"
    assert death.facts is not None
    assert death.facts.public_key == KEY_C
    assert KEY_C in death.message
    (remedy,) = death.remedies
    assert remedy.where == "node"
    (line,) = remedy.lines
    assert line.startswith("wg show wg0 public-key")
    assert KEY_C in line


@pytest.mark.parametrize(("owner", "says"), [(None, True), (KEY_B, False)])
def test_a_peer_behind_another_one_has_no_wrong_key(owner: str | None, says: bool) -> None:
    """Of a hub both ends have the key, and neither has the other's: replacing the hub's key would cut this node off."""
    hub = state(peer(address="10.66.0.0/24"))
    told = PeerTunnel(interface="wg9", public_key=KEY_C, owner=owner, addresses=(B,))
    found = observe_told(view(before=hub), told, BY)
    assert [each.death.code.slug for each in found if each.death] == (["overlay.allowed-ips"] if says else [])
    for each in found:
        assert each.death is not None
        assert "to no peer, not even to the one that hands packets on" in each.death.message
        assert {remedy.kind for remedy in each.death.remedies} == {"next"}


@pytest.mark.parametrize(("owner", "lines"), [(None, 1), (STRANGER, 2)], ids=["no entry", "an old key"])
def test_the_peer_does_not_know_this_node_s_key(owner: str | None, lines: int) -> None:
    """This node's key is in the sentence; the old entry of its address goes."""
    place, death = _told(knows_key=False, owner=owner, allowed=())
    assert (place, death.code.slug) == ("session@receiver", "overlay.handshake-stale")
    assert death.facts is not None
    assert death.facts.public_key == OWN_KEY
    assert OWN_KEY in death.message
    (remedy,) = death.remedies
    assert (remedy.where, remedy.host, len(remedy.lines)) == ("peer", "b", lines)
    assert remedy.lines[-1] == f"wg set wg9 peer {OWN_KEY} allowed-ips {OWN}/32"


@pytest.mark.parametrize(("owner", "counts"), [(None, OWN_KEY), (STRANGER, STRANGER)])
def test_the_peer_gives_this_node_s_address_to_another(owner: str | None, counts: str) -> None:
    """The key that counts is the one that has the address, or this node's, which lacks it."""
    place, death = _told(owner=owner, allowed=("10.66.0.10/32",))
    assert (place, death.code.slug) == ("session@receiver", "overlay.allowed-ips")
    assert death.facts is not None
    assert death.facts.public_key == counts
    assert counts in death.message
    (remedy,) = death.remedies
    assert remedy.lines == (f"wg set wg9 peer {OWN_KEY} allowed-ips 10.66.0.10/32,{OWN}/32",)


@pytest.mark.parametrize(("own", "there"), [(True, False), (False, True)])
def test_a_preshared_key_on_one_side(own: bool, there: bool) -> None:
    """Only the side that has one changes."""
    _, death = _told(state(peer(preshared=own)), preshared=there)
    assert death.code.slug == "overlay.preshared-key"
    assert death.facts is not None
    assert death.facts.mismatch == "preshared key"
    assert [remedy.where for remedy in death.remedies] == ["peer" if there else "node"]


def test_this_node_gives_the_peer_s_address_to_another() -> None:
    """By the peer's key it is known which entry is the peer's: also where an exit takes everything else."""
    own = state(peer(address="10.66.0.20"), peer(KEY_C, "0.0.0.0/0", "198.51.100.3:51820"))
    place, death = _told(own)
    assert (place, death.code.slug) == ("session@sender", "overlay.allowed-ips")
    assert death.facts is not None
    assert death.facts.public_key == KEY_C
    (remedy,) = death.remedies
    assert remedy.lines == (f"wg set wg0 peer {KEY_B} allowed-ips 10.66.0.20/32,{B}/32",)


def test_what_a_peer_tells_is_about_the_asker_only() -> None:
    """Other peers of it, and its secrets, are nobody's business."""
    there = state(peer(OWN_KEY, OWN, "192.0.2.1:51820", preshared=True), peer(KEY_C, "10.66.0.3"), public_key=KEY_B)
    about = peer_tunnel(there, OWN_KEY, OWN)
    assert about == PeerTunnel(
        addresses=(OWN,),
        interface="wg0", public_key=KEY_B, knows_key=True, owner=OWN_KEY, allowed=(f"{OWN}/32",), preshared=True,
        endpoint="192.0.2.1:51820", last_handshake_unix_s=there.peers[0].last_handshake_unix_s, rx_bytes=1000,
        tx_bytes=1000,
    )  # fmt: skip
    assert KEY_C not in str(about)
    unknown = peer_tunnel(there, STRANGER, "10.66.0.77")
    assert unknown == PeerTunnel(addresses=(OWN,), interface="wg0", public_key=KEY_B)


def test_an_address_that_is_not_the_peer_s() -> None:
    """Nobody owns it here, and the peer has another: the settings of this node are wrong, not the tunnel's lists."""
    place, death = _told(state(peer(address="10.66.0.22")), addresses=("10.66.0.22", "fd66::22"))
    assert (place, death.code.slug) == ("address@sender", "overlay.allowed-ips")
    assert death.facts is not None
    assert death.facts.address == B
    assert B in death.message
    place, death = _told(state(peer(address="10.66.0.22")), addresses=(B,))
    assert place == "session@sender"


def test_a_report_without_a_key_says_nothing() -> None:
    """A responder that may not read its tunnel."""
    assert observe_told(view(), PeerTunnel(), BY) == ()
    assert observe_told(view(before=state(public_key=None)), FITS, BY) == ()
