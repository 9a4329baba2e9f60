"""Each fault does what it says, and only that: seen with plain sockets, without any of preflight's checks."""

import socket
from collections.abc import Callable

import pytest

from preflight.lab.names import LabError
from preflight.lab.network import Network, inside
from preflight.lab.processes import run
from preflight.net.kernel import Kernel

pytestmark = [pytest.mark.lab, pytest.mark.needs("ping")]

Build = Callable[[str], Network]
Arrivals = Callable[..., int]
ALL = 5


@pytest.mark.parametrize(
    ("scenario", "forward", "reverse"),
    [
        ("pair", ALL, ALL),
        ("hub", ALL, ALL),
        ("solo", ALL, ALL),
        ("drop-forward", 0, ALL),
        ("drop-reverse", ALL, 0),
        ("drop-local", ALL, 0),
        ("solo-drop", 0, ALL),
        ("wrong-key", 0, 0),
        ("underlay-udp-blocked", 0, 0),
        ("interface-missing", 0, 0),
        ("interface-down", 0, 0),
        ("peer-gone", 0, 0),
        ("route-leak", 0, ALL),
        ("route-leak-peer", ALL, 0),
        ("asymmetric-route", ALL, ALL),
        ("rp-filter-leak", 0, 0),
        ("icmp-filtered", ALL, ALL),
    ],
)
def test_small_packets(network: Build, arrivals: Arrivals, scenario: str, forward: int, reverse: int) -> None:
    """Protects the direction of each fault: a lab that breaks the other one too would prove a wrong diagnosis right."""
    broken = network(scenario)
    assert arrivals(broken, "a", "b") == forward
    assert arrivals(broken, "b", "a") == reverse


@pytest.mark.parametrize("scenario", ["drop-forward", "drop-reverse", "black-hole-both", "wrong-key", "allowed-ips"])
def test_the_meeting_point_stays(network: Build, arrivals: Arrivals, scenario: str) -> None:
    """Protects the way over c: without it no direction could be shown on the pair."""
    broken = network(scenario)
    for node in ("a", "b"):
        assert arrivals(broken, node, "c") == arrivals(broken, "c", node) == ALL


@pytest.mark.parametrize(
    ("scenario", "forward", "reverse"),
    [("black-hole-forward", 0, ALL), ("black-hole-reverse", ALL, 0), ("black-hole-both", 0, 0)],
)
def test_black_hole(network: Build, arrivals: Arrivals, scenario: str, forward: int, reverse: int) -> None:
    """Protects the size that passes, 1312 in a tunnel of 1420 over 1380, and that nothing signals it."""
    broken = network(scenario)
    for source, target, large in (("a", "b", forward), ("b", "a", reverse)):
        assert arrivals(broken, source, target, size=1312) == ALL
        assert arrivals(broken, source, target, size=1313) == large
        assert arrivals(broken, source, target, size=1420) == large


def test_mtu_reduced_is_signalled(network: Build, arrivals: Arrivals) -> None:
    """Protects mtu-reduced: the router's ICMP arrives, and makes the tunnel's packets travel in fragments."""
    reduced = network("mtu-reduced")
    assert arrivals(reduced, "a", "b", size=1312) == ALL
    assert arrivals(reduced, "a", "b", size=1420) < ALL, "nothing is known yet: some are too big and lost"
    assert arrivals(reduced, "a", "b", size=1420) == ALL, "the tunnel's packets come in fragments now"
    assert "mtu 1380" in in_node(reduced, "a", "ip", "route", "get", "10.201.2.2")


@pytest.mark.parametrize(("scenario", "source", "target"), [("loss-forward", "a", "b"), ("loss-reverse", "b", "a")])
def test_random_loss(network: Build, arrivals: Arrivals, scenario: str, source: str, target: str) -> None:
    """Protects one-way loss: some packets are lost on the one way, none on the other."""
    lossy = network(scenario)
    assert arrivals(lossy, target, source, count=100) == 100
    # 10 % of 400: never none, and never 100 (ten standard deviations).
    assert 300 < arrivals(lossy, source, target, count=400) < 400


