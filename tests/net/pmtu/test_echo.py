"""Echo searches over real sockets: on loopback, and across a router with a link that is too small."""

import asyncio
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path

import pytest

from preflight.model.pmtu import PathMtu, SearchOutcome
from preflight.net.pmtu.search import PathMtuProbes
from preflight.proto.pmtu.wire import LARGEST
from preflight.settings.load import Settings

pytestmark = pytest.mark.lab

NARROW = 1380
FAMILIES = pytest.mark.parametrize("address", ["198.51.100.2", "fd00:2::2"])
SEARCH = """
import asyncio, pickle, sys
from preflight.net.pmtu.search import PathMtuProbes
from preflight.settings.load import Settings

found = asyncio.run(PathMtuProbes(Settings()).echo(sys.argv[1]))
sys.stdout.buffer.write(pickle.dumps(found))
"""
ORDINARY = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", "--regid=65534", "--clear-groups")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def searched(*command: str, address: str) -> PathMtu:
    """Run a search within a command that enters a namespace or drops privileges."""
    done = subprocess.run(
        [*command, sys.executable, "-c", SEARCH, address],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    found: PathMtu = pickle.loads(done.stdout)
    return found


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_this_host_echoes_the_largest_size(address: str) -> None:
    """Protects the shell: a raw socket also shows our own requests on loopback, which do not count as answers."""
    found = asyncio.run(PathMtuProbes(Settings()).echo(address))
    assert (found.outcome, found.mtu_bytes, found.fits) == (SearchOutcome.MEASURED, LARGEST, True)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_ordinary_user_takes_a_ping_socket(address: str) -> None:
    """Protects runs without privilege: where the sysctl allows it, the search needs none, for both families."""
    allow = "ip link set lo up; sysctl -qw net.ipv4.ping_group_range='0 2147483647'"
    enter = ("unshare", "--net", "sh", "-c", f'{allow}; exec "$@"', "-", *ORDINARY)
    assert searched(*enter, address=address).fits


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_without_any_socket_it_says_so(address: str) -> None:
    """Protects an ordinary user from an exception, and from a finding: nothing could be sent."""
    found = searched("unshare", "--net", *ORDINARY, address=address)
    assert (found.outcome, found.mtu_bytes) == (SearchOutcome.NOT_PERMITTED, None)


def test_an_address_without_a_way() -> None:
    """Protects a run on a node without a route: an outcome, not an exception."""
    assert searched("unshare", "--net", address="203.0.113.1").outcome is SearchOutcome.NO_ANSWER


class Router:
    """Two hosts, a and b, and a router between them."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def within(self, node: str) -> tuple[str, ...]:
        """The start of a command that runs there."""
        return ("ip", "netns", "exec", f"{self.prefix}-{node}")

    def run(self, node: str, *command: str) -> None:
        """Run a command there."""
        subprocess.run([*self.within(node), *command], check=True)

    def narrow(self, *ways: str) -> None:
        """Let the router carry 1380 bytes towards these hosts."""
        for node in ways:
            for net in NETS[node]:
                self.run("r", "ip", "route", "add", host(net, 2), "dev", f"to-{node}", "mtu", "lock", str(NARROW))

    def drop(self, node: str, hook: str, rule: str) -> None:
        """Have a node drop what matches."""
        head = f"type filter hook {hook} priority 0;"
        self.run(node, "nft", f"table inet t {{ chain {hook} {{ {head} {rule} drop; }}; }}")

    def hush(self) -> None:
        """Let the router keep silent about what is too big."""
        self.drop("r", "output", "icmp type destination-unreachable")
        self.run("r", "nft", "add rule inet t output icmpv6 type packet-too-big drop")


NETS = {"a": ("192.0.2.0/30", "fd00:1::/64"), "b": ("198.51.100.0/30", "fd00:2::/64")}


def host(net: str, number: int) -> str:
    """An address of one of these networks."""
    return str(ip_network(net)[number])


@pytest.fixture
def router() -> Iterator[Router]:
    """Made new for each test, because the kernel remembers path MTUs for ten minutes."""
    made = Router(f"echo{os.getpid()}")
    with ExitStack() as cleanup:
        for node in "abr":
            ip("netns", "add", f"{made.prefix}-{node}")
            cleanup.callback(ip, "netns", "del", f"{made.prefix}-{node}")
        made.run("r", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for node, nets in NETS.items():
            far = ("type", "veth", "peer", "name", "eth0", "netns", f"{made.prefix}-{node}")
            made.run("r", "ip", "link", "add", f"to-{node}", *far)
            for place, device, number in (("r", f"to-{node}", 1), (node, "eth0", 2)):
                made.run(place, "ip", "link", "set", device, "up")
                for net in nets:
                    own = f"{host(net, number)}/{net.partition('/')[2]}"
                    made.run(place, "ip", "addr", "add", own, "dev", device, *(("nodad",) if ":" in own else ()))
            for net in nets:
                made.run(node, "ip", "route", "add", "default", "via", host(net, 1))
        yield made


@FAMILIES
def test_a_router_that_tells(router: Router, address: str) -> None:
    """Protects the signalled case: exact size, who said so, and no black hole."""
    router.narrow("b")
    found = searched(*router.within("a"), address=address)
    assert (found.mtu_bytes, found.signalled, found.black_hole) == (NARROW, True, False)
    assert found.icmp_from == ("fd00:1::1" if ":" in address else "192.0.2.1",)


@FAMILIES
def test_a_router_that_keeps_silent(router: Router, address: str) -> None:
    """Protects the finding: exact to the byte, and without any ICMP error."""
    router.narrow("b")
    router.hush()
    found = searched(*router.within("a"), address=address)
    assert (found.mtu_bytes, found.black_hole, found.icmp_from) == (NARROW, True, ())


def test_answers_that_the_router_splits(router: Router) -> None:
    """Protects against a pass: IPv4 answers go without DF, so they come back, but not whole."""
    router.narrow("a")
    found = searched(*router.within("a"), address="198.51.100.2")
    assert found.fragmented_outside
    assert not found.black_hole
    assert found.mtu_bytes == NARROW


def test_a_host_that_filters_echoes(router: Router) -> None:
    """Protects honesty: no answer gives no size; a full-size packet to a closed port still proves the way there."""
    router.drop("b", "input", "icmp type echo-request")
    assert searched(*router.within("a"), address="198.51.100.2").outcome is SearchOutcome.NO_ANSWER
    script = (
        "import asyncio\n"
        "from preflight.net.pmtu.search import PathMtuProbes\n"
        "from preflight.settings.load import Settings\n"
        "carries = PathMtuProbes(Settings()).underlay_carries\n"
        "print(asyncio.run(carries('198.51.100.2', 1500, 1500, timeout_s=1.0)))\n"
    )
    done = subprocess.run([*router.within("a"), sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b"1500"
