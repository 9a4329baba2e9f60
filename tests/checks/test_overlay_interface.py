"""overlay.interface: what each state of the overlay is called, and what to type."""

from ipaddress import ip_interface, ip_network
from typing import Any

import pytest
from preflight_checks.overlay_interface import judge

from preflight.api import Status
from preflight.model.kernel import Link
from preflight.model.overlay import PRIVILEGE, ConfiguredTunnel, OverlayPeer, OverlayState

LINKS = (Link(1, "lo", 65536, up=True, carrier=True), Link(2, "eth0", 1500, up=True, carrier=True))
UP: dict[str, Any] = {"interface": "wg0", "up": True, "mtu": 1420, "addresses": (ip_interface("10.66.0.1/24"),)}


def test_a_tunnel_without_a_file_gets_its_routes_back() -> None:
    """The kernel forgot them when the device went down; its own network comes back with its address."""
    networks = tuple(map(ip_network, ("10.66.0.2/32", "192.168.7.0/24", "0.0.0.0/0")))
    state = OverlayState(product="wireguard", **UP | {"up": False}, peers=(OverlayPeer("k", addresses=networks),))
    lines = [line for remedy in judge(state, LINKS, None).remedies for line in remedy.lines]
    assert lines == ["ip link set dev wg0 up", "ip route replace 192.168.7.0/24 dev wg0"]


def test_a_tunnel_that_was_not_started_is_named() -> None:
    """Its file shows which one to start; of several a person decides."""
    result = judge(None, LINKS, None, stopped=("wg3",))
    assert result.remedies[0].lines == ("wg-quick up wg3",)
    assert "wg3, which has a wg-quick file, is not there" in result.message
    assert judge(None, LINKS, None, stopped=("wg3", "wg4")).remedies[0].fix is None


def test_a_node_without_overlay_is_absent_and_says_what_was_looked_for() -> None:
    """Absence must never pass, and the operator must see which interfaces were considered."""
    result = judge(None, LINKS, None)
    assert (result.status, str(result.code)) == (Status.FAIL, "overlay.absent")
    for word in ("WireGuard", "Tailscale", "ZeroTier", "Nebula", "eth0"):
        assert word in result.message
    assert "overlay.interface" in (result.remedy or "")


def test_a_missing_named_interface_is_named() -> None:
    """The settings' interface is what is missing, so that is what the message and the command name: a command that
    heals only where wg-quick has a file of it, for it may be OpenVPN's.
    """
    result = judge(None, LINKS, "wg7", stopped=("wg7",))
    assert str(result.code) == "overlay.absent"
    assert "wg7" in result.message
    assert result.remedy == "wg-quick up wg7"
    (remedy,) = judge(None, LINKS, "tun7").remedies
    assert (remedy.kind, "tun7" in remedy.lines[0]) == ("next", True)


def test_a_working_overlay_passes_with_its_addresses() -> None:
    """The one good state."""
    result = judge(OverlayState(product="wireguard", **UP), LINKS, None)
    assert result.status is Status.PASS
    assert "10.66.0.1/24" in result.message


@pytest.mark.parametrize(
    ("change", "code", "remedy"),
    [
        ({"up": False}, "overlay.down", "ip link set dev wg0 up"),
        ({"addresses": ()}, "overlay.no-address", "ip address add ADDRESS/PREFIX dev wg0"),
        ({"condition": "overlay.daemon-down"}, "overlay.daemon-down", "wg-quick down wg0\nwg-quick up wg0"),
        ({"product": "tailscale", "condition": "overlay.daemon-down"}, "overlay.daemon-down", "systemctl"),
        ({"product": "tailscale", "condition": "overlay.logged-out"}, "overlay.logged-out", "tailscale up"),
        ({"product": "tailscale", "condition": "overlay.key-expired"}, "overlay.key-expired", "--force-reauth"),
        ({"product": "tailscale", "condition": "overlay.not-authorized"}, "overlay.not-authorized", "Approve"),
        ({"product": "zerotier", "condition": "overlay.not-authorized"}, "overlay.not-authorized", "Authorise"),
        ({"product": "nebula", "condition": "overlay.key-expired"}, "overlay.key-expired", "nebula-cert"),
    ],
)
def test_each_bad_state_has_its_code_and_its_command(change: dict[str, Any], code: str, remedy: str) -> None:
    """A product's own report about itself becomes the contract's code, with the line that fixes it."""
    result = judge(OverlayState(**{"product": "wireguard", **UP, **change}), LINKS, None)
    assert (result.status, str(result.code)) == (Status.FAIL, code)
    assert remedy in (result.remedy or "")


def test_what_the_product_complains_about_is_in_the_message() -> None:
    """At 3 a.m. the daemon's own message is worth more than the code."""
    said = {"condition": "overlay.down", "health": ("Tailscale is stopped.",)}
    state = OverlayState(**{"product": "tailscale", **UP, **said})
    assert "Tailscale is stopped." in judge(state, LINKS, None).message


def test_what_else_is_there_is_said() -> None:
    """With two overlays the reader must see which one was measured."""
    other = OverlayState("tailscale", "tailscale0", up=False, mtu=None)
    more = {"further": (other,)}
    result = judge(OverlayState(**{"product": "wireguard", **UP, **more}), LINKS, None)
    assert result.status is Status.PASS
    assert result.message.endswith("; this run ignores the other overlays of this node: tailscale on tailscale0, down")
    assert result.evidence[0].data["other_overlays"] == ["tailscale on tailscale0, down"]