def test_wrong_key_has_no_handshake(network: Build, arrivals: Arrivals) -> None:
    """Protects the state that the session check reads: never a handshake with b, one with c."""
    broken = network("wrong-key")
    arrivals(broken, "a", "b")
    ages = dict(line.split("\t") for line in _wg(broken, "a", "latest-handshakes").splitlines())
    assert len(ages) == 2
    assert broken.keys["b"].public not in ages
    assert ages.pop(broken.keys["c"].public) != "0"
    assert list(ages.values()) == ["0"]


def test_blocked_port_has_no_handshake(network: Build, arrivals: Arrivals) -> None:
    """Protects underlay-udp-blocked: the port was closed before the first handshake, not after it."""
    broken = network("underlay-udp-blocked")
    arrivals(broken, "a", "b")
    ages = [line.split("\t")[1] for line in _wg(broken, "a", "latest-handshakes").splitlines()]
    assert ages == ["0", "0"]


def test_allowed_ips(network: Build, arrivals: Arrivals) -> None:
    """Protects allowed-ips: no peer has b's own address, and the handshake with b is fresh anyway."""
    broken = network("allowed-ips")
    assert arrivals(broken, "a", "b") == 0
    assert "10.66.0.2/32" not in _wg(broken, "a", "allowed-ips")
    ages = dict(line.split("\t") for line in _wg(broken, "a", "latest-handshakes").splitlines())
    assert ages[broken.keys["b"].public] != "0"


def test_leaked_route_leaves_by_the_underlay(network: Build) -> None:
    """Protects route-leak: the kernel sends b's overlay address to the router."""
    assert " dev eth0 " in in_node(network("route-leak"), "a", "ip", "route", "get", "10.66.0.2")


def test_only_udp_leaks(network: Build) -> None:
    """Protects route-leak-udp: echoes pass by the tunnel, and only a look that names UDP sees the other route."""
    leaking = network("route-leak-udp")
    in_node(leaking, "a", "ping", "-c1", "-W1", "fd66::2")
    assert f" dev {leaking.names.tunnel('a')} " in in_node(leaking, "a", "ip", "route", "get", "fd66::2")
    assert " dev eth0 " in in_node(leaking, "a", "ip", "route", "get", "fd66::2", "ipproto", "udp")


def test_overlapping_lan_wins(network: Build) -> None:
    """Protects subnet-conflict: the LAN's route is the one that counts, as where it was there first."""
    conflict = network("subnet-conflict")
    assert " dev eth0 " in in_node(conflict, "a", "ip", "route", "get", "10.66.0.2")
    routes = in_node(conflict, "a", "ip", "-4", "route", "show", "10.66.0.0/24").splitlines()
    assert len(routes) == 2


@pytest.mark.parametrize(("scenario", "answered"), [("pair", True), ("icmp-filtered", False)])
def test_echo(network: Build, scenario: str, answered: bool) -> None:
    """Protects icmp-filtered: ICMP echo is what gets no answer, where UDP passes."""
    made = network(scenario)
    words = ["ping", "-c1", "-W1", "-q", "10.66.0.2"]
    if answered:
        in_node(made, "a", *words)
    else:
        with pytest.raises(LabError, match="0 received"):
            in_node(made, "a", *words)


def test_ipv6_only(network: Build) -> None:
    """Protects healthy-v6: the overlay has no IPv4 address, and carries IPv6."""
    made = network("healthy-v6")
    in_node(made, "a", "ping", "-c1", "-W1", "fd66::2")
    assert in_node(made, "a", "ip", "-4", "-o", "address", "show", "dev", made.names.tunnel("a")) == ""


def test_tunnel_mtu(network: Build) -> None:
    """Protects mtu-too-big: the tunnel promises as much as the underlay carries, with nothing left for its headers."""
    made = network("mtu-too-big")
    assert "mtu 1500" in in_node(made, "a", "ip", "link", "show", "eth0")
    assert "mtu 1500" in in_node(made, "a", "ip", "link", "show", made.names.tunnel("a"))


def test_hub_is_a_hop(network: Build) -> None:
    """Protects the hub: a and b are not WireGuard peers of each other, and c is a hop between them."""
    made = network("hub")
    assert len(_wg(made, "a", "peers").split()) == 1
    with inside(made.names.namespace("a")), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as short_lived:
        short_lived.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
        short_lived.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
        short_lived.connect(("10.66.0.2", 40000))
        short_lived.settimeout(2)
        short_lived.send(b"")
        with pytest.raises(OSError, match="No route to host"):
            short_lived.recv(1)


