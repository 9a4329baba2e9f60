"""What the kernel reports, against the kernel itself and against `ip` where there is something to set up."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_interface, ip_network
from itertools import count
from os import getpid
from typing import Any

import pytest

from preflight.model.kernel import Link, NeedsPlatform, ReversePathFilter, Route
from preflight.net.host_state import parse_netstat
from preflight.net.kernel import Kernel, ask_route

_serial = count()


@contextmanager
def namespace(*commands: str) -> Iterator[None]:
    """A fresh network namespace for this thread, after these `ip` commands."""
    from pyroute2 import netns

    name = f"pfkern{getpid()}{next(_serial)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        for command in commands:
            subprocess.run(["ip", "-n", name, *command.split()], check=True)
        netns.pushns(name)
        try:
            yield
        finally:
            netns.popns()
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def routes(*addresses: str, mark: int = 0) -> dict[str, Route]:
    """Ask for several at once."""
    return asyncio.run(Kernel().routes_to(addresses, mark=mark))


VETH = ("link set lo up", "link add e0 type veth peer name e1", "address add 10.5.0.1/24 dev e0", "link set e0 up")


def test_the_loopback_interface_is_there() -> None:
    """Readable without privilege, with its address and flags."""
    lo = next(link for link in asyncio.run(Kernel().links()) if link.name == "lo")
    assert (lo.up, lo.loopback, lo.index) == (True, True, 1)
    assert ip_interface("127.0.0.1/8") in lo.addresses


def test_an_address_of_this_node_is_local() -> None:
    """A peer list that names this node itself must be recognisable."""
    route = asyncio.run(Kernel().route_to("127.0.0.1"))
    assert (route.interface, route.local, route.error) == ("lo", True, None)


@pytest.mark.lab
def test_links_with_kind_mtu_state_and_addresses() -> None:
    """A link that is down, one that is up without carrier, and the kind that `ip -d link` shows."""
    with namespace(*VETH, "link set e0 mtu 1380", "tuntap add t0 mode tun", "link set t0 up"):
        links = {link.name: link for link in asyncio.run(Kernel().links())}
    assert (links["e0"].up, links["e0"].mtu, links["e0"].kind) == (True, 1380, "veth")
    assert ip_interface("10.5.0.1/24") in links["e0"].addresses
    assert (links["e1"].up, links["e1"].addresses) == (False, ())
    assert (links["t0"].up, links["t0"].carrier, links["t0"].kind) == (True, False, "tun")


@pytest.mark.lab
def test_a_route_comes_with_the_entry_that_decided() -> None:
    """The most specific one, with its table: that is what `ip route del` has to name."""
    policy = ("route add 10.9.0.0/24 dev e0 table 77", "rule add to 10.9.0.0/24 lookup 77")
    more = ("link set e1 up", "route add 10.7.0.0/16 via 10.5.0.2", "route add unreachable 10.8.0.0/16", *policy)
    with namespace(*VETH, *more):
        found = routes("10.5.0.9", "10.7.1.1", "10.8.1.1", "10.9.0.1", "203.0.113.1", "10.5.0.1")
    assert (found["10.5.0.9"].interface, found["10.5.0.9"].matched) == ("e0", ip_network("10.5.0.0/24"))
    via = found["10.7.1.1"]
    assert (via.gateway, via.source, via.matched) == ("10.5.0.2", "10.5.0.1", ip_network("10.7.0.0/16"))
    assert str(via) == "10.7.1.1 via 10.5.0.2 dev e0 src 10.5.0.1"
    assert found["10.8.1.1"].error == "No route to host"
    assert found["10.9.0.1"].table == 77
    assert found["203.0.113.1"].error == "Network is unreachable"
    assert found["10.5.0.1"].local


@pytest.mark.lab
def test_the_mark_of_a_tunnel_s_own_packets_counts() -> None:
    """wg-quick's full tunnel sends all except its own marked packets into itself: that is not a loop."""
    rules = ("rule add not fwmark 51820 lookup 51820", "route add default dev e0 table 51820")
    with namespace(*VETH, "link set e1 up", "address add 10.6.0.1/24 dev e1", "route add default via 10.6.0.2", *rules):
        assert routes("203.0.113.1")["203.0.113.1"].interface == "e0"
        assert routes("203.0.113.1", mark=51820)["203.0.113.1"].interface == "e1"


@pytest.mark.lab
def test_ipv6_routes() -> None:
    """Router and prefix of the other family."""
    more = ("link set e1 up", "address add fd05::1/64 dev e0 nodad", "route add fd07::/64 via fd05::2")
    with namespace(*VETH, *more):
        found = routes("fd07::9", "fd99::1")
    assert (found["fd07::9"].gateway, found["fd07::9"].matched) == ("fd05::2", ip_network("fd07::/64"))
    assert found["fd99::1"].error == "Network is unreachable"


