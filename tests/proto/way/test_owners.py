"""Whose address it is: nobody's, a stranger's, that of a peer with a default route, or the right peer's."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from preflight.model.overlay import ConfiguredPeer, ConfiguredTunnel
from preflight.proto.way.owners import may_be, may_lack, observe_owner
from tests.proto.way.seeing import KEY_B, KEY_C, OWN_KEY, STRANGER, THIRD, B, C, peer, state, view

ELSEWHERE = "10.66.0.20"
OTHER = peer(KEY_C, C, f"{THIRD}:51820")


def test_the_right_peer() -> None:
    """The usual case is silent."""
    assert observe_owner(view(before=state(peer(), OTHER))) is None


def test_nobody_has_the_address() -> None:
    """The only peer without any of the other targets' addresses is the one that lacks it."""
    tunnel = state(peer(address=ELSEWHERE), OTHER)
    found = observe_owner(view(before=tunnel, silent=frozenset((ELSEWHERE,))))
    assert found is not None
    assert found.death is not None
    assert (found.station.id, found.station.host, found.packets) == ("session", "sender", "inner")
    assert found.death.code.slug == "overlay.allowed-ips"
    assert found.death.facts is not None
    assert found.death.facts.public_key == KEY_B
    assert KEY_B in found.death.message
    (remedy,) = found.death.remedies
    assert remedy.lines == (f"wg set wg0 peer {KEY_B} allowed-ips 10.66.0.20/32,{B}/32",)


@pytest.mark.parametrize(("answering", "right"), [((ELSEWHERE,), ELSEWHERE), ((), None), ((ELSEWHERE, C), None)])
def test_a_peer_that_answers_at_its_own_address_lacks_none(answering: tuple[str, ...], right: str | None) -> None:
    """Protects from a line for the tunnel where the settings are wrong; a responder says which of its peers it is."""
    seen = view(before=state(peer(address=ELSEWHERE), OTHER), living=frozenset((ELSEWHERE,)), answering=answering)
    found = observe_owner(seen)
    assert found is not None
    assert found.death is not None
    assert found.death.facts is not None
    assert found.station.id == "address"
    assert (found.death.facts.address, found.death.facts.answered_from) == (B, right)
    assert (found.death.remedies[0].kind == "fix") is (right is not None)
    assert "which answers: the address of b in this node's settings is wrong" in found.death.message


def test_a_peer_that_nobody_asked_may_have_all_of_its_addresses() -> None:
    """Protects it from an address that is another's: a peer's observers ask nobody, and name no key then."""
    found = observe_owner(view(before=state(peer(address=ELSEWHERE), OTHER)))
    assert found is not None
    assert found.death is not None
    assert found.death.facts is not None
    assert found.death.facts.public_key is None
    assert all(remedy.fix is None for remedy in found.death.remedies)
    bare = observe_owner(view(before=state(peer(address=""), OTHER)))
    assert bare is not None
    assert bare.death is not None
    assert [remedy.fix is not None for remedy in bare.death.remedies] == [True]


def test_who_is_asked_where_nobody_has_the_address() -> None:
    """Protects others from being asked: only who may lack it, and who is connected and was not heard as a target."""
    tunnel = state(peer(address=ELSEWHERE), OTHER)
    now = max(each.last_handshake_unix_s or 0 for each in tunnel.peers)
    assert may_lack(tunnel, B, (C,)) == (ELSEWHERE,)
    assert may_be(tunnel, B, (), now) == (ELSEWHERE, C)
    assert may_be(tunnel, B, (C,), now) == (ELSEWHERE,)
    assert may_be(tunnel, B, (), now + 3600) == ()
    assert may_lack(tunnel, C, ()) == may_be(tunnel, C, (), now) == ()


def test_several_may_lack_it() -> None:
    """Then no key is named, and a person decides."""
    found = observe_owner(view(before=state(peer(address=""), peer(STRANGER, ""), OTHER)))
    assert found is not None
    assert found.death is not None
    assert found.death.facts is not None
    assert found.death.facts.public_key is None
    assert all(remedy.fix is None for remedy in found.death.remedies)


def test_a_stranger_took_it() -> None:
    """A peer that never connected has the address, and one that is connected has none left."""
    taker = peer(STRANGER, B, None, last_handshake_unix_s=0.0, rx_bytes=0)
    found = observe_owner(view(before=state(taker, peer(address=""), OTHER)))
    assert found is not None
    assert found.death is not None
    assert found.death.facts is not None
    assert found.death.facts.public_key == STRANGER
    assert STRANGER in found.death.message
    (remedy,) = found.death.remedies
    assert remedy.lines == (f"wg set wg0 peer {KEY_B} allowed-ips {B}/32",)