def test_silent_control_port(network: Build) -> None:
    """Protects control-drop: the port gives no answer, where a closed port would refuse."""
    made = network("control-drop")
    with inside(made.names.namespace("a")):
        with pytest.raises(TimeoutError):
            socket.create_connection(("10.66.0.3", 9847), timeout=0.3)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("10.66.0.3", 9846), timeout=2)


def test_far_away(network: Build, arrivals: Arrivals) -> None:
    """Protects healthy-80ms: the round trip to b and c takes 80 ms and more, and nothing is lost."""
    far = network("healthy-80ms")
    assert _round_trips_ms(far, "10.66.0.2") >= 80
    assert _round_trips_ms(far, "10.66.0.3") >= 80
    assert arrivals(far, "a", "b", count=100) == arrivals(far, "b", "a", count=100) == 100


def _round_trips_ms(network: Network, address: str) -> float:
    """The shortest of five."""
    statistics = in_node(network, "a", "ping", "-q", "-c5", "-i0.05", address).splitlines()[-1]
    return float(statistics.split("=")[1].split("/")[0])


@pytest.mark.parametrize(
    ("scenario", "source", "target"), [("reordering", "a", "b"), ("duplication", "a", "b"), ("jitter", "b", "a")]
)
def test_bad_link(network: Build, sequence: Callable[..., list[int]], scenario: str, source: str, target: str) -> None:
    """Protects reordering, duplication and jitter: each does its own harm and no other, on one way only."""
    bad = network(scenario)
    assert sequence(bad, target, source) == list(range(100))
    arrived = sequence(bad, source, target)
    assert set(arrived) == set(range(100)), "nothing is lost"
    assert (len(arrived) > 100) == (scenario == "duplication")
    assert (arrived != sorted(arrived)) == (scenario == "reordering")


def test_reverse_path_filter(network: Build, arrivals: Arrivals) -> None:
    """Protects rp-filter: b drops what a sends, because its own answers would go, and do go, by the second path."""
    broken = network("rp-filter")
    assert arrivals(broken, "a", "b") == 0
    assert arrivals(broken, "b", "a") == ALL
    assert " dev eth0 " in in_node(broken, "b", "ip", "route", "get", "10.66.0.1")
    assert arrivals(broken, "b", "c") == arrivals(broken, "c", "b") == ALL


def test_second_path(network: Build, arrivals: Arrivals) -> None:
    """Protects asymmetric-route: what b sends to a takes the underlay and arrives, what a sends takes the tunnel."""
    second = network("asymmetric-route")
    assert " dev eth0 " in in_node(second, "b", "ip", "route", "get", "10.66.0.1")
    assert f" dev {second.names.tunnel('a')} " in in_node(second, "a", "ip", "route", "get", "10.66.0.2")
    assert arrivals(second, "b", "c") == arrivals(second, "c", "b") == ALL


def test_the_filter_here_minds_the_second_path(network: Build) -> None:
    """Protects second-path-strict-here: what b sends from its overlay address comes in by a's LAN, and is dropped."""
    second = network("second-path-strict-here")
    with pytest.raises(LabError, match="0 received"):
        in_node(second, "a", "ping", "-c1", "-W1", "-q", "10.66.0.2")
    with inside(second.names.namespace("a")):
        assert Kernel().reverse_path_filter().dropped


def test_nat(network: Build, arrivals: Arrivals) -> None:
    """Protects nat-timeout: nobody can call a before it called them, b sees the router, nobody keeps alive."""
    behind = network("nat-timeout")
    assert arrivals(behind, "b", "a") == 0
    assert arrivals(behind, "a", "b") == arrivals(behind, "b", "a") == ALL
    assert f"{behind.keys['a'].public}\t10.201.2.1:" in _wg(behind, "b", "endpoints")
    assert _wg(behind, "a", "persistent-keepalive").count("\toff") == 2


def in_node(network: Network, node: str, *words: str) -> str:
    """What a program prints in a node."""
    return run(network.command(node, *words))


def _wg(network: Network, node: str, what: str) -> str:
    return network.wg(node, "show", network.names.tunnel(node), what)
