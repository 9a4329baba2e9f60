"""Tailscale's recorded states in the common model."""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest

from preflight.model.kernel import Link
from preflight.model.overlay import PRIVILEGE, OverlayState
from preflight.overlay.local import LocalError, understood
from preflight.overlay.tailscale import parse_status, state_without
from preflight.proto.control.placement import placement
from preflight.settings.peers import overlay_peers
from tests.kernel_says import into

SAMPLES = Path(__file__).parent / "samples/tailscale"
NOW = datetime(2026, 11, 23, 7, 45, tzinfo=UTC).timestamp()
LINKS = (
    Link(2, "eth0", 1500, up=True, carrier=True, addresses=(ip_interface("10.204.1.1/24"),)),
    Link(3, "tailscale0", 1280, up=True, carrier=True, kind="tun", addresses=(ip_interface("100.64.0.1/32"),)),
)


def read(name: str, now: float = NOW) -> OverlayState:
    """One recorded status."""
    return parse_status(json.loads((SAMPLES / f"status-{name}.json").read_text(encoding="utf-8")), LINKS, now)


@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("healthy", None),
        ("derponly", None),
        ("derpdown", None),
        ("udpblocked", None),
        ("controldown", None),
        ("ctldown_3", None),
        ("deleted", None),
        ("peeroffline", None),
        ("peerkeyexpired", None),
        ("peerexpired-headscale", None),
        ("selfkeyexpired", "overlay.key-expired"),
        ("selfexpired-headscale", "overlay.key-expired"),
        ("stopped", "overlay.down"),
        ("loggedout", "overlay.logged-out"),
        ("needslogin", "overlay.logged-out"),
        ("wrongkey", "overlay.logged-out"),
        ("control-untrusted", "overlay.logged-out"),
    ],
)
def test_the_condition_of_each_recorded_state(name: str, condition: str | None) -> None:
    """Only what stops this node is a condition; an expiry is also found where the control server never flags it."""
    assert read(name).condition == condition


def test_a_key_that_outlives_its_expiry() -> None:
    """Some control servers do nothing at the expiry: what was sent afterwards, in a session in use, shows it."""
    later = datetime(2026, 11, 28, 0, 43, 30, tzinfo=UTC).timestamp()
    own, peers = read("selfexpired", later), read("peerexpired", later)
    assert own.condition is None
    assert "its key expired at 2026-11-28T00:43:01Z, and its sessions go on" in own.health
    assert [peer.expired for peer in peers.peers] == [False]


@pytest.mark.parametrize(
    ("name", "address", "route", "place"),
    [
        ("noroutes", "10.50.0.7", "eth0", "leak"),
        ("acceptroutes", "10.50.0.7", "tailscale0", "overlay"),
        ("acceptroutes", "100.64.0.2", "tailscale0", "overlay"),
        # What only the exit takes leaves the overlay behind it, in clear, whatever the address is.
        ("exitnode", "192.168.7.7", "tailscale0", "off"),
        ("exitnode", "8.8.8.8", "tailscale0", "off"),
        ("exitnode", "100.64.0.2", "tailscale0", "overlay"),
        ("healthy", "100.64.0.9", "eth0", "off"),
    ],
)
def test_where_bearers_may_go(name: str, address: str, route: str, place: str) -> None:
    """The kernel's route and the daemon's list of owners, together: a stranger in the LAN gets nothing."""
    state = replace(read(name), routes={address: into(address, route)})
    assert placement(address, state) == place


def test_an_expiry_in_the_future_is_none() -> None:
    """The same document an hour before the key runs out."""
    assert read("selfkeyexpired", NOW - 3600).condition is None


def test_a_healthy_state_in_full() -> None:
    """Interface, prefixes and the peer as all products report them."""
    state = read("healthy")
    assert (state.interface, state.up, state.mtu, state.version) == ("tailscale0", True, 1280, "1.82.5-ho")
    assert state.claims("100.64.0.2") == 32
    assert state.claims("10.204.1.1") == -1
    peer = state.peer_for("100.64.0.2")
    assert peer is not None
    assert (peer.name, peer.endpoint, peer.relayed, peer.online) == ("nb", "10.204.2.1:41641", False, True)
    assert (peer.rx_bytes, peer.tx_bytes) == (860, 948)
    assert peer.last_handshake_unix_s == pytest.approx(datetime(2026, 11, 23, 7, 12, 6, 517804, UTC).timestamp())


