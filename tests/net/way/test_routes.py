"""Snapshots of a real kernel: what is read, and that the dumps lead to the kernel's own answers."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_network

import pytest

from preflight.model.flow import Flow
from preflight.model.kernel import NeedsPlatform
from preflight.model.network_state import NetworkState
from preflight.model.routing import Rule
from preflight.net.way import routes
from preflight.net.way.routes import KernelState
from preflight.proto.way.fib import explain
from tests.net.way.network_namespace import namespaces

FLOW = Flow(source="", destination="10.9.0.1", source_port=51820, destination_port=862)


def snapshot(leaving: Sequence[Flow] = (), arriving: Sequence[Flow] = ()) -> NetworkState:
    """One moment of the namespace that this thread is in."""
    return asyncio.run(KernelState().snapshot(leaving, arriving))


@pytest.mark.lab
def test_every_part_of_a_rule_is_read() -> None:
    """A selector that is not read makes a rule fit everything: the wrong rule would be named, or deleted."""
    words = "from 10.1.0.0/16 to 10.9.0.0/24 fwmark 0x7/0xff iif e0 uidrange 1-9 ipproto udp sport 5-6 dport 862"
    more = (
        f"rule add {words} lookup 77 pref 90",
        "rule add not fwmark 51820 lookup 51820 pref 91",
        "rule add lookup main suppress_prefixlength 0 pref 92",
        "rule add goto 32766 pref 93",
        "-6 rule add oif e0 prohibit pref 94",
    )
    with namespaces(*more):
        rules = {rule.priority: rule for rule in snapshot().rules if 90 <= rule.priority < 100}
    assert rules[90] == Rule(
        version=4,
        priority=90,
        table=77,
        source=ip_network("10.1.0.0/16"),
        destination=ip_network("10.9.0.0/24"),
        mark=7,
        mask=0xFF,
        incoming="e0",
        uids=(1, 9),
        protocol=17,
        source_ports=(5, 6),
        destination_ports=(862, 862),
    )
    assert (rules[91].inverted, rules[91].mask, rules[92].suppress) == (True, 2**32 - 1, 0)
    assert (rules[93].action, rules[93].goto) == ("goto", 32766)
    assert (rules[94].version, rules[94].action, rules[94].outgoing) == (6, "prohibit", "e0")


@pytest.mark.lab
def test_entries_neighbours_and_links() -> None:
    """Types, tables, sources, metrics and next hops; entries without carrier are not used."""
    more = (
        "route add 10.9.0.0/24 via 10.5.0.2 src 10.5.0.1 metric 7 table 77",
        "route add 10.8.0.0/24 nexthop via 10.5.0.2 nexthop via 10.5.0.3",
        "route add blackhole 10.7.0.0/24",
        "-6 route add fd09::/64 via fd05::2",
        "neighbour add 10.5.0.9 lladdr 02:00:00:00:00:99 dev e0 nud permanent",
        "tuntap add d0 mode tun",
    )
    with namespaces(*more):
        made = snapshot()
    known = {str(entry): entry for entry in made.entries}
    assert known["10.9.0.0/24 via 10.5.0.2 dev e0 src 10.5.0.1 table 77"].metric == 7
    assert known["10.8.0.0/24 via 10.5.0.2 dev e0"].hops == (("e0", "10.5.0.2"), ("e0", "10.5.0.3"))
    assert "blackhole 10.7.0.0/24" in known
    assert "fd09::/64 via fd05::2 dev e0" in known
    fixed = made.neighbour("e0", "10.5.0.9")
    assert fixed is not None
    assert (fixed.fixed, fixed.hardware) == (True, "02:00:00:00:00:99")
    e0, d0 = made.link("e0"), made.link("d0")
    assert e0 is not None and d0 is not None  # noqa: PT018 - two links
    assert (e0.resolves, e0.up, e0.carrier, d0.up) == (True, True, True, False)


@pytest.mark.lab
@pytest.mark.parametrize(
    "more",
    [
        (),
        ("route add default via 10.5.0.2", "-6 route add default via fd05::2"),
        ("route add blackhole 10.9.0.0/24", "-6 route add unreachable fd09::/64"),
        ("rule add to 10.9.0.1 unreachable pref 90", "-6 rule add to fd09::1 unreachable pref 90"),
        ("rule add ipproto udp prohibit pref 90", "-6 rule add dport 862 blackhole pref 90"),
        ("rule add to 10.9.0.1 lookup 77 pref 90", "route add throw 10.9.0.0/24 table 77", "route add default dev e0"),
        ("rule del pref 32766", "route add default dev e0"),
        (
            "route add default dev e0 table 51820",
            "route add default via 10.5.0.2",
            "rule add not fwmark 51820 lookup 51820",
            "rule add lookup main suppress_prefixlength 0",
        ),
        ("route add default via 10.5.0.2 metric 9", "route add default dev e0 metric 5"),
    ],
)
def test_the_dumps_lead_to_the_kernel_s_own_answer(more: tuple[str, ...]) -> None:
    """Protects each sentence that names a rule or a route: followed by hand, the tables give what the kernel gave."""
    six = replace(FLOW, destination="fd09::1")
    flows = (
        FLOW,
        six,
        replace(FLOW, mark=51820),
        replace(FLOW, protocol="icmp"),
        replace(FLOW, destination="10.5.0.7"),
    )
    with namespaces(*more):
        made = snapshot(flows)
    assert [lookup.flow for lookup in made.lookups if explain(made, lookup) is None] == []


@pytest.mark.lab
def test_a_table_that_is_too_large_is_not_read_completely(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full table of the Internet must not hold up a run; what was left out is not taken for missing."""
    monkeypatch.setattr(routes, "MOST_ENTRIES", 3)
    with namespaces():
        made = snapshot((FLOW,))
    assert (made.complete, made.lookups[0].type) == (False, "none")
    assert explain(made, made.lookups[0]) is None


@pytest.mark.lab
def test_counters_and_queues_of_this_namespace() -> None:
    """Those of another namespace never count."""
    with namespaces("link set lo down"):
        made = snapshot()
    assert made.counters.values["Ip.OutDiscards"] == 0
    assert "TcpExt.IPReversePathFilter" in made.counters.values
    assert "Ip6.OutDiscards" in made.counters.values
    assert {"lo", "e0"} <= set(made.counters.devices)
    assert [queue.kind for queue in made.counters.queues if queue.interface == "e0"] == ["noqueue"]


@pytest.mark.lab
def test_verdicts_on_arrivals_come_with_the_snapshot(set_sysctl: Callable[[str], None]) -> None:
    """The filter's mode and its verdict are of one moment."""
    arriving = Flow(source="10.77.0.1", destination="10.5.0.1", interface_in="e0")
    with namespaces():
        set_sysctl("net.ipv4.conf.e0.rp_filter=1")
        made = snapshot(arriving=(arriving, replace(arriving, interface_in="gone0")))
    assert made.filters.modes["e0"] == 1
    assert [verdict.refused for verdict in made.arrivals] == [True]


def test_elsewhere_than_on_linux_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check makes `run.needs-platform` of it."""
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(NeedsPlatform):
        snapshot()
