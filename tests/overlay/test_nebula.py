"""Nebula's recorded host maps, certificate and configuration in the common model."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest

from preflight.model.kernel import Link
from preflight.model.overlay import OverlayPeer
from preflight.overlay.local import LocalError, understood
from preflight.overlay.nebula import parse_hostmap, state_from

SAMPLE = (Path(__file__).parent / "samples/nebula/states.txt").read_text(encoding="utf-8")
CONFIG = {"tun": {"dev": "neb0"}, "lighthouse": {"hosts": ["10.77.0.1"]}, "pki": {"key": "-----BEGIN SECRET-----"}}
LINKS = (Link(3, "neb0", 1300, up=True, carrier=True, kind="tun", addresses=(ip_interface("10.77.0.10/24"),)),)
NOW = datetime(2026, 11, 23, 6, 58, 34, tzinfo=UTC).timestamp()
CERTIFICATE = {
    "details": {"ips": ["10.77.0.10/24"], "name": "a", "notAfter": "2026-11-23T06:58:35Z", "isCa": False, "subnets": []}
}


def peers(state: str) -> dict[str, OverlayPeer]:
    """The peers of one recorded state, by overlay address."""
    section = SAMPLE.split(f"=== {state}\n")[1].split("\n===")[0].splitlines()
    lists = [next(line.partition(": ")[2] for line in section if line.startswith(w)) for w in ("hostmap", "pending")]
    return {peer.key: peer for peer in parse_hostmap(*map(json.loads, lists))}


def test_a_healthy_host_map() -> None:
    """Lighthouse and peer, both direct."""
    known = peers("healthy")
    assert {key: (peer.endpoint, peer.relayed) for key, peer in known.items()} == {
        "10.77.0.1": ("10.203.3.1:4242", False),
        "10.77.0.20": ("10.203.2.1:4242", False),
    }


def test_a_relayed_peer_names_its_relay() -> None:
    """No current remote and a relay towards us."""
    peer = peers("direct a<->b blocked, established session")["10.77.0.20"]
    assert (peer.endpoint, peer.relayed, peer.relay) == (None, True, "10.77.0.1")


@pytest.mark.parametrize("state", ["lighthouse down, sessions up", "b cert from other CA"])
def test_a_pending_peer_has_no_path(state: str) -> None:
    """A peer that is only waited for is neither direct nor relayed."""
    peer = peers(state)["10.77.0.20"]
    assert (peer.endpoint, peer.relayed) == (None, False)


def test_a_silent_lighthouse_is_a_complaint() -> None:
    """After a restart without lighthouse the host map is empty and everything is pending."""
    silent = tuple(peers("lighthouse down, sessions up").values())
    (complaint,) = state_from(CONFIG, CERTIFICATE, silent, LINKS, NOW).complaints
    assert (complaint.code, complaint.cuts) == ("overlay.offline", True)
    assert complaint.said == (
        "there is no tunnel to the lighthouse 10.77.0.1: the handshakes that nebula sends to 10.203.3.1:4242 do not "
        "complete"
    )
    healthy = tuple(peers("healthy").values())
    assert state_from(CONFIG, CERTIFICATE, healthy, LINKS, NOW).complaints == ()


def test_a_working_network() -> None:
    """The interface is the configuration's, the prefix the certificate's."""
    state = state_from(CONFIG, CERTIFICATE, (), LINKS, NOW)
    assert (state.interface, state.up, state.condition) == ("neb0", True, None)
    assert state.claims("10.77.0.200") == 24
    assert "SECRET" not in repr(state)


def test_a_network_behind_a_member() -> None:
    """An unsafe route is part of the overlay: where its packets leave elsewhere, that is a leak."""
    behind = {"route": "192.168.77.0/24", "via": "10.77.0.20"}
    config = {**CONFIG, "tun": {"dev": "neb0", "unsafe_routes": [behind]}}
    state = state_from(config, CERTIFICATE, (), LINKS, NOW)
    assert (state.claims("192.168.77.2"), state.claims("192.168.78.2")) == (24, -1)


def test_an_expired_certificate() -> None:
    """One second later the node's certificate is worth nothing."""
    assert state_from(CONFIG, CERTIFICATE, (), LINKS, NOW + 2).condition == "overlay.key-expired"


def test_a_configured_network_without_interface_does_not_run() -> None:
    """Nebula's interface goes with its process."""
    state = state_from(CONFIG, None, (), (), NOW)
    assert (state.condition, state.interface) == ("overlay.daemon-down", "neb0")


@pytest.mark.parametrize("hosts", [{}, None, "x", [1], [{}], [{"vpnIp": "nonsense"}]])
def test_another_version_s_answer_is_garbage_or_nothing(hosts: Any) -> None:
    """Whatever JSON the sshd answers, the reader does not break."""
    with suppress(LocalError), understood("nebula"):
        assert parse_hostmap(hosts, []) == ()


def test_where_the_configuration_says_that_members_are() -> None:
    """Without an sshd, which is the default, nothing else says it. Names, and several places, leave it open."""
    hosts = {
        "10.77.0.1": ["192.0.2.1:4242"],
        "10.77.0.2": ["192.0.2.2:4242", "192.0.2.3:4242"],
        "10.77.0.3": ["lighthouse.example:4242"],
        "10.77.0.4": ["[2001:db8::4]:4242"],
    }
    config = {**CONFIG, "static_host_map": hosts, "listen": {"host": "0.0.0.0", "port": 4242}}
    state = state_from(config, CERTIFICATE, None, LINKS, NOW)
    assert [(each.key, each.endpoint) for each in state.called] == [
        ("10.77.0.1", "192.0.2.1:4242"),
        ("10.77.0.4", "[2001:db8::4]:4242"),
    ]
    assert (state.listen_port, state.peers) == (4242, ())
    assert state_from({**config, "listen": {"port": 0}}, CERTIFICATE, None, LINKS, NOW).listen_port is None


def test_what_the_host_map_says_outranks_the_configuration() -> None:
    """A member may have moved, or be reached by a relay alone."""
    config = {**CONFIG, "static_host_map": {"10.77.0.20": ["192.0.2.20:4242"]}}
    direct = state_from(config, CERTIFICATE, tuple(peers("healthy").values()), LINKS, NOW).remote_for("10.77.0.20")
    relayed = tuple(peers("direct a<->b blocked, established session").values())
    by_relay = state_from(config, CERTIFICATE, relayed, LINKS, NOW).remote_for("10.77.0.20")
    called = state_from(config, CERTIFICATE, None, LINKS, NOW).remote_for("10.77.0.20")
    assert direct is not None
    assert by_relay is not None
    assert called is not None
    assert (direct.endpoint, by_relay.endpoint, called.endpoint) == ("10.203.2.1:4242", None, "192.0.2.20:4242")
