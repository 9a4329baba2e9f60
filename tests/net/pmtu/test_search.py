"""Path-MTU searches over real sockets: on loopback, and through a real tunnel over a link that is too small."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from preflight_checks.mtu_path import mtu_path

from preflight.api import Context, Direction, Peer, Status
from preflight.model.event import Event
from preflight.model.pmtu import OneWay, PathMtu, SearchOutcome
from preflight.net import Net
from preflight.net.pmtu.search import PathMtuProbes, largest
from preflight.proto.pmtu.wire import LARGEST
from preflight.settings.load import Secrets, Settings
from preflight.settings.schema import CheckSettings

SERVER = Path(__file__).parents[1] / "probe_server.py"
DIRECTIONS: tuple[OneWay, ...] = ("forward", "reverse")
BOTH = pytest.mark.parametrize("direction", DIRECTIONS)


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A program that is ended with the block."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)


@contextmanager
def responding(address: str, *arguments: str, within: tuple[str, ...] = (), port: int = 0) -> Iterator[int]:
    """A responder of path-MTU probes; gives its port."""
    with running(*within, sys.executable, str(SERVER), address, str(port), *arguments) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


def searched(peer: Peer, direction: OneWay, *, key: bytes | None = None, ceiling_bytes: int | None = None) -> PathMtu:
    probes = PathMtuProbes(Settings(secrets=Secrets(responder_key=key)))
    return asyncio.run(probes.search(peer, direction, ceiling_bytes=ceiling_bytes))


@BOTH
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_loopback(address: str, direction: OneWay) -> None:
    """Protects the shell around the search: both families, both directions, up to the largest size that is tried."""
    with responding(address) as port:
        found = searched(Peer(address, responder_port=port), direction)
    assert (found.outcome, found.mtu_bytes, found.fits) == (SearchOutcome.MEASURED, LARGEST, True)
    assert found.rtt_s is not None


@BOTH
def test_the_settings_choose_the_strict_search(direction: OneWay) -> None:
    """Protects `checks: {pmtu: strict}`: greeting, BASE_PLPMTU and ceiling, one after the other."""
    settings = Settings(checks=CheckSettings(pmtu="strict"))
    with responding("127.0.0.1") as port:
        search = PathMtuProbes(settings).search(Peer("127.0.0.1", responder_port=port), direction)
        found = asyncio.run(search)
    assert (found.fits, found.probes_sent, found.passed) == (True, 3, (144, 1200, LARGEST))


@BOTH
def test_a_ceiling_is_kept(direction: OneWay) -> None:
    """Protects the caller's bound in the direction in which this node sends; the peer knows its own better."""
    with responding("127.0.0.1") as port:
        found = searched(Peer("127.0.0.1", responder_port=port), direction, ceiling_bytes=1500)
    assert found.ceiling_bytes == (1500 if direction == "forward" else LARGEST)


def test_the_key_is_used(tmp_path: Path) -> None:
    """Protects authenticated responders: with the key the search works, without it nobody answers."""
    file = tmp_path / "key"
    file.write_bytes(b"sixteen bytes or more")
    with responding("127.0.0.1", str(file)) as port:
        peer = Peer("127.0.0.1", responder_port=port)
        assert all(searched(peer, direction, key=file.read_bytes()).fits for direction in DIRECTIONS)
        assert searched(peer, "forward").outcome is SearchOutcome.NO_ANSWER


def test_a_listener_hears_the_whole_search() -> None:
    """Protects `--debug`: each event names its search, times are the steady clock, and sizes are there."""
    events: list[Event] = []
    probes = PathMtuProbes(Settings(), listener=events.append)
    before = time.monotonic()
    with responding("127.0.0.1") as port:
        asyncio.run(probes.search(Peer("127.0.0.1", "b", port), "forward", ceiling_bytes=1420))
    assert {(event.source, event.subject) for event in events} == {("pmtu.fast", "b forward")}
    assert before <= events[0].at_s <= events[-1].at_s <= time.monotonic()
    assert (events[0].name, events[-1].name) == ("search-started", "concluded")
    assert {event.fields["size_bytes"] for event in events if event.name == "probe-answered"} >= {1280, 1420}


