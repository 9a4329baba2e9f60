"""ZeroTier's recorded states in the common model."""

import json
from contextlib import suppress
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest

from preflight.model.kernel import Link
from preflight.model.overlay import PRIVILEGE, OverlayPeer, OverlayState
from preflight.overlay.local import LocalError, understood
from preflight.overlay.zerotier import member, parse, state_without
from preflight.settings.peers import overlay_peers

SAMPLES = Path(__file__).parent / "samples/zerotier"
LINKS = (Link(3, "ztixbrw34j", 2800, up=True, carrier=True, kind="tun", addresses=(ip_interface("10.88.0.42/24"),)),)


def sample(name: str) -> Any:
    """One recorded document."""
    return json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))


def read(networks: str, peers: str = "listpeers_direct", clock: int | None = None) -> OverlayState:
    """The one network of recorded documents; `clock` (ms) moves the reading in time."""
    info = sample("info_online") | ({"clock": clock} if clock else {})
    (state,) = parse(info, sample(networks), sample(peers), LINKS)
    return state


def peers(state: OverlayState) -> dict[str, OverlayPeer]:
    """The peers by their keys."""
    return {peer.key: peer for peer in state.peers}


@pytest.mark.parametrize(
    ("networks", "condition", "complaint"),
    [
        ("listnetworks_ok", None, None),
        ("listnetworks_access_denied", "overlay.not-authorized", "ACCESS_DENIED"),
        ("listnetworks_just_joined", None, "REQUESTING_CONFIGURATION"),
    ],
)
def test_the_condition_of_each_network_status(networks: str, condition: str | None, complaint: str | None) -> None:
    """A controller that refuses is a condition; one that is silent leaves the node without address, and a complaint."""
    state = read(networks)
    assert state.condition == condition
    assert complaint is None or any(complaint in line for line in state.health)


def test_a_working_network_in_full() -> None:
    """Interface and prefix; no overhead, because ZeroTier cuts its packets into pieces by itself."""
    state = read("listnetworks_ok")
    assert (state.interface, state.up, state.mtu, state.version) == ("ztixbrw34j", True, 2800, "1.14.1")
    assert state.claims("10.88.0.7") >= 0
    assert (state.overhead_bytes, state.health) == (None, ())


def test_direct_and_relayed_peers() -> None:
    """No path and latency -1 is ZeroTier's way of saying relayed."""
    direct = peers(read("listnetworks_ok"))["a90b2d07e9"]
    assert (direct.endpoint, direct.relayed, direct.name) == ("10.202.2.1:9993", False, "leaf")
    relayed = peers(read("listnetworks_ok", "listpeers_relay", 1795416977000))["a90b2d07e9"]
    assert (relayed.endpoint, relayed.relayed) == (None, True)


def test_a_silent_root_is_found_before_the_daemon_says_offline() -> None:
    """`online` lags 500 s; the root's last report shows it after 100."""
    later = read("listnetworks_ok", clock=1795416660836 + 100_000)
    assert any("cb5aaa8e99 has been silent" in each.said for each in later.complaints)
    assert peers(later)["a90b2d07e9"].endpoint is None


def test_a_network_without_interface_is_down() -> None:
    """PORT_ERROR and the moment before the interface exists."""
    (state,) = parse(sample("info_online"), sample("listnetworks_ok"), [], ())
    assert (state.up, state.mtu) == (False, 2800)


@pytest.mark.parametrize(
    ("kind", "condition", "unreadable"), [("refused", "overlay.daemon-down", "x"), ("privilege", None, PRIVILEGE)]
)
def test_without_the_service(kind: Any, condition: str | None, unreadable: str) -> None:
    """The interface is known by its name even when the service is not there to ask."""
    state = state_without(LINKS, LocalError(kind, "x"))
    assert (state.condition, state.unreadable, state.interface) == (condition, unreadable, "ztixbrw34j")


@pytest.mark.parametrize("broken", [{}, [], None, "x", [{"address": 1}], [{"status": "OK"}]])
def test_another_version_s_answer_is_garbage_or_nothing(broken: Any) -> None:
    """Whatever JSON the service answers, the reader does not break."""
    info = sample("info_online")
    cases: list[tuple[Any, Any, Any]] = [
        (info, broken, []),
        (info, sample("listnetworks_ok"), broken),
        (broken, [], []),
    ]
    for own, networks, peers in cases:
        with suppress(LocalError), understood("zerotier-one"):
            parse(own, networks, peers, LINKS)


def test_a_hardware_address_tells_the_member() -> None:
    """Held to the recorded node's own: its address, its network, and the hardware address that it was given."""
    (network,), own = sample("listnetworks_ok"), sample("info_online")
    assert member(network["mac"], network["nwid"]) == own["address"]
    assert member("02:2f:af:44:4a:34", network["nwid"]) is None
    assert member("12:2f:af", network["nwid"]) is None
    assert member("32:00:00:00:00:00", "0000000000000052") == "0000000000"


def test_a_peer_that_was_met_has_its_overlay_address() -> None:
    """The kernel's neighbour table shows which member has which address; a bridged stranger has none."""
    (network,) = sample("listnetworks_ok")
    met = {"10.88.0.7": "12:48:ba:b4:89:43", "10.88.0.9": "02:00:00:00:00:01"}
    assert member(met["10.88.0.7"], network["nwid"]) == "a90b2d07e9"
    (state,) = parse(sample("info_online"), [network], sample("listpeers_direct"), LINKS, {LINKS[0].index: met})
    peer = state.peer_for("10.88.0.7")
    assert peer is not None
    assert (peer.key, peer.endpoint) == ("a90b2d07e9", "10.202.2.1:9993")
    assert state.peer_for("10.88.0.9") is None
    assert overlay_peers((), state) == ()  # who was met by chance is no list of peers to measure to
    (elsewhere,) = parse(sample("info_online"), [network], sample("listpeers_direct"), LINKS, {99: met})
    assert elsewhere.peer_for("10.88.0.7") is None


def with_roots(*silent_for_ms: int, role: str = "PLANET", status: str = "OK") -> OverlayState:
    """A healthy node's answers, with roots that have been silent for so long."""
    info, networks, known = (sample(f"live2/healthy.{what}") for what in ("info", "listnetworks", "listpeers"))
    networks[0]["status"] = status
    (root,) = [peer for peer in known if peer["role"] == "PLANET"]
    known.remove(root)
    for number, silent_ms in enumerate(silent_for_ms):
        path = root["paths"][0] | {"lastReceive": info["clock"] - silent_ms, "lastSend": info["clock"] - 10}
        known.append(root | {"address": f"cccccccc1{number}", "paths": [path], "role": role})
    (state,) = parse(info, networks, known, LINKS)
    return state


def test_roots_stand_in_for_one_another() -> None:
    """One of ZeroTier's own is spared by another one that answers; a moon is this node's own choice."""
    assert with_roots(200_000, 50).complaints == ()
    (complaint,) = with_roots(200_000, 50, role="MOON").complaints
    assert complaint.said == "the root cccccccc10 has been silent for 200 s, and was last sent to 0 s ago"


def test_a_node_has_one_complaint_about_its_servers() -> None:
    """Several roots that are silent, and a controller that is: two findings of one code broke the whole check."""
    (complaint,) = with_roots(200_000, 300_000, status="REQUESTING_CONFIGURATION").complaints
    assert [complaint.said.count(each) for each in ("controller", "cccccccc10", "cccccccc11")] == [1, 1, 1]
    assert not complaint.cuts
