"""Facts of set-ups: what their addresses and routes really look like, seen without the product."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from preflight.lab.axes.setup import Setup
from preflight.lab.draws import Draw
from preflight.lab.labs import fresh_lab
from preflight.lab.names import ROUTER
from preflight.lab.network import UNDERLAY, WIREGUARD_SOCKETS, Network, inside, netlink
from preflight.lab.part import Part, planned
from preflight.lab.processes import run
from preflight.lab.scenario_file import scenario_of
from preflight.lab.site import wait_for_answer
from preflight.lab.topology import gateway_address, underlay_address
from tests.lab.bare import bare

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

LAN = "192.168.77.0/24"
SERVER = "192.168.77.1"
_PORT_OF_NOBODY = 1


@contextmanager
def network_of(setup: Setup, *parts: Part) -> Iterator[Network]:
    """The network of a healthy set-up with further parts."""
    scenario = bare(scenario_of(Draw(setup)))
    with fresh_lab(replace(scenario, faults=(*scenario.faults, *parts))) as lab:
        assert lab.network is not None
        yield lab.network


def way(network: Network, node: str, *words: str) -> str:
    """The kernel's answer to `ip route get`."""
    return run(network.command(node, "ip", "route", "get", *words))


def answers(network: Network, node: str, address: str) -> None:
    """Return once the host with an address answers a node. Raises LabError."""
    with inside(network.names.namespace(node)):
        wait_for_answer(address, _PORT_OF_NOBODY, time.monotonic() + 5)


def give_c_a_lan(network: Network) -> None:
    """An address of the LAN on c itself, in place of a host there."""
    with netlink(network.names.namespace("c")) as route:
        route.addr("add", index=route.link_lookup(ifname="lo")[0], address=SERVER, prefixlen=24)


BEHIND_C = (planned("a LAN behind c", lans={"c": LAN}), Part("an address in it", tunnels=give_c_a_lan))


@pytest.mark.parametrize(
    "setup",
    [
        Setup(),
        Setup(layout="hub"),
        Setup(product="vxlan"),
        Setup(product="nebula", families="ipv4"),
        Setup(product="openvpn"),
        Setup(product="openvpn", home="peer"),
    ],
    ids=str,
)
def test_a_lan_behind_a_member_is_reached_through_the_tunnel(setup: Setup) -> None:
    """Protects set-ups with a control plane behind a peer: the way there is the overlay, with every product."""
    with network_of(setup, *BEHIND_C) as network:
        for node in ("a", "b"):
            assert f"dev {network.names.tunnel(node)}" in way(network, node, SERVER)
            answers(network, node, SERVER)
        assert run(network.command("c", "sysctl", "-n", "net.ipv4.ip_forward")).strip() == "1"


def show(network: Network, node: str, words: str) -> str:
    """The output of ip(8)."""
    return run(network.command(node, "ip", *words.split()))


def peers_of(network: Network, device: str, what: str) -> dict[str, str]:
    """What `wg show` says of each peer of a tunnel of a's, by the peer's key."""
    lines = network.wg("a", "show", device, what).splitlines()
    return {key: value for key, _, value in (line.partition("\t") for line in lines)}


def works_after_new_keys(network: Network) -> None:
    """What faults do to a's tunnels leaves them as they were: they are configured again, and all peers answer."""
    network.configure_tunnel("a")
    for peer in ("b", "c"):
        answers(network, "a", network.plan.address(peer, network.plan.families[0]))


@pytest.mark.parametrize("setup", [Setup(routes="host"), Setup(routes="host", families="ipv6", outer="ipv6")], ids=str)
def test_host_addresses_are_as_wg_quick_makes_them(setup: Setup) -> None:
    """Protects set-ups with a /32: no route for the prefix, one for each peer, and the file that users have."""
    with network_of(setup) as network:
        tunnel = network.names.tunnel("a")
        for family, length in ((4, 32), (6, 128)):
            if family in network.plan.families:
                assert f"/{length} " in show(network, "a", f"-{family} -o address show dev {tunnel} scope global")
                assert f"dev {tunnel}" in way(network, "a", network.plan.address("b", family))
                assert f"dev {UNDERLAY}" in way(network, "a", network.plan.address("b", family) + "9")
        file = (network.names.etc("a") / "wireguard" / f"{tunnel}.conf").read_text()
        assert f"Address = {network.plan.address('a', network.plan.families[0])}/" in file
        assert f"MTU = {network.plan.tunnel_mtu}" in file
        works_after_new_keys(network)


