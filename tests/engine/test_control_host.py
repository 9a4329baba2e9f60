"""Which peer the control plane is reached through: what its trouble may be laid at."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from preflight import codes
from preflight.api import CONTROL, Direction, Facts, Peer, Result, failed, passed
from preflight.engine.control_host import behind_one_end, control_host, sharing_its_way
from preflight.model.facts import ControlTunnelFacts
from preflight.model.kernel import Route
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.proto.way.observation import Observation
from preflight.proto.way.stations import Station
from preflight.settings.load import Settings
from preflight.settings.schema import ControlSettings

B, C = Peer("10.66.0.2", "b"), Peer("10.66.0.3", "c")
TUNNEL = OverlayState("wireguard", "wg0", up=True, mtu=1420, addresses=(ip_interface("10.66.0.1/24"),))
OVERLAY = replace(TUNNEL, peers=(OverlayPeer("k", addresses=(ip_network("10.66.0.3/32"),)),))
SETTINGS = Settings(control=ControlSettings(url="http://10.66.0.3:9847"))
RT = Direction.ROUND_TRIP


def session(target: str, *, dead: bool) -> Result:
    """What overlay.session found."""
    result = failed(codes.OVERLAY_NO_HANDSHAKE, target, RT, "") if dead else passed(target, RT, "")
    return replace(result, check="overlay.session")


def connect(facts: Facts | None = None) -> Result:
    """What control.connect found of a silent control host."""
    return replace(failed(codes.CONTROL_TIMEOUT, CONTROL, RT, "", facts=facts), check="control.connect")


def tunnel(age_s: float | None) -> Facts:
    """The age of the last handshake with the control host."""
    return ControlTunnelFacts(addresses=1, addresses_open=0, tunnel_handshake_age_s=age_s)


@pytest.mark.parametrize(
    ("peers", "results", "host"),
    [
        ((B, C), [], "c"),
        ((B,), [session("b", dead=False), connect()], None),
        ((B,), [session("b", dead=True), connect()], "b"),
        ((B,), [session("b", dead=True), connect(tunnel(None))], "b"),
        ((B,), [session("b", dead=True), connect(tunnel(400.0))], "b"),
        ((B,), [session("b", dead=True), connect(tunnel(4.0))], None),
        ((B, replace(C, address="10.66.0.4")), [session("b", dead=True), session("c", dead=False)], None),
    ],
    ids=["owner", "alive", "all-dead", "both-never", "both-stale", "its-own-tunnel-lives", "one-of-two-dead"],
)
def test_who_stands_for_the_way_to_the_control_plane(
    peers: tuple[Peer, ...], results: list[Result], host: str | None
) -> None:
    """A dead tunnel to one peer must not hide what is wrong with a control plane that has a separate living tunnel."""
    assert control_host(SETTINGS, OVERLAY, peers, results) == host


def test_a_tunnel_without_sessions_is_dead_where_nothing_comes_out_of_it() -> None:
    """Where a tap looked it shows more, and one peer that is silent says nothing of the others."""
    generic, unread = replace(TUNNEL, product="generic"), replace(TUNNEL, unreadable="only root may read it")
    silent = replace(failed(codes.REACH_UNREACHABLE, "b", RT, ""), check="reach.icmp")
    seen = Observation(station=Station("tunnel"), finding="seen")
    assert control_host(SETTINGS, generic, (B,), [silent, connect()]) == "b"
    assert control_host(SETTINGS, unread, (B,), [silent, connect()]) == "b", "an ordinary user reads no session"
    accepted = replace(passed(CONTROL, RT, "accepts"), check="control.connect")
    assert control_host(SETTINGS, unread, (B,), [silent, accepted]) is None, "what is answered there has its own way"
    assert control_host(SETTINGS, generic, (B,), [replace(silent, observations=(seen,)), connect()]) is None
    assert control_host(SETTINGS, generic, (B, replace(C, address="10.66.0.4")), [silent, connect()]) is None
    assert control_host(SETTINGS, OVERLAY, (B,), [silent, connect()]) is None


def test_a_lan_behind_a_tunnel_with_one_end_is_lost_with_the_peers() -> None:
    """A hub that hands nothing on silences both; the tap saw packets leave, and nothing shows where they die."""
    generic, lan = replace(TUNNEL, product="generic"), "http://192.168.77.2:9847"
    routed = replace(generic, routes={"192.168.77.2": Route("192.168.77.2", "wg0")})
    settings = Settings(control=ControlSettings(url=lan))
    seen = Observation(station=Station("tunnel"), finding="seen")
    lost = replace(failed(codes.REACH_UNREACHABLE, "b", RT, ""), check="way.packet", observations=(seen,))
    assert control_host(settings, routed, (B,), [lost, connect()]) == "b"
    placed = replace(lost, station=Station("filter-out"))
    assert control_host(settings, routed, (B,), [placed, connect()]) is None
    assert control_host(SETTINGS, generic, (B,), [lost, connect()]) is None, "a member has a separate way"
    there = replace(
        failed(codes.REACH_NO_FORWARD, "b", Direction.FORWARD, ""), check="way.packet", observations=(seen,)
    )
    assert control_host(SETTINGS, generic, (B,), [there, connect()]) == "b", "b lives, so it is the way that all share"
    assert control_host(SETTINGS, OVERLAY, (B,), [there, connect()]) is None
    ends = replace(routed, peers=(OverlayPeer("203.0.113.2", endpoint="203.0.113.2:4789"),))
    assert control_host(settings, ends, (B,), [lost, connect()]) is None


HUB = replace(TUNNEL, peers=(OverlayPeer("hub", addresses=(ip_network("10.66.0.0/24"),)),))
LAN = replace(TUNNEL, peers=(OverlayPeer("b", addresses=(ip_network("10.66.0.2/32"), ip_network("10.66.0.3/32"))),))
UNREAD = replace(TUNNEL, unreadable="only root may read it")
HOLE = failed(codes.MTU_BLACK_HOLE, "b", RT, "")


@pytest.mark.parametrize(
    ("overlay", "results", "shared"),
    [
        (HUB, [], {"b"}),
        (LAN, [], {"b"}),
        (OVERLAY, [], set()),
        (OVERLAY, [HOLE], set()),
        (UNREAD, [], set()),
        (UNREAD, [HOLE], {"b"}),
        (None, [HOLE], set()),
    ],
    ids=["hub", "behind-a-peer", "own-tunnel", "own-tunnel-and-a-hole", "unread", "unread-and-a-hole", "no-overlay"],
)
def test_whose_packets_take_the_same_way(overlay: OverlayState | None, results: list[Result], shared: set[str]) -> None:
    """The same remote end of a tunnel; where nobody may read it, only large packets lost to everyone show one."""
    assert sharing_its_way(SETTINGS, overlay, (B,), results) == shared


BEHIND = Peer("192.168.77.2", "lan")
HUB = replace(TUNNEL, peers=(OverlayPeer("k", addresses=(ip_network("10.66.0.2/32"), ip_network("192.168.77.0/24"))),))


@pytest.mark.parametrize(
    ("check", "directions", "found"),
    [
        ("reach.udp", [], {"lan": "b"}),
        ("reach.udp", [Direction.FORWARD], {"lan": "b"}),
        ("reach.udp", [Direction.FORWARD, Direction.REVERSE], {}),
        ("reach.icmp", [RT], {}),
    ],
)
def test_who_represents_a_remote_end(check: str, directions: list[Direction], found: dict[str, str]) -> None:
    """The one in the tunnel's own network; nobody where one of them answers, for then the end itself is alive."""
    results = [replace(passed("lan", each, ""), check=check) for each in directions]
    assert behind_one_end(Settings(), HUB, [BEHIND, B], results) == found
    assert behind_one_end(Settings(), OVERLAY, [B, C], results) == {}
    assert behind_one_end(Settings(), None, [BEHIND, B], results) == {}


def test_a_control_plane_behind_a_silent_end_is_one_with_it() -> None:
    """Only where the whole end is silent, and every address of the control plane is behind it."""
    at = Settings(control=ControlSettings(url="http://192.168.77.2:9847"))
    assert behind_one_end(at, HUB, [B], []) == {CONTROL: "b"}
    assert behind_one_end(at, HUB, [B], [replace(passed("b", RT, ""), check="reach.icmp")]) == {}
    assert behind_one_end(SETTINGS, HUB, [B], []) == {}


@pytest.mark.parametrize(
    ("one_end", "shared", "found"), [(True, {"b", "d"}, {"d": "b", CONTROL: "b"}), (False, set(), {})]
)
def test_a_client_of_openvpn_has_one_remote_end(one_end: bool, shared: set[str], found: dict[str, str]) -> None:
    """It does not say who owns what, but all that it sends goes to its server. What is on no overlay does not."""
    overlay = replace(TUNNEL, product="openvpn", one_end=one_end)
    peers = (B, Peer("10.66.0.9", "d"), Peer("192.0.2.9", "e"))
    assert sharing_its_way(SETTINGS, overlay, peers, []) == shared
    assert behind_one_end(SETTINGS, overlay, peers, []) == found
