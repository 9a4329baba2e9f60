"""What makes a change outlive the next load of the rules is a line of the program that writes them."""

import pytest

from preflight.model.flow import Flow
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.keepers import in_firewalld, keeps
from preflight.proto.way.netfilter.ruleset import Chain, Expression, Rule, Verdict

IN = Burst(flow=Flow(source="10.9.0.2", destination="10.9.0.1", interface_in="wg0"), direction="reverse")
OUT = Burst(flow=Flow(source="10.9.0.1", destination="10.9.0.2", interface_out="wg0"))
PASSING = Burst(flow=Flow(source="10.9.0.2", destination="10.9.0.3", interface_in="wg0", interface_out="eth1"))
OUTER_IN = Burst(
    flow=Flow(
        source="198.51.100.2", destination="192.0.2.1", source_port=5, destination_port=51820, interface_in="eth0"
    ),
    direction="reverse",
    outer=True,
)
OUTER_OUT = Burst(
    flow=Flow(
        source="192.0.2.1", destination="198.51.100.2", source_port=51820, destination_port=5, interface_out="eth0"
    ),
    outer=True,
)


def chain(name: str, *jumps: str, table: str = "filter", family: str = "ip", legacy: bool = False) -> Chain:
    """A chain that leads to others."""
    rules = [
        Rule(number, (Expression("immediate", verdict=Verdict("jump", target)),))
        for number, target in enumerate(jumps, 1)
    ]
    return Chain(family=family, table=table, name=name, rules=rules, legacy=legacy)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("burst", "line"),
    [
        (IN, "ufw prepend allow in on wg0 from 10.9.0.2"),
        (OUT, "ufw prepend allow out on wg0 to 10.9.0.2"),
        (PASSING, "ufw route prepend allow in on wg0 out on eth1 from 10.9.0.2 to 10.9.0.3"),
        (OUTER_IN, "ufw prepend allow in proto udp from any to any port 51820"),
        (OUTER_OUT, "ufw prepend allow out proto udp from any port 51820 to any"),
    ],
    ids=["in", "out", "passing", "tunnel-in", "tunnel-out"],
)
def test_ufw_is_told_in_its_own_words(burst: Burst, line: str) -> None:
    """Its policy is in a chain of iptables, its rules are in its own; a reload removes what others put there."""
    assert keeps(burst, chain("INPUT", "ufw-before-input")) == line
    assert keeps(burst, chain("ufw-user-input", legacy=True)) == line


def test_who_else_keeps_rules() -> None:
    """Protects from a file that nothing loads."""
    assert "iptables-save >" in keeps(IN, chain("INPUT"))
    assert "iptables-legacy-save >" in keeps(IN, chain("INPUT", legacy=True))
    assert "DOCKER-USER" in keeps(PASSING, chain("FORWARD", "DOCKER-USER", "DOCKER-FORWARD"))
    assert "nftables.conf" in keeps(IN, chain("input", table="guard", family="inet"))


def test_firewalld_s_table_is_changed_by_firewalld() -> None:
    """It may own its table, which then takes no rule of anyone else; what it cannot say in one line is left."""
    table = chain("filter_INPUT", table="firewalld", family="inet")
    (inner,), (outer,) = in_firewalld(IN, table), in_firewalld(OUTER_IN, table)
    assert inner.lines == ("firewall-cmd --zone=trusted --add-source=10.9.0.2",)
    assert inner.lasting == "firewall-cmd --permanent --zone=trusted --add-source=10.9.0.2"
    assert outer.lines == ("firewall-cmd --add-port=51820/udp",)
    assert in_firewalld(OUT, table) == in_firewalld(PASSING, table) == ()
    assert in_firewalld(IN, chain("INPUT")) == ()
