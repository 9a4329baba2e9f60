"""Every recorded state from the adapter to the first cause: where the peer answers, and where it does not."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest
from preflight_checks import overlay_health, overlay_interface, overlay_policy, overlay_session

from preflight import codes
from preflight.api import Direction, Peer, Result, Status, failed
from preflight.engine.diagnosis import diagnose
from preflight.model.kernel import Link
from preflight.model.overlay import OverlayState
from preflight.model.product_ping import ProductPing
from preflight.overlay import nebula, tailscale, zerotier
from tests.overlay.replay.fake_daemon import tailscale_now

SAMPLES = Path(__file__).parent / "samples"
NOW_UNIX_S = datetime(2026, 11, 28, 1, 10, tzinfo=UTC).timestamp()
Cause = tuple[str, str] | None
"""The code and words of the first cause; None: nothing is wrong."""


def device(name: str, *addresses: str) -> Link:
    """A tun of this node that is up."""
    return Link(3, name, 1280, up=True, carrier=True, kind="tun", addresses=tuple(map(ip_interface, addresses)))


def first_cause(state: OverlayState, peer: Peer, links: list[Link], now_unix_s: float, *, silent: bool) -> Cause:
    """As the checks and the diagnosis find it. silent: whether the peer answers nothing in the run."""
    results = [_at("overlay.interface", overlay_interface.judge(state, links, None))]
    assert results[0].status is Status.PASS or results[0].remedy, results[0].message
    if results[0].status is Status.PASS:
        results.append(_at("overlay.session", overlay_session.judge_unwatched(peer, state, state.interface)))
        results += [
            _at("overlay.health", overlay_health.judge(state, each, silent=silent)) for each in state.complaints
        ]
    if silent and results[0].status is Status.PASS:
        unanswered = failed(codes.REACH_UNREACHABLE, peer.target, Direction.ROUND_TRIP, "answered none of 4 echoes")
        results.append(_at("reach.icmp", unanswered))
        seen = overlay_policy.found(peer, state, (), now_unix_s)
        results += [_at("overlay.policy", seen)] if seen is not None else []
    causes = diagnose(results)
    return (causes[0].code.slug, causes[0].message) if causes else None


def _at(check: str, result: Result) -> Result:
    return replace(result, check=check, category=check.partition(".")[0])


def holds(seen: Cause, wanted: Cause) -> None:
    """The same code, with the words in the sentence."""
    assert (seen and seen[0]) == (wanted and wanted[0]), seen
    assert wanted is None or (seen is not None and wanted[1] in seen[1]), seen


NO_LOGIN: Cause = ("overlay.logged-out", "its state is NeedsLogin")
UNSEEN = "the control server does not see this node"
POLICY: Cause = ("overlay.policy-drop", "with a handshake")
OFFLINE: Cause = ("overlay.offline", UNSEEN)
MAPLESS: Cause = ("overlay.offline", "hasn't received a network map from the coordination server")
CUT: Cause = ("overlay.offline", "no peer answers in this run")
UNREACHABLE: Cause = ("reach.unreachable", "answered none")
ROUTES: Cause = ("overlay.routes-not-accepted", "--accept-routes is false")
OVERWRITTEN: Cause = ("overlay.dns-overwritten", "/etc/resolv.conf overwritten")
GONE: Cause = ("overlay.exit-node-gone", "nb is this node's exit node, and does not offer to be one")
RELAYED: Cause = ("overlay.relayed", "relays the traffic to nb through lab")
STOPPED: Cause = ("overlay.down", "its state is Stopped")
KEY: Cause = ("overlay.key-expired", "its key expired at 2026-11-23")
PEER_KEY: Cause = ("overlay.key-expired", "the key of nb has expired at 2026-11-23")

TAILSCALE: dict[str, tuple[Cause, Cause]] = {
    # With each state: while the peer answers, and while it does not.
    "healthy": (None, POLICY),
    "noroutes": (ROUTES, POLICY),
    "acceptroutes": (None, POLICY),
    "exitnode": (None, POLICY),
    "selfexpired": (None, POLICY),
    "peerexpired": (None, POLICY),
    # A policy may drop behind a session that lives through the relay, until the daemon's own ping says more.
    "derponly": (RELAYED, UNREACHABLE),
    "udpblocked": (RELAYED, UNREACHABLE),
    "derpdown": (("overlay.relay-unreachable", "relay server"), POLICY),
    "controldown": (MAPLESS, CUT),
    "ctldown_3": (OFFLINE, CUT),
    "deleted": (OFFLINE, CUT),
    "peeroffline": (None, ("overlay.peer-lost", "tailscale's control server says that nb is offline, last seen at")),
    "peerkeyexpired": (PEER_KEY, PEER_KEY),
    "peerexpired-headscale": (PEER_KEY, PEER_KEY),
    "selfkeyexpired": (KEY, KEY),
    "selfexpired-headscale": (KEY, KEY),
    "stopped": (STOPPED, STOPPED),
    "loggedout": (NO_LOGIN, NO_LOGIN),
    "needslogin": (NO_LOGIN, NO_LOGIN),
    "wrongkey": (("overlay.logged-out", "invalid authkey"), ("overlay.logged-out", "invalid authkey")),
    "control-untrusted": (("overlay.logged-out", "unknown authority"), ("overlay.logged-out", "unknown authority")),
}
LIVE_TAILSCALE: dict[str, tuple[Cause, Cause]] = {
    "healthy": (None, POLICY),
    "aclnone": (None, POLICY),
    "shields": (None, POLICY),
    "clone": (None, ("overlay.duplicate-key", "no handshake of the session is answered")),
    "clone_b": (None, UNREACHABLE),
    "ctldown": (OFFLINE, POLICY),
    "derpdown_noudp": (OFFLINE, ("overlay.offline", "there is no direct path, and the relay lab carries nothing")),
    "exitnode_gone": (GONE, POLICY),
    "loggedout": (NO_LOGIN, NO_LOGIN),
    "machineauth": 2 * (("overlay.not-authorized", "its state is NeedsMachineAuth"),),
    "magic_overwritten": (OVERWRITTEN, POLICY),
    "peerdown": (OVERWRITTEN, ("overlay.peer-lost", "tailscale's control server says that nb is offline")),
    "userspace": 2 * (("overlay.down", "userspace networking"),),
}


def tailnet(path: Path, now_unix_s: float | None) -> tuple[OverlayState, list[Link]]:
    """A recorded status; its times moved to now, or as they were."""
    status = json.loads(path.read_text(encoding="utf-8"))
    moved = tailscale_now(status, now_unix_s) if now_unix_s is not None else status
    links = [device("tailscale0", "100.64.0.1/32")] if status.get("TUN", True) else []
    return tailscale.parse_status(moved, links, now_unix_s or RECORDED_UNIX_S), links


RECORDED_UNIX_S = datetime(2026, 11, 23, 7, 45, tzinfo=UTC).timestamp()
EXPIRED = ("peerkeyexpired", "peerexpired-headscale", "selfkeyexpired", "selfexpired-headscale")
"""Sessions that ended long before the recording: their times stay as they were."""
PARAMETERS = [("", name) for name in TAILSCALE] + [("live2/", name) for name in LIVE_TAILSCALE]


@pytest.mark.parametrize(("folder", "name"), PARAMETERS)
def test_tailscale(folder: str, name: str) -> None:
    """The daemon's word is the cause only where the run bears it out; a peer that answers is never called lost."""
    now_unix_s = RECORDED_UNIX_S if name in EXPIRED else NOW_UNIX_S
    path = SAMPLES / f"tailscale/{folder}status-{name}.json"
    state, links = tailnet(path, None if name in EXPIRED else now_unix_s)
    rows = LIVE_TAILSCALE if folder else TAILSCALE
    for silent, wanted in zip((False, True), rows[name], strict=True):
        holds(first_cause(state, Peer("100.64.0.2", "nb"), links, now_unix_s, silent=silent), wanted)