@pytest.mark.lab
def test_the_reverse_path_filter_is_read_in_this_namespace() -> None:
    """Strict on one interface, loose by `all` on another reading."""
    with namespace(*VETH):
        subprocess.run(["sysctl", "-qw", "net.ipv4.conf.e0.rp_filter=1", "net.ipv4.conf.all.rp_filter=0"], check=True)
        state = Kernel().reverse_path_filter()
        assert state.strict == ("e0",)
        assert state.dropped == 0
        subprocess.run(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=2"], check=True)
        assert Kernel().reverse_path_filter().strict == ()


@pytest.mark.lab
def test_the_filter_s_verdict_is_had_without_a_packet() -> None:
    """What the route back does not lead to is refused where the filter is strict, and let in where it is loose."""
    two = ("link set e1 up", "link add f0 type veth peer name f1", "address add 10.6.0.1/24 dev f0", "link set f0 up")
    with namespace(*VETH, *two, "link set f1 up"):

        async def refused(source: str) -> bool:
            return await Kernel().refuses(source, "10.5.0.1", "e0")

        for mode, elsewhere in ((1, True), (2, False), (0, False)):
            modes = [f"net.ipv4.conf.{name}.rp_filter={mode}" for name in ("all", "e0")]
            subprocess.run(["sysctl", "-qw", *modes], check=True)
            assert asyncio.run(refused("10.5.0.9")) is False
            assert asyncio.run(refused("10.6.0.9")) is elsewhere
        with pytest.raises(OSError, match=r"no interface|No such device"):
            asyncio.run(Kernel().refuses("10.5.0.9", "10.5.0.1", "none0"))


@pytest.mark.lab
def test_a_route_may_depend_on_the_source() -> None:
    """Policy rules look at the address that an answer leaves from."""
    rules = ("rule add from 10.6.0.1 lookup 77", "route add default dev e1 table 77")
    with namespace(*VETH, "link set e1 up", "address add 10.6.0.1/24 dev e1", *rules):
        assert routes("10.5.0.9")["10.5.0.9"].interface == "e0"
        assert asyncio.run(Kernel().route_to("10.5.0.9", source="10.6.0.1")).interface == "e1"


class WithVrf:
    """The answers of a kernel with VRFs, which is rare: device 7 is the VRF `kind`, and 1 is in it, in table 1066."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    async def route(self, _: str, *, dst: str, oif: int = 0, **about: int) -> list[dict[str, Any]]:
        """What it does with a packet."""
        inside = bool(oif)
        return [{"type": 1, "oif": 1 if inside else 7, "table": 1066 if inside else 254, "dst": dst, "dst_len": 24}]

    async def link(self, _: str, *, index: int) -> list[dict[tuple[str, str], str]]:
        """One of its links."""
        return [{("linkinfo", "kind"): self.kind if index == 7 else "tun"}]


@pytest.mark.parametrize(("kind", "table"), [("vrf", 1066), ("dummy", 254)])
def test_the_way_leads_through_a_vrf(kind: str, table: int) -> None:
    """Protects tunnels in a VRF: the route into the VRF is not the whole way, which its own table ends."""
    route = asyncio.run(ask_route(WithVrf(kind), "10.66.0.0", {}))
    assert (route.table, route.error) == (table, None)
    assert (route.interface == "lo") is (kind == "vrf")


def test_the_clock_can_be_asked_without_privilege() -> None:
    """adjtimex in its read-only mode."""
    state = Kernel().clock()
    assert state.estimated_error_ms >= 0


@pytest.mark.parametrize("text", ["", "TcpExt: A B\n", "TcpExt: A B\nTcpExt: 1\n", "x\ny\nz\n"])
def test_counters_of_an_unknown_shape_are_just_missing(text: str) -> None:
    """A kernel without a counter does not cause a crash."""
    assert parse_netstat(text).get("IPReversePathFilter") is None


def test_counters_are_found_by_name() -> None:
    """The columns differ from kernel to kernel."""
    text = "TcpExt: A IPReversePathFilter\nTcpExt: 1 42\nIpExt: B\nIpExt: 7\n"
    assert parse_netstat(text) == {"A": 1, "IPReversePathFilter": 42, "B": 7}


def test_elsewhere_than_on_linux_each_question_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check makes `run.needs-platform` of it, never a verdict on the network."""
    monkeypatch.setattr(sys, "platform", "darwin")
    kernel = Kernel()
    with pytest.raises(NeedsPlatform):
        asyncio.run(kernel.links())
    with pytest.raises(NeedsPlatform):
        asyncio.run(kernel.routes_to(["127.0.0.1"]))
    for question in (kernel.reverse_path_filter, kernel.clock):
        with pytest.raises(NeedsPlatform):
            question()


def test_the_most_specific_connected_network_holds_an_address() -> None:
    """Two networks on one interface: the narrower one decides."""
    link = Link(
        2, "e0", 1500, up=True, carrier=True, addresses=(ip_interface("10.0.0.1/8"), ip_interface("10.5.0.1/24"))
    )
    assert link.holds("10.5.0.9") == ip_network("10.5.0.0/24")
    assert link.holds("10.6.0.9") == ip_network("10.0.0.0/8")
    assert link.holds("fd66::1") is None


def test_strict_means_one() -> None:
    """0 is off and 2 is loose."""
    assert ReversePathFilter({"a": 0, "b": 1, "c": 2}).strict == ("b",)
