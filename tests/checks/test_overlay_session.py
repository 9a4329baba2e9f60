"""overlay.session: the words and the commands for what the counters mean."""

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from preflight_checks.overlay_session import judge, judge_unwatched

from preflight.api import Peer, Status
from preflight.model.kernel import Route
from preflight.model.overlay import PRIVILEGE, OverlayPeer, OverlayState
from preflight.proto.tunnel.wireguard import Watch

KEY_B = f"Bkey{'A' * 39}="
KEY_C = f"Ckey{'A' * 39}="
NOW = 1_795_416_000.0
PEER = Peer("10.66.0.2", "b")
B = OverlayPeer(
    key=KEY_B,
    endpoint="10.201.2.1:51820",
    addresses=(ip_network("10.66.0.2/32"),),
    last_handshake_unix_s=0.0,
    rx_bytes=0,
    tx_bytes=0,
    keepalive_s=0,
)
C = replace(B, key=KEY_C, addresses=(ip_network("10.66.0.3/32"),))
STATE = OverlayState(product="wireguard", interface="wg0", up=True, mtu=1420, peers=(B, C), public_key="Akey=")
MUTE = replace(B, tx_bytes=296)


def seen(after: OverlayPeer | None, **more: Any) -> Watch:
    """B, watched for 6.5 s."""
    route = Route("10.201.2.1", interface="eth0", source="10.201.1.1")
    fields = {"interface": "wg0", "before": B, "after": after, "now_unix_s": NOW, "watched_s": 6.5, "route": route}
    return Watch(**{**fields, **more})


@pytest.mark.parametrize(
    ("watch", "code", "said", "remedy"),
    [
        (
            seen(MUTE),
            "overlay.no-handshake",
            "10.201.2.1:51820 does not answer: 2 handshake initiations in 6.5 s",
            "Akey=",
        ),
        (seen(MUTE, host_answers=True), "overlay.no-handshake", "its host answers ping", KEY_B),
        (seen(MUTE, host_answers=False), "overlay.no-handshake", "does not answer ping either", "51820"),
        (
            seen(replace(MUTE, endpoint="127.0.0.1:5555"), host_answers=True),
            "overlay.no-handshake",
            "leads to a program on this node that carries the tunnel's packets on",
            "ss -ulpn 'sport = :5555'",
        ),
        (seen(replace(MUTE, rx_bytes=148)), "overlay.no-handshake", "only 148 bytes", "preshared key"),
        (
            seen(MUTE, port_closed=True),
            "overlay.no-handshake",
            "UDP port 51820 of 10.201.2.1",
            "endpoint 10.201.2.1:PORT",
        ),
        (seen(replace(B, endpoint=None)), "overlay.no-handshake", "no endpoint", f"wg set wg0 peer {KEY_B} endpoint"),
        (
            seen(B, route=Route("10.201.2.1", error="Network is unreachable")),
            "overlay.no-handshake",
            "Network is unreachable",
            "ip route get 10.201.2.1",
        ),
        (seen(B), "overlay.no-handshake", "the counters of the tunnel do not change", "ip route get 10.201.2.1"),
        (
            seen(replace(MUTE, last_handshake_unix_s=NOW - 400)),
            "overlay.handshake-stale",
            "the last handshake was 400 s ago",
            "Compare `wg show`",
        ),
        (
            seen(MUTE, route=Route("10.201.2.1", interface="wg0")),
            "overlay.endpoint-loop",
            "into wg0 itself",
            "ip -4 route replace",
        ),
        (seen(B, objection="Operation not permitted"), "host.firewall-drop", "own firewall", "nft list ruleset"),
    ],
)
def test_dead_sessions(watch: Watch, code: str, said: str, remedy: str) -> None:
    """What was measured is said with its numbers, and the remedy has this node's values in it."""
    result = judge(PEER, STATE, watch, ["10.66.0.3"])
    assert (result.status, str(result.code)) == (Status.FAIL, code)
    assert said in result.message
    assert remedy in (result.remedy or "")


def test_an_endpoint_at_the_tunnel_s_own_port_leads_to_no_program() -> None:
    """Its packets come back to the tunnel itself, so nobody carries them on."""
    own = replace(MUTE, endpoint="127.0.0.1:51820")
    result = judge(PEER, replace(STATE, listen_port=51820, peers=(own, C)), seen(own), ["10.66.0.3"])
    assert str(result.code) == "overlay.no-handshake"
    assert "program" not in result.message


def test_a_forgotten_address_gets_the_exact_command() -> None:
    """`wg set … allowed-ips` replaces the list, so what was there before has to be in the command."""
    bare = replace(B, addresses=(ip_network("fd66::2/128"),))
    state = replace(STATE, peers=(bare, C))
    result = judge(PEER, state, seen(None), ["10.66.0.3"])
    assert str(result.code) == "overlay.allowed-ips"
    assert [remedy.lines for remedy in result.remedies] == [
        (f"wg set wg0 peer {KEY_B} allowed-ips fd66::2/128,10.66.0.2/32",)
    ]


def test_an_interface_without_a_private_key() -> None:
    """It sends nothing, whatever the route is; where the state cannot be read, nothing is known of its key."""
    keyless = replace(STATE, public_key=None)
    result = judge(Peer("10.66.0.2", "b"), keyless, seen(B), ())
    assert "wg0 has no private key, so it sends no handshake to the endpoint 10.201.2.1:51820" in result.message
    assert "wg set wg0 private-key FILE" in (result.remedy or "")
    assert "private key" not in judge(Peer("10.66.0.2", "b"), STATE, seen(B), ()).message


