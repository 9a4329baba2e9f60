"""What a product says about a peer: which report wins, and that none of them calls a path dead."""

from dataclasses import replace

import pytest

from preflight.model.overlay import OverlayPeer
from preflight.proto.tunnel.peer_status import Word, open_port, sentence, settled, utc, word

PEER = OverlayPeer(key="k")


@pytest.mark.parametrize(
    ("peer", "said", "stays"),
    [
        (PEER, Word.IDLE, False),
        (replace(PEER, last_handshake_unix_s=0.0), Word.WAITING, False),
        (replace(PEER, endpoint="10.0.0.1:1", last_handshake_unix_s=0.0), Word.DIRECT, True),
        (replace(PEER, relayed=True, relay="lab"), Word.RELAYED, False),
        (replace(PEER, online=False), Word.OFFLINE, True),
        (replace(PEER, online=False, endpoint="10.0.0.1:1"), Word.DIRECT, True),
        (replace(PEER, online=False, relayed=True), Word.OFFLINE, True),
        (replace(PEER, expired=True, endpoint="10.0.0.1:1"), Word.EXPIRED, True),
    ],
)
def test_which_word_is_said(peer: OverlayPeer, said: Word, stays: bool) -> None:
    """An open path outweighs what the control server says; an expired key outweighs all; a relay may still give way."""
    assert (word(peer), settled(peer)) == (said, stays)
    if said in (Word.IDLE, Word.WAITING, Word.OFFLINE):
        assert sentence("nebula", "b", peer).endswith("; only a measurement shows whether it can be reached")


def test_times_that_no_calendar_has() -> None:
    """A daemon may report anything; the report is written anyway."""
    assert utc(1795419523.9) == "2026-11-23T07:38:43Z"
    assert utc(1e15) == "1000000000000000 s"


def test_the_port_that_makes_a_path_direct() -> None:
    """Each product's own; nothing is advised for one that is not known."""
    assert "41641" in open_port("tailscale")[0].lines[0]
    assert open_port("generic") == ()
