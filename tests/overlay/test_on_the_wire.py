"""The overlay checks on a real WireGuard tunnel that is broken for real, one fault at a time."""

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from preflight_checks.host_rp_filter import host_rp_filter
from preflight_checks.overlay_interface import overlay_interface
from preflight_checks.overlay_mtu import overlay_mtu
from preflight_checks.overlay_route import overlay_route
from preflight_checks.overlay_session import overlay_session
from preflight_checks.reach_icmp import reach_icmp
from preflight_checks.reach_traceroute import reach_traceroute

from preflight.api import Check, Context, Peer, Result, Status
from preflight.fixing.applier import Ran, apply, undo
from preflight.model.change import Command
from preflight.model.kernel import Link
from preflight.model.overlay import PRIVILEGE, OverlayState
from preflight.net import Net
from preflight.overlay import wireguard
from preflight.overlay.read import read_overlay
from preflight.settings.load import Settings
from preflight.settings.schema import OverlaySettings

if TYPE_CHECKING:
    from tests.overlay.conftest import Node, Pair

pytestmark = pytest.mark.lab

B = (Peer("10.99.0.2", "b"),)


def on(node: "Node", *checks: Check, peers: Sequence[Peer] = B, interface: str | None = None) -> list[Result]:
    """Run checks on a node, all with the overlay's state read first, as a run does."""

    async def run() -> list[Result]:
        settings = Settings(peers=tuple(peers), overlay=OverlaySettings(interface=interface))
        net = Net(settings)
        context = Context(settings, tuple(peers), await net.overlay(), net)
        try:
            return [result for check in checks for result in [r async for r in check.function(context)]]
        finally:
            await net.control.aclose()

    with node.inside():
        return asyncio.run(run())


def _command(result: Result) -> Command:
    """What the only fix of a result runs."""
    (remedy,) = result.remedies
    assert remedy.fix is not None
    (command,) = remedy.fix.commands
    return command


def code(node: "Node", check: Check) -> str | None:
    """The code of a check's only result."""
    (result,) = on(node, check)
    return str(result.code) if result.code else None


def state(node: "Node") -> OverlayState:
    """The overlay as a node reads it."""
    with node.inside():
        found = asyncio.run(read_overlay(OverlaySettings()))
    assert found is not None
    return found


def test_the_state_is_what_wg_shows(tunnel: "Pair") -> None:
    """Read through the daemon's socket: own key, peer, address, MTU, and no private key anywhere."""
    found = state(tunnel.a)
    assert (found.product, found.interface, found.up, found.mtu) == ("wireguard", tunnel.a.interface, True, 1420)
    assert (found.public_key, found.listen_port) == (tunnel.a.public_key, 51820)
    assert found.lists_owners
    (peer,) = found.peers
    assert (peer.key, peer.endpoint) == (tunnel.b.public_key, "10.203.1.2:51820")
    assert tunnel.a.private_key not in repr(found)


def test_wg_stands_in_where_netlink_gives_nothing(daemons: "Pair", tunnel: "Pair") -> None:
    """The same state by `wg show all dump`; an interface that it does not list may not be read."""
    links = (Link(9, tunnel.a.interface, 1420, up=True, carrier=True, kind="wireguard"),)
    with tunnel.a.inside():
        (found,) = asyncio.run(wireguard.read(links))
        (unread,) = asyncio.run(wireguard.read([replace(links[0], name="wg-nowhere")]))
    assert (found.peers, found.public_key) == (state(tunnel.a).peers, tunnel.a.public_key)
    assert unread.unreadable == PRIVILEGE


def test_a_healthy_tunnel_passes_everything(tunnel: "Pair") -> None:
    """Nothing was ever sent through it: an idle tunnel is not a fault."""
    overlay = (overlay_interface, overlay_mtu, overlay_route, overlay_session)
    results = on(tunnel.a, *overlay, reach_icmp, reach_traceroute, host_rp_filter)
    assert {result.status for result in results} == {Status.PASS}


def test_no_tunnel_is_absent(wire: "Pair") -> None:
    """And a node without overlay gets no pass from anything."""
    assert code(wire.a, overlay_interface) == "overlay.absent"


def test_a_tunnel_that_is_down_or_has_no_address(tunnel: "Pair") -> None:
    """Two states of the interface, two codes."""
    tunnel.a.run("ip", "address", "flush", "dev", tunnel.a.interface)
    assert code(tunnel.a, overlay_interface) == "overlay.no-address"
    tunnel.a.run("ip", "link", "set", tunnel.a.interface, "down")
    assert code(tunnel.a, overlay_interface) == "overlay.down"


