"""OpenVPN's server, through which its clients reach each other."""

from preflight.model.overlay import OverlayState
from preflight.proto.tunnel.handed_on import handed_on, server_of

OPENVPN = OverlayState("openvpn", "tun0", up=True, mtu=1500, met=("10.8.0.1",))


def test_who_hands_packets_on() -> None:
    """The server, but not to itself; of a family of which its address is not known nothing is said."""
    assert server_of(OPENVPN, "10.8.0.6") == "10.8.0.1"
    assert server_of(OPENVPN, "10.8.0.1") is None
    assert server_of(OPENVPN, "fd66::2") is None
    assert server_of(OverlayState("generic", "vx0", up=True, mtu=1450, met=("10.8.0.1",)), "10.8.0.6") is None


def test_what_its_answer_leaves_open() -> None:
    """Every possibility is in the sentence, and the lines are for the server."""
    words, (remedy,) = handed_on("b", "10.8.0.1")
    for each in ("10.8.0.1", "b is not connected", "client-to-client", "iroute"):
        assert each in words
    assert (remedy.kind, remedy.where, remedy.host) == ("next", "peer", None)