@pytest.mark.parametrize("name", ["status-derponly", "status-udpblocked", "live2/status-derpdown_noudp"])
def test_a_relay_through_which_not_even_the_daemon_s_ping_comes_back(name: str) -> None:
    """Neither a policy nor a firewall stops this ping."""
    state, _ = tailnet(SAMPLES / f"tailscale/{name}.json", NOW_UNIX_S)
    pings = (ProductPing("disco"), ProductPing("TSMP"))
    seen = overlay_policy.found(Peer("100.64.0.2", "nb"), state, pings, NOW_UNIX_S)
    assert seen is not None
    assert str(seen.code) == "overlay.peer-lost"
    assert "nothing comes back through the relay lab" in seen.message


ZEROTIER: dict[str, tuple[Cause, Cause]] = {
    "healthy": (None, ("overlay.policy-drop", "zerotier heard bbbbbbbb02")),
    "allowmanaged0": 2 * (("overlay.no-address", "allowManaged is off"),),
    "denied": 2 * (("overlay.not-authorized", "controller cccccccc03 has not authorised this node"),),
    "noip": 2 * (("overlay.no-address", "has authorised this node and gives it none"),),
    "notfound": 2 * (("overlay.not-joined", "no such network at its controller"),),
    "notjoined": 2 * (("overlay.not-joined", "has joined no network"),),
    "peerdead": (None, UNREACHABLE),
    "peerdenied": (None, ("overlay.policy-drop", "zerotier heard bbbbbbbb02")),
    "porterror": 2 * (("overlay.down", "it joined the network cccccccc03cbed70, and could not make its virtual"),),
    "relay": (
        ("overlay.relayed", "relays the traffic to bbbbbbbb02"),
        ("overlay.peer-lost", "zerotier has no path to bbbbbbbb02: a root relays what it sends there"),
    ),
    "requesting": 2 * (("overlay.no-address", "controller cccccccc03 does not answer (REQUESTING_CONFIGURATION)"),),
    "rootdown": (
        ("overlay.offline", "the root cccccccc03 has been silent for 34 s, and was last sent to 4 s ago"),
        ("overlay.policy-drop", "zerotier heard bbbbbbbb02"),
    ),
    "rootdown_restart": (
        ("overlay.offline", "there is no path to the root cccccccc03"),
        ("overlay.policy-drop", "zerotier heard bbbbbbbb02"),
    ),
    "rules_drop_all": (None, ("overlay.policy-drop", "has sent nothing to bbbbbbbb02 for 11 s")),
    "udpblock_restart": 2 * (("overlay.offline", "its own UDP does not get through"),),
}


