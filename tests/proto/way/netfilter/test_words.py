"""A rule in words: where it is, whose it is, and which packets it stops."""

from dataclasses import replace

import pytest

from preflight.proto.way.netfilter.action import Action
from preflight.proto.way.netfilter.bits import Tri
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.ruleset import Chain, Rule
from preflight.proto.way.netfilter.walk import Change, Kill
from preflight.proto.way.netfilter.words import what_it_does, what_it_may_do

from .recordings import flow

CHAIN = Chain(family="inet", table="guard", name="output", hook="output", policy="drop")
RULE = Rule(2, (), handle=7, comment="no peers")


@pytest.mark.parametrize(
    ("chain", "rule", "said"),
    [
        (CHAIN, RULE, 'rule 7 of table inet guard, chain output (comment "no peers")'),
        (CHAIN, None, "the policy of chain guard output (nftables, family inet)"),
        (replace(CHAIN, family="ip6", legacy=True), RULE, "rule 2 of chain guard output (ip6tables-legacy)"),
        (replace(CHAIN, table="mullvad"), RULE, "which belongs to Mullvad: the kill switch of another VPN"),
        (CHAIN, replace(RULE, comment="VPN killswitch"), ", the kill switch of another VPN"),
    ],
)
def test_where_it_is(chain: Chain, rule: Rule | None, said: str) -> None:
    """Table, chain, handle and comment are what somebody looks for; another VPN's kill switch is called that."""
    message = what_it_does(Burst(flow=flow(862)), Kill(chain, rule, "drop", Tri.YES))
    assert message.startswith("this node's own firewall drops packets to 10.66.0.2 UDP port 862: ")
    assert said in message


def test_which_packets() -> None:
    """What comes in has the port of the other one; the tunnel's own packets are called that, and so are large ones."""
    coming = replace(flow(40000), source="10.66.0.2", source_port=862, interface_in="wg0", interface_out=None)
    kill = Kill(CHAIN, RULE, "reject", Tri.YES)
    assert "rejects packets from 10.66.0.2 UDP port 862" in what_it_does(Burst(flow=coming), kill)
    large = Burst(flow=flow(51820, length_bytes=1400), outer=True, packets="large")
    assert "its tunnel's own packets of 1400 bytes to 10.66.0.2 UDP port 51820" in what_it_does(large, kill)
    passing = Burst(flow=replace(coming, interface_out="wg0"))
    assert "packets from 10.66.0.2 to 10.66.0.2" in what_it_does(passing, kill)
    ping = Burst(flow=replace(flow(1), protocol="icmp", source_port=None, destination_port=None))
    assert "to 10.66.0.2 (ICMP)" in what_it_does(ping, kill)


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (Action("snat", Tri.YES, source="192.0.2.9"), "gives them the source 192.0.2.9"),
        (Action("redirect", Tri.YES, destination_port=5), "redirects them to port 5 of this node"),
        (Action("dnat", Tri.YES, destination="192.0.2.9", destination_port=5), "sends them to 192.0.2.9 port 5"),
        (Action("rewrite", Tri.YES, source="192.0.2.9"), "gives them the source 192.0.2.9"),
    ],
)
def test_what_is_changed(action: Action, said: str) -> None:
    """The address that packets get is what a reader can compare."""
    assert said in what_it_does(Burst(flow=flow(862)), Change(CHAIN, RULE, action))


def test_what_is_not_proven() -> None:
    """Protects the reader: what a counter shows is said, and what nothing shows too."""
    burst, still = Burst(flow=flow(862)), Kill(CHAIN, RULE, "drop", Tri.MAYBE)
    assert "can stop packets to 10.66.0.2 UDP port 862, and no counter shows it: rule 7" in what_it_may_do(burst, still)
    assert "its counter moved by 4 meanwhile" in what_it_may_do(burst, replace(still, counted=4))
