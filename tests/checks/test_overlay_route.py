"""overlay.route: which way out is a leak, which a conflict, and which is right."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest
from preflight_checks.overlay_route import judge, of_the_flow

from preflight.api import Peer, Status
from preflight.model.kernel import Doubt, Link, Route
from preflight.model.overlay import OverlayPeer, OverlayState

PEER = Peer("10.66.0.2", "b")
STATE = OverlayState(product="wireguard", interface="wg0", up=True, mtu=1420)
LO = Link(1, "lo", 65536, up=True, carrier=True, loopback=True, addresses=(ip_interface("127.0.0.1/8"),))
WG = Link(3, "wg0", 1420, up=True, carrier=True, addresses=(ip_interface("10.66.0.1/24"),))
ETH = Link(2, "eth0", 1500, up=True, carrier=True, addresses=(ip_interface("192.168.1.5/24"),))
IN = Route("10.66.0.2", interface="wg0", source="10.66.0.1", matched=ip_network("10.66.0.0/24"))
OUT = Route("10.66.0.2", interface="eth0", gateway="192.168.1.1", source="192.168.1.5", matched=ip_network("0.0.0.0/0"))
SAME_LAN = replace(ETH, addresses=(ip_interface("10.66.0.77/24"),))


@pytest.mark.parametrize(
    ("route", "lan", "code", "remedy"),
    [
        (IN, ETH, None, None),
        (OUT, ETH, "overlay.route-leak", "ip route replace 10.66.0.2/32 dev wg0"),
        (
            replace(OUT, matched=ip_network("10.66.0.2/32")),
            ETH,
            "overlay.route-leak",
            "ip route replace 10.66.0.2/32 dev wg0",
        ),
        (
            replace(OUT, matched=ip_network("10.66.0.0/25"), table=100),
            ETH,
            "overlay.route-leak",
            "ip route replace 10.66.0.2/32 dev wg0 table 100",
        ),
        (
            Route("10.66.0.2", error="Network is unreachable"),
            ETH,
            "overlay.route-leak",
            "ip route replace 10.66.0.2/32 dev wg0",
        ),
        # The same prefix on both: a conflict whichever way the kernel happens to choose.
        (IN, SAME_LAN, "overlay.subnet-conflict", "ip route replace 10.66.0.2/32 dev wg0"),
        (replace(OUT, gateway=None, matched=ip_network("10.66.0.0/24")), SAME_LAN, "overlay.subnet-conflict", "wg0"),
        # A host route into the tunnel settles it; so does a LAN that is down or that is wider than the overlay's route.
        (replace(IN, matched=ip_network("10.66.0.2/32")), SAME_LAN, None, None),
        (IN, replace(SAME_LAN, up=False), None, None),
        (IN, replace(ETH, addresses=(ip_interface("10.66.0.77/16"),)), None, None),
        # A leak through a host route is a leak, although the LAN overlaps too.
        (replace(OUT, matched=ip_network("10.66.0.2/32")), SAME_LAN, "overlay.route-leak", "ip route replace"),
    ],
)
def test_routes(route: Route, lan: Link, code: str | None, remedy: str | None) -> None:
    """The entry that decides, and how specific it is compared with the local networks, show the cause."""
    result = judge(PEER, STATE, route, (LO, lan, WG))
    assert (str(result.code) if result.code else None) == code
    assert remedy is None or remedy in (result.remedy or "")


B = OverlayPeer("b", addresses=(ip_network("10.66.0.2/32"),))
C = OverlayPeer("c", addresses=(ip_network("10.66.0.3/32"),))
OWN = (ip_interface("10.66.0.1/32"),)
TO_B = replace(STATE, interface="wg-b", addresses=OWN, peers=(B,))
TO_C = replace(STATE, interface="wg-c", addresses=OWN, peers=(C,))
OFFICE = replace(STATE, interface="vpn0", peers=(replace(C, addresses=(ip_network("0.0.0.0/0"),)),))


@pytest.mark.parametrize(
    ("state", "way", "code"),
    [
        (replace(TO_C, further=(TO_B,)), "wg-b", None),
        (replace(TO_B, further=(TO_C,)), "wg-b", None),
        (replace(TO_B, further=(TO_C,)), "wg-c", "overlay.route-leak"),
        (replace(TO_B, further=(TO_C,)), "eth0", "overlay.route-leak"),
        (replace(TO_B, further=(OFFICE,)), "vpn0", "overlay.route-leak"),
    ],
)
def test_each_peer_is_judged_on_the_tunnel_that_owns_it(state: OverlayState, way: str, code: str | None) -> None:
    """With a tunnel for each peer, and with another VPN: the remedy for a false leak would cut a working peer off."""
    tunnels = [replace(WG, index=n, name=name, kind="tun") for n, name in enumerate(("wg-b", "wg-c", "vpn0"), 5)]
    result = judge(PEER, state, replace(IN, interface=way, matched=ip_network("10.66.0.2/32")), (LO, ETH, *tunnels))
    assert (str(result.code) if result.code else None) == code


def test_a_lan_behind_the_tunnels_own_table_is_no_rival() -> None:
    """wg-quick's rule looks at the tunnel's table first: a wide LAN that holds the address changes nothing."""
    wide = replace(ETH, addresses=(ip_interface("10.66.0.77/16"),))
    route = replace(IN, matched=ip_network("0.0.0.0/0"), table=51820)
    assert judge(PEER, STATE, route, (LO, wide, WG)).status is Status.PASS


def test_a_peers_address_that_this_node_has_too() -> None:
    """Packets for the peer never leave; the node's own entry in a file for the whole fleet is left out before."""
    own = Route("10.66.0.2", interface="lo", source="10.66.0.2", matched=ip_network("10.66.0.2/32"), local=True)
    result = judge(PEER, STATE, own, (LO, replace(ETH, addresses=(ip_interface("10.66.0.2/32"),)), WG))
    assert (result.status, str(result.code)) == (Status.FAIL, "overlay.duplicate-address")
    assert "10.66.0.2, the overlay address of b, is an address of this node too, on eth0" in result.message