@pytest.mark.parametrize("name", ZEROTIER)
def test_zerotier(name: str) -> None:
    """Its own words on a membership come first; about a silent peer its times decide."""
    info, networks, peers = (zerotier_sample(f"live2/{name}.{what}") for what in ("info", "listnetworks", "listpeers"))
    given = [address for network in networks if network["allowManaged"] for address in network["assignedAddresses"]]
    links = [device(network["portDeviceName"], *given) for network in networks]
    # What the service keeps of a network that it has joined, and lists not.
    joined = ["cccccccc03cbed70"] if name == "porterror" else []
    (state,) = zerotier.parse(info, networks, peers, links) or [zerotier.networkless(joined)]
    for silent, wanted in zip((False, True), ZEROTIER[name], strict=True):
        holds(first_cause(state, Peer("10.88.0.31", "nb"), links, info["clock"] / 1000, silent=silent), wanted)


def zerotier_sample(name: str) -> Any:
    """One recorded document."""
    return json.loads((SAMPLES / f"zerotier/{name}.json").read_text(encoding="utf-8"))


def test_a_root_that_only_relays_is_not_called_silent() -> None:
    """What is sent to a silent member by way of the root brings no answer of the root."""
    info, networks, peers = (
        zerotier_sample(f"live2/rootdown.{what}") for what in ("info", "listnetworks", "listpeers")
    )
    for peer in peers:
        if peer["role"] == "LEAF":
            peer.update(paths=[], latency=-1)
    (state,) = zerotier.parse(info, networks, peers, [device("ztnbllj34q", "10.88.0.30/24")])
    assert state.complaints == ()