def test_who_is_on_which_of_several_overlays_is_said() -> None:
    """A control plane on an overlay that has none of the peers is not left out in silence."""
    other = OverlayState("tailscale", "tailscale0", up=True, mtu=1280)
    state = OverlayState(**{"product": "wireguard", **UP, "further": (other,)})
    on = {"wg0": ["b", "c", "d", "e", "f"], "tailscale0": ["the control plane"]}
    said = judge(state, LINKS, None, on=on).message
    assert "MTU 1420, and has b and c and d and e and 1 more; " in said
    assert said.endswith("tailscale on tailscale0, which has the control plane")


def test_an_address_that_its_file_tells_is_in_the_line() -> None:
    """What wg-quick would have set is known here, so nothing is left to be filled in."""
    file = ConfiguredTunnel(
        "/etc/wireguard/wg0.conf", addresses=(ip_interface("10.66.0.1/24"), ip_interface("fd66::1/64"))
    )
    bare = OverlayState(**{"product": "wireguard", **UP, "addresses": (), "configured": file})
    remedy = "ip address add 10.66.0.1/24 dev wg0\nip address add fd66::1/64 dev wg0"
    assert judge(bare, LINKS, None).remedy == remedy


@pytest.mark.parametrize(
    ("table", "lines"),
    [
        (None, ["ip address add 10.66.0.1/24 dev wg0", "ip route replace 192.168.7.0/24 dev wg0"]),
        ("off", ["ip address add 10.66.0.1/24 dev wg0"]),
        ("1234", ["wg-quick down wg0", "wg-quick up wg0"]),
    ],
)
def test_routes_go_where_its_file_has_them(table: str | None, lines: list[str]) -> None:
    """A route of ours in the main table could take what its owner leads elsewhere."""
    networks = tuple(map(ip_network, ("10.66.0.2/32", "192.168.7.0/24")))
    file = ConfiguredTunnel("/etc/wireguard/wg0.conf", addresses=(ip_interface("10.66.0.1/24"),), table=table)
    state = OverlayState(
        product="wireguard",
        **UP | {"addresses": ()},
        configured=file,
        peers=(OverlayPeer("k", addresses=networks),),
    )
    assert [line for remedy in judge(state, LINKS, None).remedies for line in remedy.lines] == lines


@pytest.mark.parametrize(("mtu", "room"), [(1279, "ip link set dev wg0 mtu 1280\n"), (1280, "")])
def test_an_address_of_ipv6_needs_room_first(mtu: int, room: str) -> None:
    """Linux refuses it on a smaller device: the line that adds it does nothing there, and the reason is in hand."""
    file = ConfiguredTunnel("/etc/wireguard/wg0.conf", addresses=(ip_interface("fd66::1/64"),))
    bare = OverlayState(**{"product": "wireguard", **UP, "addresses": (), "configured": file, "mtu": mtu})
    result = judge(bare, LINKS, None)
    assert result.remedy == f"{room}ip address add fd66::1/64 dev wg0"
    assert (f"its MTU is {mtu}" in result.message) is bool(room)


@pytest.mark.parametrize(
    ("networks", "code"),
    [(("fd66::2/128",), "overlay.mtu-too-small"), (("fd66::2/128", "10.66.0.2/32"), "overlay.no-address")],
)
def test_without_a_file_the_peers_show_that_an_overlay_has_ipv6_only(networks: tuple[str, ...], code: str) -> None:
    """Linux has taken the address off a device that is too small; the sentence and the first line give the MTU."""
    peer = OverlayPeer("k", addresses=tuple(map(ip_network, networks)))
    result = judge(OverlayState(product="wireguard", **UP | {"addresses": (), "mtu": 1200}, peers=(peer,)), LINKS, None)
    lines = [line for remedy in result.remedies for line in remedy.lines]
    assert str(result.code) == code
    assert ("ip link set dev wg0 mtu 1280" in lines) == (code == "overlay.mtu-too-small")
    assert any("ADDRESS/PREFIX" in line for line in lines)
    unlisted = OverlayState(product="generic", **UP | {"addresses": (), "mtu": 1200})
    members = [str(network).partition("/")[0] for network in peer.addresses]
    assert str(judge(unlisted, LINKS, None, members=members).code) == code


@pytest.mark.parametrize(
    ("member", "line"),
    [("fd66::2", "Start tun0 again by the program that made it"), ("10.66.0.2", "ip link set dev tun0 up")],
)
def test_a_device_that_went_down_lost_its_ipv6_addresses(member: str, line: str) -> None:
    """Protects from a line that does not heal: set up again, an overlay of IPv6 alone has no address."""
    down = OverlayState(product="generic", **UP | {"interface": "tun0", "up": False, "addresses": ()})
    assert (judge(down, LINKS, None, members=[member]).remedy or "").startswith(line)


@pytest.mark.parametrize(
    ("product", "change", "line"),
    [
        ("zerotier", {"addresses": ()}, "zerotier-cli listnetworks   # OK, with an address?"),
        ("tailscale", {"up": False}, "tailscale status   # logged out, or stopped?"),
    ],
)
def test_who_may_not_ask_the_daemon_is_not_given_its_reason(product: str, change: dict[str, Any], line: str) -> None:
    """The controller was said to give no address, where this node did not take it; and a restart does not log in."""
    state = OverlayState(product=product, **UP | {"interface": "x0"} | change, unreadable=PRIVILEGE)
    result = judge(state, (*LINKS, Link(3, "x0", 1280, up=True, carrier=True)), None)
    assert result.status is Status.FAIL
    assert "authorised" not in result.message
    assert [each.kind for each in result.remedies] == ["next"]
    assert (result.remedy or "").startswith(line)