def test_a_hub_that_lacks_an_address_gets_the_exact_command() -> None:
    """The only peer is the one, although it owns the control plane's address too."""
    result = judge(PEER, replace(STATE, peers=(C,)), seen(None), ["10.66.0.3"])
    assert result.remedies[0].lines[0].endswith("10.66.0.3/32,10.66.0.2/32")


def test_a_loop_gets_a_route_by_the_underlays_gateway() -> None:
    """The gateway is in the kernel's table, and the tunnel's own default route is not it."""
    result = judge(PEER, STATE, seen(MUTE, route=Route("10.201.2.1", interface="wg0")), [])
    (remedy,) = result.remedies
    assert remedy.lines == (
        "ip -4 route replace 10.201.2.1/32 "
        "$(ip -4 route show match 10.201.2.1 | grep -vw 'dev wg0' | tail -n 1 | cut -d ' ' -f 2-)",
    )


def test_with_two_candidates_no_key_is_guessed() -> None:
    """A command with the wrong key would break a peer that works."""
    state = replace(STATE, peers=(replace(B, addresses=()), replace(C, addresses=())))
    remedy = judge(PEER, state, seen(None), []).remedy or ""
    assert KEY_B not in remedy
    assert "10.66.0.2/32" in remedy


def test_a_live_session_passes() -> None:
    """Its age and endpoint are what an operator wants to see."""
    result = judge(PEER, STATE, seen(replace(B, last_handshake_unix_s=NOW - 12, rx_bytes=92)), [])
    assert result.status is Status.PASS
    assert "12 s ago with 10.201.2.1:51820" in result.message


def test_a_nat_without_keepalive_is_a_warning_with_the_command() -> None:
    """It works now; it is reported because it will not after some minutes of silence."""
    alive = replace(B, last_handshake_unix_s=NOW - 12, endpoint="8.8.8.8:51820")
    result = judge(PEER, STATE, seen(alive, route=Route("8.8.8.8", interface="eth0", source="192.168.1.5")), [])
    assert (result.status, str(result.code)) == (Status.WARN, "overlay.no-keepalive")
    assert result.remedy == (
        f"wg set wg0 peer {KEY_B} persistent-keepalive 25   "
        "# to persist: PersistentKeepalive = 25 in its [Peer] section of the file"
    )


@pytest.mark.parametrize(("keepalive_s", "status"), [(0, Status.WARN), (25, Status.PASS)])
def test_a_nat_that_the_peer_sees_is_reported_with_both_endpoints(keepalive_s: int, status: Status) -> None:
    """Between private addresses only the peer can know; with keepalive there is nothing to say."""
    alive = replace(B, last_handshake_unix_s=NOW - 12, keepalive_s=keepalive_s)
    result = judge(PEER, replace(STATE, listen_port=51820), seen(alive, seen_as="10.201.2.9:40001"), [])
    assert result.status is status
    if status is Status.WARN:
        assert "sees this tunnel at 10.201.2.9:40001, not at 10.201.1.1 port 51820" in result.message
        assert (result.measurements["seen_as"], result.measurements["keepalive_s"]) == ("10.201.2.9:40001", 0)


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        (None, Status.FAIL, "overlay.absent"),
        (replace(STATE, interface="wg1"), Status.FAIL, "overlay.absent"),
        (replace(STATE, condition="overlay.daemon-down"), Status.FAIL, "overlay.daemon-down"),
        (replace(STATE, unreadable=PRIVILEGE), Status.INCONCLUSIVE, "run.needs-privilege"),
        (replace(STATE, unreadable="wg0.sock answered nonsense"), Status.INCONCLUSIVE, "run.needs-tool"),
        (replace(STATE, product="generic", peers=()), Status.SKIP, "run.not-applicable"),
        (replace(STATE, product="tailscale", peers=(replace(B, expired=True),)), Status.FAIL, "overlay.key-expired"),
        (
            replace(STATE, product="tailscale", peers=(replace(B, relayed=True, relay="fra"),)),
            Status.WARN,
            "overlay.relayed",
        ),
        (replace(STATE, product="tailscale", peers=(replace(B, relayed=False),)), Status.PASS, None),
        (
            replace(
                STATE, product="nebula", peers=(replace(B, turns=("192.0.2.2:4242", "192.0.2.2:4242"), changes=4),)
            ),
            Status.FAIL,
            "overlay.duplicate-key",
        ),
    ],
)
def test_without_counters_to_watch(state: OverlayState | None, status: Status, code: str | None) -> None:
    """An interface that vanished, a daemon that hangs or is not understood, another product: each has its result."""
    result = judge_unwatched(PEER, state, "wg0")
    assert (result.status, str(result.code) if result.code else None) == (status, code)


def test_a_peer_whose_key_is_out_logs_in_at_the_tailnet_s_own_server() -> None:
    """Without its URL the command at the peer only prints an error."""
    state = replace(STATE, product="tailscale", peers=(replace(B, expired=True),), control_server="https://hs.example")
    result = judge_unwatched(PEER, state, "wg0")
    assert "tailscale up --force-reauth --login-server=https://hs.example" in (result.remedy or "")
