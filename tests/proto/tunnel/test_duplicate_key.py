"""What is said of two machines with one key; that of live endpoints is in tests/checks/test_overlay_key.py."""

from preflight.model.overlay import OverlayPeer
from preflight.model.peer import Peer
from preflight.proto.tunnel.duplicate_key import in_log

B, KNOWN = Peer("10.99.0.2", "b"), OverlayPeer("10.99.0.2")


def test_what_a_log_shows() -> None:
    """Both places and when, or nothing where the log has nothing of it."""
    assert in_log(B, KNOWN, "nebula") is None
    told = in_log(B, OverlayPeer(B.address, turns=("192.0.2.2:4242", "192.0.2.9:4242"), changes=3), "nebula")
    assert told is not None
    message, (remedy,), measured = told
    assert message == (
        "nebula sees the certificate of b (10.99.0.2) at 192.0.2.2:4242 and at 192.0.2.9:4242 in turn, with 3 changes "
        "in the last minutes of its log: two machines use it"
    )
    assert "on 192.0.2.2 and on 192.0.2.9" in "".join(remedy.lines)
    assert measured["other_endpoint"] == "192.0.2.9:4242"