@pytest.mark.parametrize(
    "setup",
    [
        Setup(routes="default"),
        Setup(routes="default", layout="hub", families="ipv4", filter="strict"),
        Setup(routes="default", outer="ipv6", home="peer"),
    ],
    ids=str,
)
def test_a_default_route_has_wg_quicks_rules_and_mark(setup: Setup) -> None:
    """Protects set-ups with 0.0.0.0/0: policy routing is real, the tunnel's own packets pass it, and c sends on."""
    with network_of(setup) as network:
        tunnel, plan = network.names.tunnel("a"), network.plan
        rules = show(network, "a", "rule show")
        assert "not from all fwmark 0xca6c lookup 51820" in rules
        assert "lookup main suppress_prefixlength 0" in rules
        assert f"wg-quick-{tunnel}" in run(network.command("a", "nft", "list", "tables"))
        endpoint = underlay_address("b", plan.underlay)
        assert f"dev {tunnel}" in way(network, "a", plan.address("b", 4))
        assert f"dev {UNDERLAY}" in way(network, "a", endpoint, "mark", "0xca6c")
        assert f"dev {tunnel}" in way(network, "a", underlay_address("b", 4))
        works_after_new_keys(network)
        assert network.wg("a", "show", tunnel, "fwmark").strip() == "0xca6c"
        answers(network, "a", gateway_address("c", 4))


@pytest.mark.parametrize(
    "setup",
    [
        Setup(routes="halves"),
        Setup(routes="halves", outer="ipv6", layout="hub"),
        Setup(routes="halves", product="openvpn"),
        Setup(routes="halves", product="openvpn", families="ipv4"),
    ],
    ids=str,
)
def test_two_halves_win_over_the_default_route(setup: Setup) -> None:
    """Protects set-ups with two half-default routes: what is not the tunnel's own goes into it."""
    with network_of(setup) as network:
        tunnel, plan = network.names.tunnel("a"), network.plan
        assert "default via" in show(network, "a", "route show")
        for family in plan.families:
            assert f"dev {tunnel}" in way(network, "a", plan.address("b", family))
            assert f"dev {tunnel}" in way(network, "a", "192.0.2.1" if family == 4 else "2001:db8::1")
        assert f"dev {UNDERLAY}" in way(network, "a", underlay_address(plan.exit, plan.underlay))
        if plan.product == "wireguard":
            works_after_new_keys(network)
        answers(network, "a", gateway_address(plan.exit, 4))


@pytest.mark.parametrize("setup", [Setup(routes="per-peer"), Setup(routes="per-peer", others="offline")], ids=str)
def test_a_tunnel_for_each_peer_has_the_same_address(setup: Setup) -> None:
    """Protects set-ups with several tunnels: one address on all, each with its own port and its own peer."""
    with network_of(setup) as network:
        names, own = network.names, f"{network.plan.address('a', 4)}/32"
        devices = {peer: network.tunnel_to("a", peer) for peer in network.plan.neighbours("a")}
        assert len(set(devices.values())) == len(devices) == (5 if setup.others == "offline" else 2)
        assert devices["b"] == names.tunnel("a")
        assert network.tunnel_to("b", "a") == names.tunnel("b")
        for peer, device in devices.items():
            assert own in show(network, "a", f"-4 -o address show dev {device}")
            assert f"dev {device}" in way(network, "a", network.plan.address(peer, 4))
            assert list(peers_of(network, device, "allowed-ips")) == [network.keys[peer].public]
        ports = {network.wg("a", "show", device, "listen-port").strip() for device in devices.values()}
        assert len(ports) == len(devices)
        works_after_new_keys(network)
        assert [each for each in WIREGUARD_SOCKETS.glob("*") if each.stem in devices.values()] or kernel_wireguard()
    assert not [each for each in WIREGUARD_SOCKETS.glob("*") if each.stem in devices.values()]


