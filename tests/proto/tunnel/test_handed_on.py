"""OpenVPN's server, through which its clients reach each other, and members of Nebula with a network behind them."""

from dataclasses import replace
from ipaddress import ip_network

from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.proto.tunnel.handed_on import NOTHING, handed_on, led_behind, lets_in, server_of

LAN = ip_network("192.168.77.0/24")
NEBULA = OverlayState("nebula", "nebula1", up=True, mtu=1300, routed=((LAN, "10.66.0.3"),), lists_sessions=False)
OPENVPN = OverlayState("openvpn", "tun0", up=True, mtu=1500, met=("10.8.0.1",), lists_sessions=False)


def test_who_hands_packets_on() -> None:
    """The server, but not to itself; of a family of which its address is not known nothing is said."""
    assert server_of(OPENVPN, "10.8.0.6") == "10.8.0.1"
    assert server_of(OPENVPN, "10.8.0.1") is None
    assert server_of(OPENVPN, "fd66::2") is None
    assert server_of(replace(OPENVPN, met=("10.8.0.6",), lists_sessions=True), "10.8.0.7") is None
    assert server_of(OverlayState("generic", "vx0", up=True, mtu=1450, met=("10.8.0.1",)), "10.8.0.6") is None


def test_what_its_answer_leaves_open() -> None:
    """Every possibility is in the sentence, and the lines are for the server."""
    words, (remedy,) = handed_on("b", "10.8.0.1")
    for each in ("10.8.0.1", "b is not connected", "client-to-client", "iroute"):
        assert each in words
    assert (remedy.kind, remedy.where, remedy.host) == ("next", "peer", None)


def test_a_network_behind_a_member() -> None:
    """What its certificate has only the host map shows; without that it is open, and said to be."""
    words, (remedy,) = led_behind(NEBULA, "192.168.77.2")
    assert "lead 192.168.77.2 to 10.66.0.3: nebula drops it unless" in words
    assert (remedy.kind, remedy.where, str(LAN) in remedy.lines[0]) == ("next", "peer", True)
    via = OverlayPeer("10.66.0.3", addresses=(ip_network("10.66.0.3/32"),), behind=())
    assert "whose certificate has no network behind it" in led_behind(replace(NEBULA, peers=(via,)), "192.168.77.2")[0]
    assert led_behind(replace(NEBULA, peers=(replace(via, behind=(LAN,)),)), "192.168.77.2") == NOTHING
    assert led_behind(NEBULA, "10.66.0.2") == NOTHING
    assert led_behind(replace(NEBULA, product="wireguard"), "192.168.77.2") == NOTHING


def test_the_rules_of_a_member() -> None:
    """Only Nebula has some in the member's own file."""
    assert "firewall.inbound" in lets_in(NEBULA, "b")[0].lines[0]
    assert lets_in(OPENVPN, "b") == ()