def test_an_overlay_on_loopback_reaches_its_peers_there() -> None:
    """The lab without root has lo for an overlay; its local routes are the right ones."""
    state = replace(STATE, product="generic", interface="lo")
    route = Route("127.0.0.2", interface="lo", source="127.0.0.1", matched=ip_network("127.0.0.0/8"), local=True)
    assert judge(Peer("127.0.0.2"), state, route, (LO, ETH)).status is Status.PASS


def test_ipv6_peers_get_ipv6_commands() -> None:
    """A host route of an IPv6 address has 128 bits."""
    route = Route("fd66::2", interface="eth0", gateway="fe80::1", matched=ip_network("::/0"))
    assert judge(Peer("fd66::2"), STATE, route, (ETH,)).remedy == "ip route replace fd66::2/128 dev wg0"


def test_another_tunnel_is_never_cut() -> None:
    """One tunnel per peer, with one address on all: a route by the other tunnel is right, so it is only looked at."""
    other = replace(ETH, name="wg1", kind="wireguard")
    result = judge(PEER, STATE, replace(OUT, interface="wg1", matched=ip_network("10.66.0.2/32")), (LO, other, WG))
    assert [remedy.kind for remedy in result.remedies] == ["next"]


def test_only_a_peer_of_this_tunnel_gets_a_route_into_it() -> None:
    """A route to a tunnel in which nobody has the address, or whose product writes the routes, would not heal."""
    owner = OverlayPeer("K", addresses=(ip_network("10.66.0.2/32"),))
    stranger = replace(owner, addresses=(ip_network("10.66.0.9/32"),))
    kinds = [
        judge(PEER, state, OUT, (LO, ETH, WG)).remedies[0].kind
        for state in (
            replace(STATE, peers=(owner,)),
            replace(STATE, peers=(stranger,)),
            replace(STATE, peers=(owner,), product="tailscale"),
        )
    ]
    assert kinds == ["fix", "next", "next"]


