"""What a node's own firewall does to packets for a peer, by real rules in a namespace and without sending any."""

import asyncio
import os
from dataclasses import replace

import pytest

from preflight.model.flow import Flow
from preflight.model.kernel import Doubt
from preflight.model.peer import Peer
from preflight.net.way.echo import ask_echo
from preflight.net.way.firewall import Firewall
from preflight.net.way.own_rules import OwnRules
from preflight.net.way.routes import KernelState
from preflight.proto.way.flows import inner_flow

from .conftest import DEVICE, OWN, PEER, Namespace

pytestmark = [pytest.mark.lab]
TO_PEER = Peer(PEER[4], "b")


def rules() -> OwnRules:
    return OwnRules(Firewall())


def marking(namespace: Namespace) -> None:
    """Marked packets go into the tunnel by a separate table, and a rule marks what goes to the peer."""
    namespace.run("ip", "rule", "add", "fwmark", "7", "lookup", "100", "priority", "90")
    namespace.run("ip", "route", "add", f"{PEER[4]}/32", "dev", DEVICE, "table", "100")
    namespace.nft(
        f"table inet marks {{ chain output {{ type route hook output priority -150; "
        f"ip daddr {PEER[4]} meta mark set 7; }}; }}"
    )


def test_a_mark_that_leads_elsewhere(namespace: Namespace) -> None:
    """A route into the tunnel is not that of packets that a rule marks for another table. Without such a rule of
    routing no rule of the firewall is looked at.
    """
    flow = replace(inner_flow(TO_PEER, os.getuid()), source=OWN[4], interface_out="another0")
    assert marks(flow) == {}
    marking(namespace)
    assert marks(flow) == {flow: 7}
    into = replace(flow, interface_out=DEVICE)
    assert marks(into) == {}


def marks(flow: Flow) -> dict[Flow, int | Doubt]:
    """What the rules, as they are now, give a flow."""
    return rules().marks(asyncio.run(KernelState().snapshot((flow,))), {flow: flow.interface_out})


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
