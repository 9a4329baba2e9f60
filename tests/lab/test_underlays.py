"""What the set-ups of underlay and node really do, seen without the product: each is healthy, and not a plain one."""

import json
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from preflight.lab import hosts, links, probe, users
from preflight.lab.axes.setup import Setup
from preflight.lab.draws import Draw
from preflight.lab.labs import Lab, fresh_lab
from preflight.lab.names import ROUTER, LabError
from preflight.lab.network import UNDERLAY, Network, inside
from preflight.lab.processes import program, run
from preflight.lab.scenario_file import scenario_of
from preflight.lab.topology import HOME_ADDRESS, TUNNEL_PORT, underlay_address
from tests.lab.bare import bare

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

ALL = 3
UDP_HEADERS = 28


@contextmanager
def built(**values: str) -> Iterator[tuple[Lab, Network]]:
    """A lab of a healthy set-up."""
    setup = Setup.of(values)
    assert Draw(setup).impossible() is None
    with fresh_lab(bare(scenario_of(Draw(setup)))) as lab:
        assert lab.network is not None
        yield lab, lab.network


def endpoint_of_a(network: Network) -> str:
    """Where b's tunnel sends what is for a."""
    lines = network.wg("b", "show", network.names.tunnel("b"), "endpoints").splitlines()
    return next(line.split()[1] for line in lines if line.startswith(network.keys["a"].public))


def route(network: Network, node: str, *words: str) -> dict[str, Any]:
    """What the kernel of a node would do with a packet."""
    return dict(json.loads(run(network.command(node, program("ip"), "-j", "route", "get", *words)))[0])


@pytest.mark.parametrize(("nat", "same_port"), [("nat", True), ("cgnat", False)])
def test_others_learn_where_a_is(nat: str, same_port: bool) -> None:
    """Protects the translations: nobody knows a's address before a speaks, and then it is the last gateway's."""
    with built(nat=nat) as (lab, network):
        config = (lab.names.files("b") / f"{lab.names.tunnel('b')}.conf").read_text(encoding="ascii")
        assert config.count("Endpoint") == 1  # c's
        host, _, port = endpoint_of_a(network).rpartition(":")
        assert host == underlay_address("a", 4)
        assert (int(port) == TUNNEL_PORT) is same_port
        assert route(network, "a", underlay_address("b", 4))["prefsrc"] == HOME_ADDRESS[4]
        assert probe.arrivals(network, "b", "a") == probe.arrivals(network, "a", "b") == ALL
        # What nobody behind the translation asked for does not get in.
        assert probe.arrivals(network, "b", "a", to=underlay_address("a", 4)) == 0


def test_each_uplink_has_its_own_way() -> None:
    """Protects the second uplink: a answers there what was sent to its address."""
    with built(uplinks="two") as (_, network):
        second, b = f"{links.SECOND_NETWORK[0]}.2", underlay_address("b", 4)
        assert route(network, "a", b)["dev"] == UNDERLAY
        assert route(network, "a", b, "from", second)["dev"] == links.SECOND_UPLINK
        assert probe.arrivals(network, "b", "a", to=second) == ALL


@pytest.mark.parametrize(
    "values",
    [{"link_mtu": "1460"}, {"link_mtu": "1280", "families": "ipv4"}, {"link_mtu": "9000", "product": "vxlan"},
     {"below": "tunnel"}, {"below": "tunnel", "outer": "ipv6"}],
)  # fmt: skip
def test_the_largest_packets_fit(values: dict[str, str]) -> None:
    """Protects the MTU of healthy set-ups: what fills the tunnel passes every link whole."""
    with built(**values) as (_, network):
        largest = network.plan.tunnel_mtu - (UDP_HEADERS if 4 in network.plan.families else 48)
        assert probe.arrivals(network, "a", "b", size=largest) == ALL
        assert probe.arrivals(network, "b", "a", size=largest) == ALL
        for node in ("a", "b", ROUTER):
            assert fragments(network, node) == 0


def fragments(network: Network, node: str) -> int:
    """How many packets a node has cut into pieces."""
    with inside(network.names.namespace(node)):
        header, values = (
            line.split()[1:] for line in Path("/proc/thread-self/net/snmp").read_text().splitlines()[:2]
        )  # fmt: skip
    return int(dict(zip(header, values, strict=True))["FragCreates"])


def test_the_uplink_is_a_tunnel() -> None:
    """Protects the tunnel below: what a sends passes its uplink and, wrapped, the device below."""
    with built(below="tunnel") as (_, network):
        b = underlay_address("b", 4)
        for device in (UNDERLAY, links.PHYSICAL):
            assert probe.passing(network, "a", "b", at="a", device=device, to=b) == ALL


@pytest.mark.parametrize("nat", ["none", "cgnat"])
def test_a_slow_link_drops_what_it_cannot_queue(nat: str) -> None:
    """Protects the rate, also behind translations: a burst far beyond its queue loses packets, and not all."""
    count, size = 100, 1000
    with built(rate="200kbit", nat=nat) as (_, network):
        address = probe.address_of(network, "b")
        with inside(network.names.namespace("b")):
            receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with inside(network.names.namespace("a")):
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with receiver, sender:
            receiver.bind(("", probe.PORT))
            receiver.settimeout(0.5)
            for _ in range(count):
                sender.sendto(bytes(size), (address, probe.PORT))
            assert 0 < waiting(receiver) < count // 2