def test_nobody_listens() -> None:
    """Protects the quick answer to a closed port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    found = searched(Peer("127.0.0.1", responder_port=port), "forward")
    assert (found.outcome, found.mtu_bytes) == (SearchOutcome.REFUSED, None)


def test_an_address_that_cannot_be_sent_to() -> None:
    """Protects a run on a node without a way there: an outcome, not an exception."""
    assert searched(Peer("255.255.255.255"), "forward").outcome is SearchOutcome.NO_ANSWER


def test_a_closed_port_proves_what_a_path_carries() -> None:
    """Protects the advice: a host without anything of ours proves a size by refusing it."""
    probes = PathMtuProbes(Settings())
    assert asyncio.run(probes.underlay_carries("127.0.0.1", 1372, 1375, timeout_s=1.0)) == 1375


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_hops_are_asked_through_a_real_socket(address: str) -> None:
    """Protects the shell of the search for the hop: TTLs go out, port-unreachables come in."""
    found = asyncio.run(PathMtuProbes(Settings()).vanishing(address, small=1312, large=1313, patience_s=1.0))
    assert (found.destination, found.doubt) == (1, "there is no hop in between")


def test_hops_of_a_way_that_is_not_there() -> None:
    """Protects a run on a node without a route: no hops, no exception."""
    found = asyncio.run(PathMtuProbes(Settings()).vanishing("255.255.255.255", small=1, large=2, patience_s=0.1))
    assert (found.hops, found.doubt) == ((), "no hop answers")


class Relay(asyncio.DatagramProtocol):
    """Takes packets on to a responder and back; those of some ports are lost, by the order in which they send."""

    def __init__(self, port: int, lost: frozenset[int]) -> None:
        self._port, self._lost = port, lost
        self.senders: dict[tuple[str, int], socket.socket] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers leave by."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """One socket towards the responder for each sender."""
        if addr not in self.senders:
            link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            link.connect(("127.0.0.1", self._port))
            link.setblocking(False)
            self.senders[addr] = link
            asyncio.get_running_loop().add_reader(link, self._back, link, addr)
        if list(self.senders).index(addr) not in self._lost:
            self.senders[addr].send(data)

    def _back(self, link: socket.socket, addr: tuple[str, int]) -> None:
        self._transport.sendto(link.recv(LARGEST), addr)

    def close(self) -> None:
        """End all sockets."""
        for link in self.senders.values():
            asyncio.get_running_loop().remove_reader(link)
            link.close()
        self._transport.close()


async def through_a_relay(port: int, probes: PathMtuProbes, *lost: int) -> tuple[tuple[PathMtu, PathMtu], int]:
    """What both searches find, and how many sockets sent."""
    relay = Relay(port, frozenset(lost))
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: relay, local_addr=("127.0.0.1", 0))
    try:
        peer = Peer("127.0.0.1", responder_port=transport.get_extra_info("sockname")[1])
        return await probes.both(peer, tunnel_bytes=1420, rtt_s=0.001), len(relay.senders)
    finally:
        relay.close()


def test_one_silent_direction_is_searched_again_alone() -> None:
    """Both need both ways: the search whose packets the other one displaced from a short queue is not without a
    responder.
    """
    with responding("127.0.0.1") as port:
        both, senders = asyncio.run(through_a_relay(port, PathMtuProbes(Settings()), 1))
    assert [each.outcome for each in both] == [SearchOutcome.MEASURED] * 2
    assert senders == 3


def test_both_are_searched_again_only_on_a_slow_link() -> None:
    """Who has answered other packets answers these too, unless its responder has a key that this node lacks."""
    with responding("127.0.0.1") as port:
        quick, slow = PathMtuProbes(Settings()), PathMtuProbes(Settings())
        slow._budgets["forward"].s_per_byte = 1e-7
        silent, senders = asyncio.run(through_a_relay(port, quick, 0, 1))
        assert (silent[0].silent, silent[1].silent, senders) == (True, True, 2)
        both, senders = asyncio.run(through_a_relay(port, slow, 0, 1))
    assert [each.outcome for each in both] == [SearchOutcome.MEASURED] * 2
    assert senders == 4


def test_the_check_measures_side_by_side() -> None:
    """Protects the way from socket to verdict: one peer with, one without responder, none mixed up."""
    with responding("127.0.0.1") as port:
        peers = (Peer("127.0.0.1", "here", port), Peer("127.0.0.2", "nobody", port))
        settings = Settings(peers=peers)

        async def collect() -> list[tuple[str, Direction, Status]]:
            context = Context(settings=settings, peers=peers, overlay=None, net=Net(settings))
            return [(found.target, found.direction, found.status) async for found in mtu_path.function(context)]

        results = asyncio.run(collect())
    assert results == [
        ("here", Direction.FORWARD, Status.PASS),
        ("here", Direction.REVERSE, Status.PASS),
        ("nobody", Direction.FORWARD, Status.INCONCLUSIVE),
        ("nobody", Direction.REVERSE, Status.INCONCLUSIVE),
    ]


def test_the_search_alone_as_a_program() -> None:
    """Protects `python -m preflight.net.pmtu`, which is what the benchmark of the search alone runs."""
    with responding("127.0.0.1") as port:
        command = [sys.executable, "-m", "preflight.net.pmtu", "127.0.0.1", str(port)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [json.loads(line)["mtu_bytes"] for line in lines] == [LARGEST, LARGEST]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@dataclass(frozen=True)
class Overlay:
    """Two nodes and a router between them, with a tunnel by wireguard-go: 10.66.0.1 and .2, fd66::1 and ::2."""

    prefix: str

    def within(self, node: str) -> tuple[str, ...]:
        """The start of a command that runs on a node (a, b) or on the router (r)."""
        return ("ip", "netns", "exec", f"{self.prefix}-{node}")

    def run(self, node: str, *command: str) -> str:
        """Run a command there and give what it prints."""
        return subprocess.run([*self.within(node), *command], check=True, capture_output=True, text=True).stdout

    def narrow(self, *ways: str, silent: bool) -> None:
        """Let the router carry 1380 bytes towards these nodes, with or without the ICMP errors that report it."""
        for node in ways:
            net = {"a": "192.0.2.0/30", "b": "198.51.100.0/30"}[node]
            self.run("r", "ip", "route", "change", net, "dev", f"to-{node}", "mtu", "lock", "1380")
        if silent:
            hook = "type filter hook output priority 0;"
            self.run("r", "nft", f"table inet t {{ chain o {{ {hook} icmp type destination-unreachable drop; }}; }}")

    def judged(self) -> dict[tuple[str, str], tuple[str | None, str, str | None]]:
        """Verdicts of mtu.path on node a: (target, direction) to (code, message, remedy)."""
        rows = [json.loads(line) for line in self.run("a", sys.executable, "-c", JUDGE, self.prefix).splitlines()]
        return {(target, direction): (code, message, remedy) for target, direction, code, message, remedy in rows}


JUDGE = """
import asyncio, json, sys
from preflight.api import Context, Peer
from preflight.net import Net
from preflight.settings.load import Settings
from preflight_checks.mtu_path import mtu_path

