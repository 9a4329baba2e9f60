"""What a host knows about its way back, asked of a real kernel in namespaces with two paths between them."""

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from preflight.model.return_path import ReturnPath
from preflight.net.responder.return_path import ReturnPathView, receives
from preflight.proto.way.address_messages import Device

_serial = count()


def ip(name: str, *commands: str) -> None:
    """Run commands of ip(8) in a namespace."""
    for command in commands:
        subprocess.run(["ip", "-n", name, *command.split()], check=True)


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Asker 10.8.0.1, peer 10.8.0.2 on `way`, where packets must go; a second link `side` next to it."""
    mark = f"pfback{os.getpid() % 100000}{next(_serial)}"
    asker, peer = f"{mark}a", f"{mark}b"
    try:
        for name in (asker, peer):
            subprocess.run(["ip", "netns", "add", name], check=True)
            ip(name, "link set lo up")
        for link, net in (("way", "10.8.0"), ("side", "10.9.0")):
            ip(asker, f"link add {link} type veth peer name {link} netns {peer}")
            for host, name in enumerate((asker, peer), 1):
                ip(name, f"address add {net}.{host}/24 dev {link}", f"link set {link} up")
        # As in a tunnel nobody is asked for a link-layer address: a strict filter would leave that unanswered too.
        ip(peer, "link set way address 02:00:00:00:00:02")
        ip(asker, "neigh replace 10.8.0.2 lladdr 02:00:00:00:00:02 dev way")
        for host, name in enumerate((asker, peer), 1):
            ip(name, f"address add fd08::{host}/64 dev way nodad", f"address add fd09::{host}/64 dev side nodad")
        yield asker, peer
    finally:
        for name in (asker, peer):
            subprocess.run(["ip", "netns", "del", name], check=False)


@contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread in a namespace."""
    from pyroute2 import netns

    netns.pushns(name)
    try:
        yield
    finally:
        netns.popns()


def filter_mode(name: str, mode: int) -> None:
    """The reverse-path filter of all of a namespace's interfaces."""
    words = [f"net.ipv4.conf.{interface}.rp_filter={mode}" for interface in ("all", "way", "side")]
    subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", *words], check=True)


async def asked(asker: str, view: ReturnPathView, packets: int) -> ReturnPath:
    """What is seen while the asker sends."""
    with inside(asker), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        for _ in range(packets):
            sending.sendto(b"probe", ("10.8.0.2", 9))
    return await view.look_for_drops(5.0 if packets else 0.1)


def seen(asker: str, peer: str, *, packets: int = 0) -> ReturnPath:
    """What the peer reports about its way back to the asker's IPv4 address."""
    with inside(peer):
        return asyncio.run(asked(asker, ReturnPathView("10.8.0.2", "10.8.0.1"), packets))


@pytest.mark.lab
def test_back_by_the_way_that_packets_come(hosts: tuple[str, str]) -> None:
    """A strict filter is not a fault where there is one path."""
    filter_mode(hosts[1], 1)
    assert seen(*hosts, packets=3) == ReturnPath("way", "way", None, rp_filter=1, refuses=False, dropped=0)


@pytest.mark.lab
@pytest.mark.parametrize(("mode", "refuses"), [(1, True), (2, False), (0, False)])
def test_a_second_path(hosts: tuple[str, str], mode: int, refuses: bool) -> None:
    """The route is reported with its gateway; the kernel's own verdict agrees with what it then counts."""
    asker, peer = hosts
    ip(peer, "route add 10.8.0.1/32 via 10.9.0.1")
    filter_mode(peer, mode)
    way = seen(asker, peer, packets=3)
    assert way == ReturnPath("way", "side", "10.9.0.1", rp_filter=mode, refuses=refuses, dropped=way.dropped)
    assert (bool(way.dropped), way.drops, way.elsewhere) == (refuses, refuses, True)


@pytest.mark.lab
def test_no_return_path_at_all(hosts: tuple[str, str]) -> None:
    """Also a loose filter refuses what no route leads back to; without packets nothing is said to be dropped."""
    asker, peer = hosts
    ip(peer, "route add unreachable 10.8.0.1/32")
    filter_mode(peer, 2)
    way = seen(asker, peer)
    assert (way.arrival, way.interface, way.refuses, way.drops) == ("way", None, True, False)


@pytest.mark.lab
def test_ipv6_has_routes_and_no_filter(hosts: tuple[str, str]) -> None:
    """What does not exist is not reported."""
    _, peer = hosts
    ip(peer, "route add fd08::1/128 via fd09::1")
    with inside(peer):
        way = ReturnPathView("fd08::2", "fd08::1").look()
    assert (way.arrival, way.exit, way.rp_filter, way.refuses) == ("way", "side via fd09::1", None, False)


@pytest.mark.lab
def test_an_address_on_an_interface_by_which_nothing_comes(hosts: tuple[str, str]) -> None:
    """A host may keep its address on its loopback interface: packets come in elsewhere, and nothing differs."""
    _, peer = hosts
    ip(peer, "address add 10.8.0.77/32 dev lo")
    with inside(peer):
        way = ReturnPathView("10.8.0.77", "10.8.0.1").look()
    assert (way.arrival, way.interface, way.elsewhere) == (None, "way", False)


@pytest.mark.parametrize(("kind", "comes_in"), [("", True), ("wireguard", True), ("dummy", False), ("vrf", False)])
def test_kinds_of_interfaces(kind: str, comes_in: bool) -> None:
    """By some kinds that hold addresses nothing ever comes in; nor by one that has gone."""
    assert receives(Device(loopback=False, kind=kind)) is comes_in
    assert not receives(Device(loopback=True, kind=""))
    assert not receives(None)


def test_loopback_and_a_strangers_address() -> None:
    """An address that is on no interface, or on loopback, shows no interface; nothing raises."""
    for local in ("127.0.0.1", "192.0.2.1"):
        way = ReturnPathView(local, "127.0.0.1").look()
        assert (way.arrival, way.refuses) == (None, False)
