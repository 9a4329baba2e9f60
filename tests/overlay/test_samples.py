"""Every recorded state of every product, and what the checks make of it: the code and the words of the result."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest
from preflight_checks import overlay_interface, overlay_session

from preflight.api import Peer, Status
from preflight.model.kernel import Link
from preflight.model.overlay import OverlayState
from preflight.overlay import nebula, nebula_files, tailscale, zerotier
from preflight.overlay.local import LocalError
from preflight.overlay.wireguard import parse_dump_peer
from preflight.proto.tunnel.wireguard import Watch

SAMPLES = Path(__file__).parent / "samples"
NOW_UNIX_S = datetime(2026, 11, 23, 7, 45, tzinfo=UTC).timestamp()
Seen = tuple[Status, str | None, str]
PASS, WARN, FAIL, SKIP = Status.PASS, Status.WARN, Status.FAIL, Status.SKIP
NOT_APPLICABLE = "run.not-applicable"


def device(name: str, *addresses: str) -> Link:
    """A tun of this node that is up."""
    return Link(3, name, 1280, up=True, carrier=True, kind="tun", addresses=tuple(map(ip_interface, addresses)))


def holds(state: OverlayState, peer: Peer, interface: Seen, session: Seen | None) -> None:
    """Judge as the two checks do; a session is judged only where the first one passes."""
    first = overlay_interface.judge(state, [device(state.interface or "")], None)
    assert (first.status, first.code and str(first.code)) == interface[:2], first.message
    complaints = "; ".join(each.said for each in state.complaints)
    assert interface[2] in f"{first.message}; {complaints}"
    assert first.status is PASS or first.remedy
    assert (session is not None) is (first.status is PASS)
    if session is not None:
        second = overlay_session.judge_unwatched(peer, state, state.interface)
        assert (second.status, second.code and str(second.code)) == session[:2], second.message
        assert session[2] in second.message


ALIVE: Seen = (PASS, None, "last handshake")
MUTE: Seen = (FAIL, "overlay.no-handshake", "3 handshake initiations in 6.5 s brought nothing back; no handshake ever")
FORGOTTEN: Seen = (FAIL, "overlay.allowed-ips", "the only peer of wg0 does not have 10.99.0.2 in its allowed-ips")

# In the order of the recording: what the node sees, after it has sent something for as long as the check watches.
WIREGUARD: list[tuple[str, Seen | None]] = [
    ("healthy", ALIVE),
    ("idle-no-keepalive-no-traffic", None),
    ("wrong peer pubkey on A", MUTE),
    ("wrong peer pubkey on B (B does not know A)", MUTE),
    ("wrong endpoint port (closed -> ICMP)", MUTE),
    ("wrong endpoint host (blackhole)", MUTE),
    ("allowed-ips on A lacks 10.99.0.2", FORGOTTEN),
    ("allowed-ips on B lacks A source", ALIVE),
    ("PSK only on A", ALIVE),
    ("return path blocked (B->A dropped at router)", ALIVE),
    ("forward path blocked", ALIVE),
    ("allowed-ips stolen by second peer", FORGOTTEN),
    ("PSK only on A", MUTE),
    ("return path blocked (B->A dropped at router)", MUTE),
    ("forward path blocked", MUTE),
    ("allowed-ips stolen by second peer", FORGOTTEN),
]
PEER_STATES = (SAMPLES / "wireguard/peer-states.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", range(len(WIREGUARD)))
def test_wireguard(number: int) -> None:
    """A live session is measured, however broken its path; one that was never used is not a fault."""
    section = PEER_STATES.split("=== ")[1:][number]
    name, seen = WIREGUARD[number]
    assert section.splitlines()[0] == name
    line = next(line for line in section.splitlines() if line.startswith("A: "))
    known = parse_dump_peer(["Bkey=", "(none)", *re.sub(r"\s+\[now=.*", "", line[3:]).split("\t")])
    now_unix_s = float(match[1]) if (match := re.search(r"now=(\d+)", line)) else (known.last_handshake_unix_s or 0) + 4
    state = OverlayState(product="wireguard", interface="wg0", up=True, mtu=1420, peers=(known,))
    unused = replace(known, last_handshake_unix_s=0.0, rx_bytes=0, tx_bytes=0)
    owner = state.peer_for("10.99.0.2")
    watched = Watch("wg0", unused, owner, now_unix_s=now_unix_s, watched_s=6.5)
    if seen is None:
        assert not replace(watched, watched_s=0.0).settled
        return
    result = overlay_session.judge(Peer("10.99.0.2"), state, watched, [])
    assert (result.status, result.code and str(result.code)) == seen[:2], result.message
    assert seen[2] in result.message


def test_every_recorded_state_of_wireguard_has_its_row() -> None:
    """Sixteen of them."""
    assert len(PEER_STATES.split("=== ")) - 1 == len(WIREGUARD)


UP: Seen = (PASS, None, "tailscale0 (tailscale) is up with 100.64.0.1/32")
CUT = "the control server does not see this node: the connection is cut, or the node was deleted there"
DIRECT: Seen = (PASS, None, "direct to 10.204.2.1:41641")
LATER: Seen = (PASS, None, "direct to 10.231.2.1:41641")
"""Recorded on another day, with other addresses outside."""
RELAYED: Seen = (WARN, "overlay.relayed", "relays the traffic to nb through lab")
IDLE: Seen = (SKIP, NOT_APPLICABLE, "reports no path in use to nb; only a measurement shows whether it can be reached")

TAILSCALE: dict[str, tuple[Seen, Seen | None]] = {
    "healthy": (UP, DIRECT),
    "noroutes": ((PASS, None, "advertising routes but --accept-routes is false"), LATER),
    "acceptroutes": (UP, LATER),
    "exitnode": (UP, LATER),
    "selfexpired": (UP, LATER),
    "peerexpired": (UP, LATER),
    "derponly": (UP, RELAYED),
    "udpblocked": (UP, RELAYED),
    "derpdown": ((PASS, None, "could not connect to the 'Lab' relay server"), DIRECT),
    "controldown": ((PASS, None, "hasn't received a network map"), IDLE),
    "ctldown_3": ((PASS, None, CUT), IDLE),
    "deleted": ((PASS, None, CUT), (SKIP, NOT_APPLICABLE, "has no session with nb yet")),
    "peeroffline": (UP, (SKIP, NOT_APPLICABLE, "says that nb is offline, last seen at 2026-11-23T07:44:08Z")),
    "peerkeyexpired": (UP, (FAIL, "overlay.key-expired", "the key of nb has expired at 2026-11-23T07:18:46Z")),
    "peerexpired-headscale": (UP, (FAIL, "overlay.key-expired", "the key of nb has expired at 2026-11-23T07:37:51Z")),
    "selfkeyexpired": ((FAIL, "overlay.key-expired", "its key expired at 2026-11-23T07:18:53Z"), None),
    "selfexpired-headscale": (
        (FAIL, "overlay.key-expired", "its state is NeedsLogin; its key expired at 2026-11-23T07:38:00Z"),
        None,
    ),
    "stopped": ((FAIL, "overlay.down", "its state is Stopped; Tailscale is stopped."), None),
    "loggedout": ((FAIL, "overlay.logged-out", "its state is NeedsLogin"), None),
    "needslogin": ((FAIL, "overlay.logged-out", "its state is NeedsLogin"), None),
    "wrongkey": ((FAIL, "overlay.logged-out", "The last login error was: invalid authkey"), None),
    "control-untrusted": ((FAIL, "overlay.logged-out", "certificate signed by unknown authority"), None),
}


def tailscale_state(name: str, **change: Any) -> OverlayState:
    """One recorded status, with some of its top keys changed."""
    status = json.loads((SAMPLES / f"tailscale/status-{name}.json").read_text(encoding="utf-8"))
    return tailscale.parse_status(status | change, [device("tailscale0", "100.64.0.1/32")], NOW_UNIX_S)


@pytest.mark.parametrize("name", TAILSCALE)
def test_tailscale(name: str) -> None:
    """A stale or idle peer is never called relayed or dead, and what stops this node is said in full."""
    holds(tailscale_state(name), Peer("100.64.0.2"), *TAILSCALE[name])


def test_no_recorded_state_is_left_out() -> None:
    """A new sample must get its row; the one text file is what the client says where no daemon runs."""
    assert {path.stem.removeprefix("status-") for path in SAMPLES.glob("tailscale/*.json")} == set(TAILSCALE)
    assert [path.name for path in SAMPLES.glob("tailscale/*.txt")] == ["status-nodaemon.txt"]
    absent = tailscale.state_without([], LocalError("absent", "tailscaled.sock does not exist"))
    seen: Seen = (FAIL, "overlay.daemon-down", "tailscaled.sock does not exist")
    holds(absent, Peer("100.64.0.2"), seen, None)


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"BackendState": "NeedsMachineAuth"}, (FAIL, "overlay.not-authorized", "its state is NeedsMachineAuth")),
        ({"BackendState": "NoState", "Health": None}, (FAIL, "overlay.logged-out", "its state is NoState")),
        ({"BackendState": "Starting"}, (PASS, None, "its state is Starting")),
        ({"BackendState": "NewInNextVersion"}, (PASS, None, "its state is NewInNextVersion")),
    ],
)
def test_tailscale_states_that_were_not_recorded(change: dict[str, Any], seen: Seen) -> None:
    """Each state of its life has a name in the message; one that is not known stops nothing."""
    holds(tailscale_state("healthy", **change), Peer("100.64.0.2"), seen, DIRECT if seen[0] is PASS else None)


def test_tailscale_in_userspace() -> None:
    """Without interface nothing of this node goes through the tailnet; `ip link set up` would be no remedy."""
    status = json.loads((SAMPLES / "tailscale/status-healthy.json").read_text(encoding="utf-8")) | {"TUN": False}
    result = overlay_interface.judge(tailscale.parse_status(status, [], NOW_UNIX_S), [], None)
    assert str(result.code) == "overlay.down"
    assert "does not exist" in result.message
    assert "userspace" in (result.remedy or "")


NETWORK = "ztixbrw34j (zerotier) is up with 10.88.0.42/24"


@pytest.mark.parametrize(
    ("networks", "addresses", "seen"),
    [
        ("listnetworks_ok", ["10.88.0.42/24"], (PASS, None, NETWORK)),
        (
            "listnetworks_access_denied",
            [],
            (FAIL, "overlay.not-authorized", "controller cb5aaa8e99 has not authorised this node (ACCESS_DENIED)"),
        ),
        (
            "listnetworks_just_joined",
            [],
            (FAIL, "overlay.no-address", "controller cb5aaa8e99 does not answer (REQUESTING_CONFIGURATION)"),
        ),
        (
            "listnetworks_just_joined",
            ["10.88.0.42/24"],
            (PASS, None, "controller cb5aaa8e99 does not answer (REQUESTING_CONFIGURATION)"),
        ),
    ],
)
def test_zerotier(networks: str, addresses: Sequence[str], seen: Seen) -> None:
    """A silent controller stops only a node without address; ZeroTier reports sessions without overlay addresses."""
    info, asked, peers = (zerotier_sample(name) for name in ("info_online", networks, "listpeers_direct"))
    (state,) = zerotier.parse(info, asked, peers, [device("ztixbrw34j", *addresses)])
    session: Seen = (SKIP, NOT_APPLICABLE, "reports nothing about the session to 10.88.0.7")
    holds(state, Peer("10.88.0.7"), seen, session if seen[0] is PASS else None)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("NOT_FOUND", "overlay.not-joined"),
        ("CLIENT_TOO_OLD", "overlay.not-authorized"),
        ("AUTHENTICATION_REQUIRED", "overlay.logged-out"),
        ("PORT_ERROR", "overlay.down"),
        ("NEW_IN_NEXT_VERSION", "overlay.no-address"),
    ],
)
def test_zerotier_statuses_that_were_not_recorded(status: str, code: str) -> None:
    """Each is in the message by its own name."""
    (network,) = zerotier_sample("listnetworks_just_joined")
    changed = [network | {"status": status}]
    (state,) = zerotier.parse(zerotier_sample("info_online"), changed, [], [device("ztixbrw34j")])
    holds(state, Peer("10.88.0.7"), (FAIL, code, status), None)


def zerotier_sample(name: str) -> Any:
    """One recorded document."""
    return json.loads((SAMPLES / f"zerotier/{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("silent_s", "relayed", "complaint"),
    [(0, True, None), (100, False, "the root cb5aaa8e99 has been silent for 100 s")],
)
def test_zerotier_relays_only_where_a_root_is_heard(silent_s: int, relayed: bool, complaint: str | None) -> None:
    """A leaf without path is relayed by a root; where that is silent too, nothing relays."""
    peers = zerotier_sample("listpeers_relay")
    clock = max(path["lastReceive"] for peer in peers for path in peer["paths"]) + silent_s * 1000
    info = zerotier_sample("info_online") | {"clock": clock}
    (state,) = zerotier.parse(info, zerotier_sample("listnetworks_ok"), peers, [])
    (leaf,) = (peer for peer in state.peers if peer.key == "a90b2d07e9")
    assert leaf.relayed is relayed
    assert complaint is None or any(complaint in each.said for each in state.complaints)


def test_a_zerotier_root_without_path_is_not_relayed() -> None:
    """Roots relay; nobody relays to them."""
    peers = [peer | {"paths": [], "latency": -1} for peer in zerotier_sample("listpeers_relay")]
    (state,) = zerotier.parse(zerotier_sample("info_online"), zerotier_sample("listnetworks_ok"), peers, [])
    assert [peer.relayed for peer in state.peers] == [False, False]
    (complaint,) = state.complaints
    assert complaint.said == "there is no path to the root cb5aaa8e99; nothing has come back from anyone"


B, LIGHTHOUSE = Peer("10.77.0.20"), Peer("10.77.0.1")
NEBULA: dict[str, tuple[str, Seen]] = {
    "healthy": ("", (PASS, None, "direct to 10.203.2.1:4242")),
    "direct a<->b blocked, established session": ("", (WARN, "overlay.relayed", "through 10.77.0.1")),
    "lighthouse down, sessions up": (
        "no tunnel to the lighthouse 10.77.0.1",
        (SKIP, NOT_APPLICABLE, "has no session with 10.77.0.20 yet"),
    ),
    "b has expired cert": ("", (SKIP, NOT_APPLICABLE, "reports nothing about the session to 10.77.0.20")),
    "b cert from other CA": ("", (SKIP, NOT_APPLICABLE, "has no session with 10.77.0.20 yet")),
    "firewall deny on b": ("", (PASS, None, "direct to 10.203.2.1:4242")),
    "all udp 4242 of a blocked": ("", (PASS, None, "direct to 10.203.2.1:4242")),
}
RECORDED = (SAMPLES / "nebula/states.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NEBULA)
def test_nebula(name: str) -> None:
    """What the host map knows is reported; where it is wrong (a cut, a firewall at the peer) nothing more is said."""
    section = RECORDED.split(f"=== {name}\n")[1].split("\n===")[0].splitlines()
    lists = [next(line.partition(": ")[2] for line in section if line.startswith(w)) for w in ("hostmap", "pending")]
    config = {"tun": {"dev": "neb0"}, "lighthouse": {"hosts": [LIGHTHOUSE.address]}}
    links = [device("neb0", "10.77.0.10/24")]
    state = nebula.state_from(config, None, nebula.parse_hostmap(*map(json.loads, lists)), links, NOW_UNIX_S)
    complaint, session = NEBULA[name]
    holds(state, B, (PASS, None, complaint or "neb0 (nebula) is up with 10.77.0.10/24"), session)
    assert bool(state.complaints) is bool(complaint)


def test_every_recorded_state_of_nebula_has_its_row() -> None:
    """A new section must be recognised here."""
    assert {part.splitlines()[0] for part in RECORDED.split("=== ")[1:]} == set(NEBULA)


@pytest.mark.parametrize(
    ("not_after", "issuer", "code", "said"),
    [
        ("2026-11-23T07:44:59Z", "aa", "overlay.key-expired", "the certificate expired at 2026-11-23T07:44:59Z"),
        ("2027-11-23T07:44:59Z", "bb", "overlay.not-authorized", "no authority in this node's pki.ca"),
        ("2027-11-23T07:44:59Z", "aa", None, "neb0 (nebula) is up"),
        ("2027-11-23T07:44:59+00:00", "", None, "neb0 (nebula) is up"),
    ],
)
def test_nebula_s_own_certificate(not_after: str, issuer: str, code: str | None, said: str) -> None:
    """Nebula goes on running with a certificate that no peer takes; an issuer that is not reported accuses nobody."""
    own = {"details": {"ips": ["10.77.0.10/24"], "notAfter": not_after, "issuer": issuer}}
    links = [device("neb0", "10.77.0.10/24")]
    state = nebula.state_from({"tun": {"dev": "neb0"}}, own, None, links, NOW_UNIX_S, None, [{"fingerprint": "aa"}])
    session: Seen = (SKIP, NOT_APPLICABLE, "reports nothing")
    holds(state, B, (FAIL, code, said) if code else (PASS, None, said), None if code else session)


def test_certificates_are_printed_one_a_line_or_in_a_list() -> None:
    """Nebula 1.6 prints each certificate on a separate line, later versions a list."""
    assert nebula_files.parse_printed('{"a": 1}\n\n{"b": 2}\n') == [{"a": 1}, {"b": 2}]
    assert nebula_files.parse_printed('[{"a": 1}, 7]') == [{"a": 1}]


def test_what_is_believed_of_a_tailscale_peer() -> None:
    """A relay is named only where the session is used, not where the peer is offline or does not answer."""
    status = json.loads((SAMPLES / "tailscale/status-derponly.json").read_text(encoding="utf-8"))
    key, peer = next(iter(status["Peer"].items()))
    for change, relayed, relay in [
        ({}, True, "lab"),
        ({"LastWrite": "2026-11-23T07:20:00Z"}, None, "lab"),
        ({"LastHandshake": "0001-01-01T00:00:00Z"}, None, "lab"),
        ({"Online": False}, None, "lab"),
        ({"PeerRelay": "10.204.9.9:7777:vni:5"}, True, "10.204.9.9:7777:vni:5"),
    ]:
        seen = tailscale_state("derponly", Peer={key: peer | change}).peers[0]
        assert (seen.relayed, seen.relay) == (relayed, relay), change