def test_a_daemon_that_hangs_is_found_and_holds_up_nothing(daemons: "Pair", tunnel: "Pair") -> None:
    """A stopped process still has its interface and its socket."""
    tunnel.a.signal(signal.SIGSTOP)
    try:
        assert code(tunnel.a, overlay_interface) == "overlay.daemon-down"
        assert code(tunnel.a, overlay_session) == "overlay.daemon-down"
    finally:
        tunnel.a.signal(signal.SIGCONT)


def test_a_peer_that_does_not_know_us(tunnel: "Pair") -> None:
    """Initiations stay unanswered although the host is up: both are said."""
    tunnel.b.run("wg", "set", tunnel.b.interface, "peer", tunnel.a.public_key, "remove")
    (result,) = on(tunnel.a, overlay_session)
    assert str(result.code) == "overlay.no-handshake"
    assert "2 handshake initiations" in result.message
    assert "its host answers ping" in result.message
    assert tunnel.a.public_key in (result.remedy or "")


def test_a_blocked_underlay_port(tunnel: "Pair") -> None:
    """The endpoint does not answer, and that is what the message says."""
    tunnel.b.filter("input", "udp dport 51820 drop")
    (result,) = on(tunnel.a, overlay_session)
    assert str(result.code) == "overlay.no-handshake"
    assert "10.203.1.2:51820 does not answer" in result.message


def test_a_closed_port_is_proved(tunnel: "Pair") -> None:
    """Port-unreachable distinguishes it from a key that is wrong."""
    tunnel.a.run("wg", "set", tunnel.a.interface, "peer", tunnel.b.public_key, "endpoint", "10.203.1.2:51999")
    (result,) = on(tunnel.a, overlay_session)
    assert str(result.code) == "overlay.no-handshake"
    assert "51999" in result.message
    assert "port-unreachable" in result.message


def test_a_preshared_key_on_one_side_only(tunnel: "Pair", tmp_path: Path) -> None:
    """The handshake never completes; the remedy names the preshared key."""
    key = tmp_path / "psk"
    key.write_text(tunnel.b.run("wg", "genpsk"))
    tunnel.b.run("wg", "set", tunnel.b.interface, "peer", tunnel.a.public_key, "preshared-key", str(key))
    (result,) = on(tunnel.a, overlay_session)
    assert str(result.code) == "overlay.no-handshake"
    assert "preshared key" in (result.remedy or "")


def test_the_remedy_for_allowed_ips_works(tunnel: "Pair") -> None:
    """The command is typed as it is printed, and then the tunnel carries."""
    tunnel.a.run("wg", "set", tunnel.a.interface, "peer", tunnel.b.public_key, "allowed-ips", "10.99.0.7/32")
    (result,) = on(tunnel.a, overlay_session)
    assert str(result.code) == "overlay.allowed-ips"
    tunnel.a.run(*_command(result))
    assert {r.status for r in on(tunnel.a, overlay_session, reach_icmp)} == {Status.PASS}


def test_an_endpoint_inside_the_tunnel(tunnel: "Pair") -> None:
    """The tunnel's own packets go round in a circle; the line of the remedy, in a shell, leads them out."""
    tunnel.a.run("ip", "route", "add", "10.203.1.2/32", "dev", tunnel.a.interface)
    (result,) = on(tunnel.a, overlay_session)
    assert str(result.code) == "overlay.endpoint-loop"
    tunnel.a.run("sh", "-c", result.remedies[0].lines[0])
    assert code(tunnel.a, overlay_session) is None


def test_a_loop_is_broken_and_made_again(tunnel: "Pair") -> None:
    """The applier takes the same way out as the line, and its undo brings back what was there."""
    tunnel.a.run("ip", "route", "add", "10.203.1.2/32", "dev", tunnel.a.interface)
    fix = on(tunnel.a, overlay_session)[0].remedies[0].fix
    assert fix is not None

    def run(argv: Sequence[str]) -> Ran:
        return Ran(0, tunnel.a.run(*argv))

    done = apply(fix, run)
    assert code(tunnel.a, overlay_session) is None
    undo(done, run)
    assert "dev " + tunnel.a.interface in tunnel.a.run("ip", "route", "get", "10.203.1.2")


