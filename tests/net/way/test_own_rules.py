"""What a node's own firewall does to packets for a peer, by real rules in a namespace and without sending any."""

import asyncio
import os
from dataclasses import replace

import pytest

from preflight.model.kernel import Route
from preflight.model.peer import Peer
from preflight.net.way.echo import ask_echo
from preflight.net.way.firewall import Firewall
from preflight.net.way.own_rules import OwnRules
from preflight.net.way.routes import KernelState

from .conftest import DEVICE, OWN, PEER, Namespace

pytestmark = [pytest.mark.lab]
TO_PEER = Peer(PEER[4], "b")


def rules() -> OwnRules:
    return OwnRules(KernelState(), Firewall())


def marking(namespace: Namespace) -> None:
    """Marked packets go into the tunnel by a separate table, and a rule marks what goes to the peer."""
    namespace.run("ip", "rule", "add", "fwmark", "7", "lookup", "100", "priority", "90")
    namespace.run("ip", "route", "add", f"{PEER[4]}/32", "dev", DEVICE, "table", "100")
    namespace.nft(
        f"table inet marks {{ chain output {{ type route hook output priority -150; "
        f"ip daddr {PEER[4]} meta mark set 7; }}; }}"
    )


def test_who_reads_the_rules_knows_the_mark(namespace: Namespace) -> None:
    """Protects the sentence on a leak: with the mark known, nothing about the route stays open."""
    assert rules().mark_of(TO_PEER, OWN[4]) == 0
    marking(namespace)
    assert rules().mark_of(TO_PEER, OWN[4]) == 7
    assert asyncio.run(rules().may_mark(TO_PEER, DEVICE)) is None


def test_a_mark_that_leads_elsewhere(namespace: Namespace) -> None:
    """A route into the tunnel is not that of packets that a rule marks for another table. Without such a rule of
    routing no rule of the firewall is looked at.
    """
    into = {TO_PEER: Route(PEER[4], interface="another0", source=OWN[4])}
    assert asyncio.run(rules().marked_away(into)) == {}
    marking(namespace)
    assert asyncio.run(rules().marked_away(into)) == {TO_PEER: 7}
    assert asyncio.run(rules().marked_away({TO_PEER: replace(into[TO_PEER], interface=DEVICE)})) == {}


def test_who_may_not_read_them_knows_that_a_mark_may_decide(namespace: Namespace) -> None:
    """Protects an ordinary user from a leak that is not one; without such a rule of routing nothing stays open."""
    asyncio.run(KernelState().snapshot())  # what it imports only root may read
    os.seteuid(65534)
    try:
        before = asyncio.run(rules().may_mark(TO_PEER, DEVICE))
    finally:
        os.seteuid(0)
    marking(namespace)
    os.seteuid(65534)
    try:
        unknown, why = rules().mark_of(TO_PEER, OWN[4]), asyncio.run(rules().may_mark(TO_PEER, DEVICE))
    finally:
        os.seteuid(0)
    assert (before, unknown) == (None, None)
    assert "`90: fwmark 0x7 lookup 100` sends packets with its mark into wg0" in (why or "")


@pytest.mark.parametrize(
    ("hook", "rule", "stops"),
    [
        ("output", "icmp type echo-request drop", True),
        ("output", "icmp type { destination-unreachable, echo-request } drop", True),
        ("input", "icmp type echo-reply drop", True),
        ("input", "icmp type echo-request drop", False),
        ("output", "icmp type destination-unreachable drop", False),
        ("output", "meta l4proto icmp drop", True),
    ],
)
def test_a_rule_that_stops_echoes_is_named(namespace: Namespace, hook: str, rule: str, stops: bool) -> None:
    """Protects the advice for filtered echoes: the rule of this node is not looked for at the peer."""
    namespace.nft(f"table inet guard {{ chain {hook} {{ type filter hook {hook} priority 0; {rule}; }}; }}")
    found = rules().echoes_stopped(TO_PEER, DEVICE)
    assert (found is not None) == stops
    assert found is None or f"guard, chain {hook}" in found.message or f"guard {hook}" in found.message


@pytest.mark.parametrize(("kind", "stops"), [("echo-request", True), ("destination-unreachable", False)])
@pytest.mark.parametrize("program", ["iptables-nft", "iptables-legacy"])
def test_iptables_selects_echoes_too(namespace: Namespace, program: str, kind: str, stops: bool) -> None:
    """The same by the match of iptables, in either of its kinds."""
    namespace.run(program, "-A", "OUTPUT", "-p", "icmp", "--icmp-type", kind, "-j", "DROP")
    asyncio.run(ask_echo(PEER[4]))  # its counter moves
    assert (rules().echoes_stopped(TO_PEER, DEVICE) is not None) == stops