@pytest.mark.parametrize(("control", "lines"), [("10.66.0.3", 2), ("10.66.0.2", 1), ("192.0.2.3", 1), (None, 1)])
def test_a_conflict_leads_the_control_plane_astray_too(control: str | None, lines: int) -> None:
    """One cause, so its fix is for both addresses: with the peer's route alone the next run fails again."""
    members = (OverlayPeer(key="k", addresses=(ip_network("10.66.0.2/32"), ip_network("10.66.0.3/32"))),)
    found = judge(PEER, replace(STATE, peers=members), IN, (LO, SAME_LAN, WG), control)
    assert len(found.remedies) == lines


@pytest.mark.parametrize(
    ("product", "network", "remedy"),
    [
        ("tailscale", "10.66.0.0/24", "tailscale set --accept-routes=false"),
        ("zerotier", "10.66.0.0/16", "Take the route 10.66.0.0/16 out of the network"),
        ("nebula", "10.66.0.0/24", "ip route show table all dev other0"),
    ],
)
def test_another_product_has_the_network_too(product: str, network: str, remedy: str) -> None:
    """Both are named, with the lever of the one that takes too much; and nothing is called a fix."""
    owned = (ip_network(network),)
    peers = (replace(C, addresses=owned),) if product == "tailscale" else ()
    other = OverlayState(product, "other0", up=True, mtu=1280, peers=peers, prefixes=owned)
    route = Route("10.66.0.2", interface="other0", matched=owned[0], table=52)
    result = judge(PEER, replace(TO_B, further=(other,)), route, (LO, ETH))
    assert str(result.code) == "overlay.subnet-conflict"
    assert f"{product} on other0 has the network {network}" in result.message
    assert "b on wg-b (wireguard)" in result.message
    assert remedy in (result.remedy or "")
    assert {each.kind for each in result.remedies} == {"next"}


def test_an_address_that_none_of_several_overlays_has() -> None:
    """Which one should have it is not known: none of them is accused, as the first one was."""
    wg0 = OverlayState(
        "wireguard", "wg0", up=True, mtu=1420, peers=(OverlayPeer("k", addresses=(ip_network("10.7.0.2/32"),)),)
    )
    both = replace(wg0, further=(replace(wg0, product="tailscale", interface="tailscale0"),))
    found = judge(PEER, both, OUT, [LO, ETH, WG])
    assert (found.status, str(found.code)) == (Status.FAIL, "overlay.route-leak")
    assert found.message.startswith("none of this node's overlays has 10.66.0.2: wg0 (wireguard), tailscale0 (tailsc")
    assert "its packets go elsewhere: 10.66.0.2 via 192.168.1.1" in found.message
    assert found.remedies[0].kind == "next"


def test_a_mark_that_leads_packets_out_of_the_overlay() -> None:
    """The route without a mark leads into it: that passed, and the packets left outside."""
    good, bad = judge(PEER, STATE, IN, [LO, ETH, WG]), judge(PEER, STATE, OUT, [LO, ETH, WG])
    assert of_the_flow(good, PEER, STATE, replace(IN, mark=0x80000)) is good
    found = of_the_flow(bad, PEER, STATE, replace(OUT, mark=0x80000))
    assert found.status is Status.FAIL
    assert found.message == f"{bad.message}, by the mark 0x80000 that a rule of this node's firewall gives them"
    assert [each.kind for each in found.remedies] == ["next"]


def test_a_mark_that_only_root_may_read_about_is_no_leak() -> None:
    """An ordinary user reads which rule may lead the packets into the tunnel; one past it excuses nothing."""
    bad = judge(PEER, STATE, OUT, [LO, ETH, WG])
    into, past = Doubt("90: fwmark 0x7 lookup 100", "wg0"), Doubt("90: fwmark 0x7 lookup 100", "wlan0")
    found = of_the_flow(bad, PEER, STATE, replace(OUT, doubt=into))
    assert (found.status, str(found.code)) == (Status.SKIP, "run.needs-privilege")
    assert "`90: fwmark 0x7 lookup 100` sends packets with its mark into wg0" in found.message
    assert of_the_flow(bad, PEER, STATE, replace(OUT, doubt=past)) is bad