def waiting(receiver: socket.socket) -> int:
    """How many datagrams come until none does for a while."""
    seen = 0
    try:
        while receiver.recv(2000):
            seen += 1
    except TimeoutError:
        return seen
    return seen


def accepts(network: Network, source: str, target: str, port: int, address: str) -> bool | None:
    """What happens to a TCP connection: True, refused (False), or no answer (None)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside(network.names.namespace(target)):
        server = socket.create_server((address, port), family=family)
    with inside(network.names.namespace(source)):
        client = socket.socket(family, socket.SOCK_STREAM)
    with server, client:
        client.settimeout(1.0)
        try:
            client.connect((address, port))
        except TimeoutError:
            return None
        except ConnectionRefusedError:
            return False
    return True


@pytest.mark.parametrize("firewall", ["nftables", "legacy"])
def test_firewalls_drop_what_nobody_needs(firewall: str) -> None:
    """Protects the default-drop firewalls: a port that nobody opened is closed on the underlay, not in the overlay."""
    with built(firewall=firewall) as (_, network):
        for family in (4, 6):
            assert accepts(network, "a", "b", 7777, network.plan.address("b", family))
            assert accepts(network, "a", "b", 7777, underlay_address("b", family)) is None
        # What a may not send at all is refused at home.
        assert probe.passing(network, "a", "b", at="a", device=UNDERLAY, to=underlay_address("b", 4)) == 0


def test_the_hosts_hooks_see_a_containers_outer_packets() -> None:
    """Protects the container: it has no uplink, and what its host drops does not leave."""
    with built(namespace="container") as (_, network):
        links_of_a = json.loads(run(network.command("a", program("ip"), "-j", "link")))
        assert {link["ifname"] for link in links_of_a} == {"lo", network.names.tunnel("a")}
        assert probe.arrivals(network, "a", "b") == probe.arrivals(network, "b", "a") == ALL
        network.nft(network.plan.outer("a"), f"output udp dport {TUNNEL_PORT} drop")
        assert probe.arrivals(network, "a", "b") == 0


def test_the_second_vpn_works() -> None:
    """Protects the second VPN: its own prefix goes through it, by its own table, also from behind a translation."""
    with built(second_vpn="other", nat="nat", firewall="nftables") as (_, network):
        found = route(network, "a", hosts.OFFICE_HOST)
        assert (found["dev"], found["table"]) == (network.names.other_vpn, str(hosts.OFFICE_TABLE))
        assert probe.arrivals(network, "a", ROUTER, to=hosts.OFFICE_HOST) == ALL


@pytest.mark.parametrize("uplinks", ["one", "two"])
def test_a_strict_filter_lets_pass_what_comes_the_right_way(uplinks: str) -> None:
    """Protects the strict filter: it is in force on every device, and nothing healthy fails it."""
    with built(filter="strict", uplinks=uplinks) as (_, network):
        own = [f"{links.SECOND_NETWORK[0]}.2"] if uplinks == "two" else []
        for address in (probe.address_of(network, "a"), underlay_address("a", 4), *own):
            assert probe.arrivals(network, "b", "a", to=address) == ALL
        if uplinks == "one":
            # b's address in the overlay does not belong on a's uplink.
            source = network.plan.address("b", 4)
            links.ip(network, "b", f"route add {underlay_address('a', 4)} via 10.201.2.1 src {source}")
            assert probe.arrivals(network, "b", "a", to=underlay_address("a", 4)) == 0


def test_an_ordinary_user_reads_only_what_is_its_own() -> None:
    """Protects the ordinary user: it has a's files and nobody else's, no privilege, and sends ICMP as on any host."""
    with built(user="ordinary") as (lab, network):

        def asked(expression: str) -> str:
            words = "import os, pathlib; print(" + expression + ")"
            return run(lab.users_command([sys.executable, "-c", words])).strip()

        assert asked("os.getuid()") == str(users.UID)
        assert asked("'CapEff:\\t' + '0' * 16 in pathlib.Path('/proc/self/status').read_text()") == "True"
        assert len(asked(f"pathlib.Path('{lab.names.files('a')}/token').read_text()")) > 1
        with pytest.raises(LabError, match="PermissionError"):
            asked(f"pathlib.Path('{lab.names.files('b')}/token').read_text()")
        assert run(lab.command([sys.executable, "-c", "import os; print(os.getuid())"])).strip() == "0"
        with inside(network.names.namespace("a")):
            allowed = Path("/proc/sys/net/ipv4/ping_group_range").read_text(encoding="ascii").split()
        assert int(allowed[0]) <= users.GID <= int(allowed[1])


def test_a_vrf_works_or_the_lab_says_what_is_missing() -> None:
    """Protects users of kernels without VRFs: the lab names what is missing. On other kernels the tunnel works."""
    with ExitStack() as stack:
        if not has_vrf(stack):
            stack.enter_context(pytest.raises(LabError, match=r"no VRF \(module vrf\)"))
        _, network = stack.enter_context(built(namespace="vrf"))
        assert probe.arrivals(network, "a", "b") == probe.arrivals(network, "b", "a") == ALL


def has_vrf(stack: ExitStack) -> bool:
    """Whether the kernel makes a VRF, tried in a separate namespace."""
    names = f"preflight-vrf-{secrets.token_hex(4)}"
    run([program("ip"), "netns", "add", names])
    stack.callback(run, [program("ip"), "netns", "del", names])
    try:
        run([program("ip"), "-n", names, "link", "add", "vrf0", "type", "vrf", "table", "10"])
    except LabError:
        return False
    return True