def test_an_endpoint_without_route(tunnel: "Pair") -> None:
    """Nothing leaves at all; the kernel's reason is reported."""
    tunnel.a.run("ip", "route", "del", "10.203.1.0/24")
    (result,) = on(tunnel.a, overlay_session)
    assert str(result.code) == "overlay.no-handshake"
    assert "Network is unreachable" in result.message


def test_the_node_s_own_firewall(tunnel: "Pair") -> None:
    """The peer is not to blame for what never leaves."""
    tunnel.a.filter("output", "ip daddr 10.99.0.2 drop")
    assert code(tunnel.a, overlay_session) == "host.firewall-drop"


def test_the_remedy_for_a_leak_works(tunnel: "Pair") -> None:
    """A host route to the underlay; the route of the remedy takes its place. The session is not to blame."""
    tunnel.a.run("ip", "route", "add", "10.99.0.2/32", "via", "10.203.1.2")
    (result,) = on(tunnel.a, overlay_route)
    assert str(result.code) == "overlay.route-leak"
    assert code(tunnel.a, overlay_session) is None
    tunnel.a.run(*_command(result))
    assert code(tunnel.a, overlay_route) is None


def test_the_remedy_for_a_conflict_works(tunnel: "Pair") -> None:
    """The LAN has the overlay's prefix; a host route into the tunnel settles it for this peer."""
    tunnel.a.run("ip", "address", "add", "10.99.0.77/24", "dev", "eth0")
    (result,) = on(tunnel.a, overlay_route)
    assert str(result.code) == "overlay.subnet-conflict"
    tunnel.a.run(*_command(result))
    assert code(tunnel.a, overlay_route) is None


def test_the_remedy_for_the_mtu_works(tunnel: "Pair") -> None:
    """1500 over 1500 does not fit; what is advised does."""
    tunnel.a.run("ip", "link", "set", tunnel.a.interface, "mtu", "1500")
    (result,) = on(tunnel.a, overlay_mtu)
    assert str(result.code) == "overlay.mtu-too-big"
    tunnel.a.run(*_command(result))
    assert code(tunnel.a, overlay_mtu) is None
    assert state(tunnel.a).mtu == 1420


def test_an_interface_that_disappears_during_the_run(tunnel: "Pair") -> None:
    """Read as there, gone when it is watched: a result with a code."""

    async def run() -> list[Result]:
        settings = Settings(peers=B)
        net = Net(settings)
        context = Context(settings, B, await net.overlay(), net)
        await asyncio.to_thread(tunnel.a.stop)
        return [result async for result in overlay_session.function(context)]

    with tunnel.a.inside():
        (result,) = asyncio.run(run())
    assert (result.status, str(result.code)) == (Status.FAIL, "overlay.absent")


def test_a_filtered_echo_is_only_that(tunnel: "Pair") -> None:
    """The peer's port-unreachable proves that UDP comes back."""
    tunnel.b.filter("input", "icmp type echo-request drop")
    (result,) = on(tunnel.a, reach_icmp)
    assert (result.status, str(result.code)) == (Status.WARN, "reach.icmp-filtered")
    (shown,) = on(tunnel.a, reach_traceroute)
    assert shown.status is Status.PASS


def test_a_dead_peer_is_unreachable(tunnel: "Pair") -> None:
    """After a handshake the session still looks young; only traffic shows the fault."""
    assert code(tunnel.a, overlay_session) is None
    tunnel.b.stop()
    assert code(tunnel.a, overlay_session) is None
    assert code(tunnel.a, reach_icmp) == "reach.unreachable"


def test_a_strict_filter_that_drops_what_the_peer_sends(tunnel: "Pair") -> None:
    """Strict, and answers come in by the tunnel while the way back leads elsewhere: the kernel counts the drops."""
    a = tunnel.a
    a.run("sysctl", "-qw", f"net.ipv4.conf.{a.interface}.rp_filter=1", "net.ipv4.conf.all.rp_filter=0")
    assert code(a, host_rp_filter) is None
    # What goes out is marked into the tunnel, what comes in is checked against the main table.
    a.run("ip", "route", "add", "10.99.0.2/32", "via", "10.203.1.2")
    a.run("ip", "route", "add", "10.99.0.0/24", "dev", a.interface, "src", a.overlay, "table", "77")
    a.run("ip", "rule", "add", "ipproto", "icmp", "iif", "lo", "lookup", "77")
    (result,) = on(a, host_rp_filter)
    assert str(result.code) == "host.rp-filter"
    a.run(*_command(result))
    assert code(a, host_rp_filter) is None