LIGHTHOUSE = {"tun": {"dev": "neb0"}, "lighthouse": {"hosts": ["10.77.0.1"]}}
NO_LIGHTHOUSE: Cause = (
    "overlay.offline",
    "handshakes that nebula sends to 10.203.3.1:4242 do not complete; no peer answers",
)
NEBULA: dict[str, tuple[Cause, Cause]] = {
    "healthy": (None, UNREACHABLE),
    "direct a<->b blocked, established session": (("overlay.relayed", "through 10.77.0.1"), UNREACHABLE),
    "lighthouse down, sessions up": (
        ("overlay.offline", "there is no tunnel to the lighthouse 10.77.0.1"),
        NO_LIGHTHOUSE,
    ),
    # Before this node has sent to the peer again, it is in neither list.
    "b has expired cert": (None, UNREACHABLE),
    "b cert from other CA": (None, ("overlay.no-handshake", "or the lighthouse does not accept its certificate")),
    "firewall deny on b": (None, UNREACHABLE),
    "all udp 4242 of a blocked": (None, UNREACHABLE),
}
RECORDED = (SAMPLES / "nebula/states.txt").read_text(encoding="utf-8")


def members(hosts: Any, pending: Any) -> tuple[OverlayState, list[Link]]:
    """A node with the lists of Nebula's host map."""
    links = [device("neb0", "10.77.0.10/24")]
    return nebula.state_from(LIGHTHOUSE, None, nebula.parse_hostmap(hosts, pending), links, NOW_UNIX_S), links


@pytest.mark.parametrize("name", NEBULA)
def test_nebula(name: str) -> None:
    """Its host map lags, so a session in it proves nothing; a handshake that stays pending does."""
    section = RECORDED.split(f"=== {name}\n")[1].split("\n===")[0].splitlines()
    lists = [next(line.partition(": ")[2] for line in section if line.startswith(w)) for w in ("hostmap", "pending")]
    state, links = members(*map(json.loads, lists))
    for silent, wanted in zip((False, True), NEBULA[name], strict=True):
        holds(first_cause(state, Peer("10.77.0.20", "nb"), links, NOW_UNIX_S, silent=silent), wanted)


def test_a_peer_whose_certificate_has_expired() -> None:
    """The pending handshake is the first cause, with where it is sent, and its log shows why."""
    (file,) = (SAMPLES / "nebula/live2").glob("*.json")
    pending = json.loads(file.read_text(encoding="utf-8"))
    lighthouse = {"vpnIp": "10.77.0.1", "currentRemote": {"ip": "10.233.3.1", "port": 4242}, "currentRelaysToMe": []}
    state, links = members([lighthouse], pending)
    seen = first_cause(state, Peer("10.77.0.20", "nb"), links, NOW_UNIX_S, silent=True)
    holds(seen, ("overlay.no-handshake", "sends handshakes to nb at 10.233.2.1:4242 and completes none"))


def rows() -> Mapping[str, set[str]]:
    """By folder, the states that have a row."""
    return {"tailscale": set(TAILSCALE), "tailscale/live2": set(LIVE_TAILSCALE), "zerotier/live2": set(ZEROTIER)}


def test_no_recorded_state_is_without_a_row() -> None:
    """A new sample must be judged here before it is kept."""
    recorded = {
        "tailscale": {path.stem.removeprefix("status-") for path in SAMPLES.glob("tailscale/status-*.json")},
        "tailscale/live2": {path.stem.removeprefix("status-") for path in SAMPLES.glob("tailscale/live2/status-*")},
        "zerotier/live2": {path.name.partition(".")[0] for path in SAMPLES.glob("zerotier/live2/*.json")},
    }
    assert recorded == rows()
    assert {part.splitlines()[0] for part in RECORDED.split("=== ")[1:]} == set(NEBULA)