def kernel_wireguard() -> bool:
    """Whether this kernel has WireGuard, whose tunnels have no sockets."""
    return Path("/sys/module/wireguard").exists()


@pytest.mark.parametrize("setup", [Setup(routes="wider"), Setup(routes="wider", addresses="shared")], ids=str)
def test_the_overlays_route_wins_over_a_wider_one(setup: Setup) -> None:
    """Protects set-ups whose LAN has a route for a range that contains the overlay: it is for other addresses only."""
    with network_of(setup) as network:
        other = "10.99.0.1" if setup.addresses == "private" else "100.99.0.1"
        for target in (other, "fd99::1"):
            assert "/8" in (found := show(network, "a", f"route get {target} fibmatch")) or "/10" in found
        for family in network.plan.families:
            assert f"dev {network.names.tunnel('a')}" in way(network, "a", network.plan.address("b", family))


@pytest.mark.parametrize("value", ["offline", "many-offline"])
def test_offline_peers_are_silent(value: str) -> None:
    """Protects set-ups with offline peers: the tunnel has them, nothing comes back, and no setting names them."""
    with network_of(Setup(others=value)) as network:
        received = peers_of(network, network.names.tunnel("a"), "transfer")
        for peer in network.plan.offline_peers:
            assert received[network.keys[peer].public].split("\t")[0] == "0"
        assert len(network.plan.offline_peers) == len(received) - 2 == (3 if value == "offline" else 40)
        log = (network.names.directory / "tunnel-a.log").read_text() if not kernel_wireguard() else ""
        assert "unreachable" not in log
        settings = yaml.safe_load((network.names.files("a") / "preflight.yaml").read_text())
        assert [peer["name"] for peer in settings["peers"]] == ["b"]


@pytest.mark.parametrize(
    "setup",
    [
        Setup(product="openvpn", families="ipv6", outer="ipv6"),
        Setup(product="openvpn", families="ipv4", addresses="shared"),
        Setup(product="openvpn", layout="hub", home="peer"),
        Setup(product="nebula", families="ipv4", outer="ipv6", addresses="shared"),
        Setup(product="vxlan", outer="ipv6", families="ipv6"),
    ],
    ids=str,
)
def test_a_product_has_the_addresses_of_its_set_up(setup: Setup) -> None:
    """Protects set-ups of other products: families, ranges and the outer packets are those that the set-up names."""
    with network_of(setup) as network:
        plan = network.plan
        for family in (4, 6):
            shown = show(network, "a", f"-{family} -o address show dev {network.names.tunnel('a')} scope global")
            assert bool(shown) == (family in plan.families)
            if family in plan.families:
                assert plan.address("a", family) in shown
                answers(network, "b", plan.address("a", family))
        assert _outer_families(network) == {plan.underlay}


def _outer_families(network: Network) -> set[int]:
    """The families of the tunnel's packets that the router forwards between members."""
    before = _counted(network)
    answers(network, "a", network.plan.address("b", network.plan.families[0]))
    return {family for family, count in _counted(network).items() if count > before[family]}


def _counted(network: Network) -> dict[int, int]:
    with inside(network.names.namespace(ROUTER)):
        ipv4 = Path("/proc/thread-self/net/snmp").read_text().splitlines()
        ipv6 = dict(line.split() for line in Path("/proc/thread-self/net/snmp6").read_text().splitlines())
    names, values = (line.split()[1:] for line in ipv4 if line.startswith("Ip:"))
    return {4: int(dict(zip(names, values, strict=True))["ForwDatagrams"]), 6: int(ipv6["Ip6OutForwDatagrams"])}


def test_a_hub_of_openvpn_forwards_in_its_kernel() -> None:
    """Protects hubs: what goes from spoke to spoke passes the hub's own forwarding, where it can filter and shape."""
    with network_of(Setup(product="openvpn", layout="hub")) as network:
        network.nft("c", f"forward ip daddr {network.plan.address('b', 4)} counter")
        answers(network, "a", network.plan.address("b", 4))
        counted = re.search(r"counter packets (\d+)", run(network.command("c", "nft", "list", "ruleset")))
        assert counted is not None
        assert int(counted[1]) > 0