@pytest.mark.parametrize(("name", "relayed"), [("derponly", True), ("udpblocked", True), ("healthy", False)])
def test_relayed_or_direct(name: str, relayed: bool) -> None:
    """The health messages are silent about a relayed path; the addresses show it."""
    peer = read(name).peer_for("100.64.0.2")
    assert peer is not None
    assert peer.relayed is relayed


@pytest.mark.parametrize("name", ["stopped", "peeroffline", "controldown", "ctldown_3", "deleted"])
def test_an_idle_peer_is_not_called_relayed(name: str) -> None:
    """An idle peer has no path either; calling that relayed would be a false alarm."""
    peer = read(name).peer_for("100.64.0.2")
    assert peer is not None
    assert peer.relayed is not True or name == "peeroffline"


def test_what_is_said_of_peers_is_not_believed_without_control_server() -> None:
    """`Online` of peers goes stale when this node lost its control server, and says so nowhere."""
    lost = read("deleted")
    peer = lost.peer_for("100.64.0.2")
    assert peer is not None
    assert peer.online is None
    assert any(each.code == "overlay.offline" and "control server" in each.said for each in lost.complaints)


@pytest.mark.parametrize("name", ["peerkeyexpired", "peerexpired-headscale"])
def test_a_peer_s_expired_key(name: str) -> None:
    """Flagged or only in the past: either way the peer's key has expired."""
    peer = read(name).peer_for("100.64.0.2")
    assert peer is not None
    assert peer.expired


def test_the_login_error_is_kept() -> None:
    """The reason for being logged out is in the daemon's health lines."""
    assert any("invalid authkey" in line for line in read("wrongkey").health)


@pytest.mark.parametrize(
    ("kind", "condition", "unreadable"),
    [("absent", "overlay.daemon-down", "x"), ("privilege", None, PRIVILEGE), ("garbage", None, "x")],
)
def test_without_the_daemon(kind: Any, condition: str | None, unreadable: str) -> None:
    """No daemon is a condition, no privilege is not; without interface there is still a state."""
    for links in (LINKS, ()):
        state = state_without(links, LocalError(kind, "x"))
        assert (state.condition, state.unreadable, state.interface) == (condition, unreadable, "tailscale0")


@pytest.mark.parametrize(
    "status", [{}, [], "x", None, {"BackendState": "Running", "Peer": {"k": 7}}, {"BackendState": 1}]
)
def test_another_version_s_answer_is_garbage_or_a_state(status: Any) -> None:
    """Whatever JSON a daemon answers, the reader does not break."""
    with suppress(LocalError), understood("tailscaled"):
        assert parse_status(status, LINKS, NOW).product == "tailscale"


@pytest.mark.parametrize(("last_seen", "away"), [("2026-10-01T00:00:00Z", True), ("2026-11-28T00:00:00Z", False)])
def test_a_machine_that_has_been_off_for_long(last_seen: str, *, away: bool) -> None:
    """An old laptop is not a target that is found, and one that went off an hour ago is."""
    status = json.loads((SAMPLES / "live2/status-peerdown.json").read_text(encoding="utf-8"))
    for peer in status["Peer"].values():
        peer |= {"Online": False, "LastSeen": last_seen}
    state = parse_status(status, (), datetime.fromisoformat("2026-11-28T01:00:00Z").timestamp())
    assert {peer.away for peer in state.peers} == {away}
    assert len(overlay_peers((), state)) == len(state.peers)
    others = (
        *state.peers,
        replace(state.peers[0], key="k", name="nc", away=False, addresses=(ip_network("100.64.0.9"),)),
    )
    found = {peer.address for peer in overlay_peers((), replace(state, peers=others))}
    assert found == ({"100.64.0.9"} if away else {"100.64.0.9", "100.64.0.2"})