async def main():
    settings = Settings()
    net = Net(settings)
    peers = (Peer("10.66.0.2", "b"), Peer("fd66::2", "b6"))
    context = Context(settings=settings, peers=peers, overlay=await net.overlay(), net=net)
    async for found in mtu_path.function(context):
        code = found.code and found.code.slug
        print(json.dumps([found.target, found.direction, code, found.message, found.remedy]))

asyncio.run(main())
"""


@pytest.fixture
def overlay() -> Iterator[Overlay]:
    """Made new for each test, because the kernel remembers path MTUs for ten minutes."""
    made = Overlay(f"pmtu{os.getpid()}")
    keys = {node: subprocess.run(["wg", "genkey"], capture_output=True, text=True, check=True).stdout for node in "ab"}
    with ExitStack() as cleanup:
        for node in "abr":
            ip("netns", "add", f"{made.prefix}-{node}")
            cleanup.callback(ip, "netns", "del", f"{made.prefix}-{node}")
        made.run("r", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for node, net in (("a", "192.0.2"), ("b", "198.51.100")):
            far = ("type", "veth", "peer", "name", "eth0", "netns", f"{made.prefix}-{node}")
            made.run("r", "ip", "link", "add", f"to-{node}", *far)
            made.run("r", "ip", "addr", "add", f"{net}.1/30", "dev", f"to-{node}")
            made.run("r", "ip", "link", "set", f"to-{node}", "up")
            made.run(node, "ip", "addr", "add", f"{net}.2/30", "dev", "eth0")
            made.run(node, "ip", "link", "set", "eth0", "up")
            made.run(node, "ip", "route", "add", "default", "via", f"{net}.1")
        for number, (node, other, endpoint) in enumerate((("a", "b", "198.51.100.2"), ("b", "a", "192.0.2.2")), 1):
            cleanup.enter_context(tunnel(made, node, number, keys, other, endpoint))
        for address in ("10.66.0.2", "fd66::2"):
            cleanup.enter_context(responding(address, within=made.within("b"), port=862))
        yield made


@contextmanager
def tunnel(made: Overlay, node: str, number: int, keys: dict[str, str], other: str, endpoint: str) -> Iterator[None]:
    """One end of the tunnel."""
    name = f"wg{made.prefix}{node}"
    public = subprocess.run(["wg", "pubkey"], input=keys[other], capture_output=True, text=True, check=True).stdout
    with running(*made.within(node), "wireguard-go", "--foreground", name):
        for _ in range(200):
            if (
                subprocess.run([*made.within(node), "wg", "show", name], capture_output=True, check=False).returncode
                == 0
            ):
                break
            time.sleep(0.01)
        allowed = f"10.66.0.{3 - number}/32,fd66::{3 - number}/128"
        peer = ("peer", public.strip(), "endpoint", f"{endpoint}:51820", "allowed-ips", allowed)
        command = [*made.within(node), "wg", "set", name, "listen-port", "51820", "private-key", "/dev/stdin", *peer]
        subprocess.run(command, input=keys[node], text=True, check=True)
        made.run(node, "ip", "addr", "add", f"10.66.0.{number}/24", "dev", name)
        made.run(node, "ip", "addr", "add", f"fd66::{number}/64", "dev", name, "nodad")
        made.run(node, "ip", "link", "set", name, "mtu", "1420", "up")
        yield


@pytest.mark.lab
def test_tunnel_over_a_whole_underlay(overlay: Overlay) -> None:
    """Protects the healthy tunnel from any finding."""
    assert {code for code, _, _ in overlay.judged().values()} == {None}


@pytest.mark.lab
@pytest.mark.parametrize("ways", ["b", "a", "ab"])
def test_tunnel_over_a_black_hole(overlay: Overlay, ways: str) -> None:
    """Protects the main finding on a real tunnel: right direction, 1312 passes, and an MTU that fits 1380."""
    overlay.narrow(*ways, silent=True)
    verdicts = overlay.judged()
    for target in ("b", "b6"):
        for direction, towards in (("forward", "b"), ("reverse", "a")):
            code, message, remedy = verdicts[target, direction]
            if towards not in ways:
                assert code is None, message
                continue
            assert code == "mtu.black-hole", message
            assert message.startswith("packets over 1312 bytes")
            assert remedy is not None
            assert "mtu 1320 " in remedy or ("mtu 1312 " in remedy and direction == "reverse" and "b" not in ways)


@pytest.mark.lab
def test_strict_finds_the_same(overlay: Overlay) -> None:
    """Protects the search by RFC 8899's timers on a real tunnel: whole, and with a black hole in one direction."""

    def strict() -> list[tuple[int, bool]]:
        search = f"{sys.executable} -m preflight.net.pmtu --strict 10.66.0.2"
        lines = overlay.run("a", "sh", "-c", f"{search} || true")
        return [(found["mtu_bytes"], found["signalled"]) for found in map(json.loads, lines.splitlines())]

    assert strict() == [(1420, False), (1420, False)]
    overlay.narrow("b", silent=True)
    assert strict() == [(1312, False), (1420, False)]


@pytest.mark.lab
def test_tunnel_over_an_underlay_that_tells(overlay: Overlay) -> None:
    """Protects mtu.reduced: the tunnel fragments once its kernel knows the size, and the advice is 1320 both ways."""
    overlay.narrow("a", "b", silent=False)
    for (_, direction), (code, message, remedy) in overlay.judged().items():
        assert code == "mtu.reduced", message
        assert message.startswith("packets over 1312 bytes")
        assert ("(the underlay to 198.51.100.2 carries 1380)" in message) == (direction == "forward")
        assert remedy is not None
        assert "mtu 1320 " in remedy


@pytest.mark.parametrize(
    ("device_bytes", "tunnel_bytes", "bytes_"),
    [(1420, 1420, 1420), (65575, 1420, 1420), (1500, None, 1500), (0, None, LARGEST)],
)
def test_the_way_into_a_vrf_promises_more_than_the_tunnel(
    device_bytes: int, tunnel_bytes: int | None, bytes_: int
) -> None:
    """Protects tunnels in a VRF: packets that only the VRF's device would take do not count."""
    assert largest(device_bytes, tunnel_bytes) == bytes_