@pytest.mark.parametrize("handshake", [1_700_000_000.0, 0.0])
def test_a_file_that_gives_the_address_to_two_peers(handshake: float) -> None:
    """The last took it; only a session of the other one shows whose it is, so that a command may give it back."""
    taker = peer(STRANGER, B, "203.0.113.99:51820", last_handshake_unix_s=0.0, rx_bytes=0)
    both = tuple(ConfiguredPeer(key, (ip_network("10.66.0.0/24"),)) for key in (KEY_B, STRANGER))
    robbed = peer(address="", last_handshake_unix_s=handshake)
    file = ConfiguredTunnel("/etc/wireguard/wg0.conf", peers=both)
    found = observe_owner(view(before=state(robbed, taker, configured=file)))
    assert found is not None
    assert found.death is not None
    assert "/etc/wireguard/wg0.conf gives 10.66.0.2 to two peers" in found.death.message
    (remedy,) = found.death.remedies
    assert (remedy.fix is not None) is bool(handshake)
    assert observe_owner(view(before=state(robbed, taker))) is None, "without the file the owner may be right"


@pytest.mark.parametrize("endpoint", [None, "203.0.113.9:51820"])
def test_a_peer_that_has_not_connected_yet_took_nothing(endpoint: str | None) -> None:
    """A laptop that is switched off owns its address rightly."""
    waiting = peer(KEY_B, B, endpoint, last_handshake_unix_s=0.0, rx_bytes=0)
    assert observe_owner(view(before=state(waiting, OTHER))) is None


def test_an_exit_takes_what_no_other_peer_has() -> None:
    """It may be right, for the target may be behind the exit: said without certainty, and changed by nobody."""
    exit_ = peer(KEY_C, "0.0.0.0/0", f"{THIRD}:51820")
    found = observe_owner(view(before=state(peer(address="10.66.0.20"), exit_), others=()))
    assert found is not None
    assert found.death is not None
    assert not found.death.certain
    assert found.death.facts is not None
    assert found.death.facts.public_key == KEY_C
    assert all(remedy.kind == "next" for remedy in found.death.remedies)


def test_an_exit_that_is_the_only_other_peer() -> None:
    """Without a peer that lacks the address there is nobody else to send it to."""
    assert observe_owner(view(before=state(peer(KEY_C, "0.0.0.0/0")))) is None


def test_another_target_s_peer_took_it() -> None:
    """A peer with a session and no address is not left so by intent; one without a session may be an old entry."""
    taker = peer(KEY_C, C, f"{THIRD}:51820", addresses=(ip_network(f"{C}/32"), ip_network(f"{B}/32")))
    found = observe_owner(view(before=state(taker, peer(address=""))))
    assert found is not None
    assert found.death is not None
    assert "which has the address of another target" in found.death.message
    (remedy,) = found.death.remedies
    assert remedy.lines == (f"wg set wg0 peer {KEY_B} allowed-ips {B}/32",)
    assert observe_owner(view(before=state(taker, peer(address="", last_handshake_unix_s=0.0)))) is None
    assert observe_owner(view(before=state(taker, peer(address="")), others=())) is None, "the owner may be a hub"


def test_a_peer_with_a_session_lacks_what_an_exit_takes() -> None:
    """An entry without any address is a mistake, so what it lacks goes to the exit by mistake too."""
    exit_ = peer(KEY_C, "0.0.0.0/0", f"{THIRD}:51820")
    found = observe_owner(view(before=state(peer(address=""), exit_), others=()))
    assert found is not None
    assert found.death is not None
    assert found.death.certain
    assert "whose allowed-ips hold everything" in found.death.message
    (remedy,) = found.death.remedies
    assert remedy.lines == (f"wg set wg0 peer {KEY_B} allowed-ips {B}/32",)


def test_what_the_target_says_it_sent_shows_which_peer_it_is() -> None:
    """WireGuard counts for its entry what it drops there; two such peers, or no word of it, prove nothing."""
    exit_ = peer(KEY_C, "0.0.0.0/0", f"{THIRD}:51820")
    lacking = peer(address="10.66.0.20")
    begun = state(exit_, lacking)
    after = state(exit_, replace(lacking, rx_bytes=1000 + 10 * 112))
    seen = view(before=begun, after=after, begun=begun, reported_sent=10)
    found = observe_owner(seen)
    assert found is not None
    assert found.death is not None
    assert found.death.certain
    assert found.death.facts is not None
    assert found.death.facts.public_key == KEY_C
    assert f"came from the peer {KEY_B}, and were dropped" in found.death.message
    (remedy,) = found.death.remedies
    assert remedy.lines == (f"wg set wg0 peer {KEY_B} allowed-ips 10.66.0.20/32,{B}/32",)
    other = peer(OWN_KEY, "10.66.0.21", f"{THIRD}:51821")
    grown = replace(other, rx_bytes=9000)
    two = replace(seen, after=state(exit_, *after.peers[1:], grown), begun=state(exit_, lacking, other))
    busy = replace(seen, after=state(exit_, replace(lacking, rx_bytes=90_000)))
    for doubtful in (replace(seen, reported_sent=0), replace(seen, begun=None), replace(seen, after=begun), two, busy):
        guess = observe_owner(doubtful)
        assert guess is not None
        assert guess.death is not None
        assert not guess.death.certain
    wide = peer(KEY_C, "10.66.0.0/24", f"{THIRD}:51820")
    found = observe_owner(replace(seen, before=state(wide, lacking), after=state(wide, *after.peers[1:])))
    assert found is not None, "a hub's network holds the address too"
    assert observe_owner(view(before=state(wide, lacking), begun=begun)) is None
