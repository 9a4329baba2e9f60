"""Real rules of every kind in a namespace: what is said of a flow is what the kernel does to it."""

import os
from dataclasses import replace

import pytest

from preflight.model.flow import Flow
from preflight.net.way.firewall import PRIVILEGE, Firewall
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.observe import observe_filters
from preflight.proto.way.netfilter.walk import mark_of_sent
from preflight.proto.way.observation import Observation

from .conftest import DEVICE, OWN, PEER, Namespace

pytestmark = [pytest.mark.lab]
COUNT = 5


def sent(namespace: Namespace, flow: Flow, **more: object) -> tuple[tuple[Observation, ...], int]:
    """What the firewall's observer says of a burst that leaves, and how many packets left."""
    before = Firewall().snapshot()
    left = len(namespace.send(flow, COUNT))
    after = Firewall().snapshot([flow], OWN.values())
    return observe_filters(before, after, [Burst(flow=flow, sent=COUNT, **more)]), left  # type: ignore[arg-type]


def received(namespace: Namespace, flow: Flow) -> tuple[tuple[Observation, ...], int]:
    """The same of a burst that comes in."""
    before = Firewall().snapshot()
    got = namespace.receive(flow, COUNT)
    after = Firewall().snapshot([flow], OWN.values())
    return observe_filters(before, after, [Burst(flow=flow, direction="reverse", sent=COUNT)]), got


def healed(namespace: Namespace, killed: Observation) -> None:
    """Do what the remedies say, as the applier would, and leave the rest of the firewall as it is."""
    assert killed.death is not None
    assert killed.death.remedies
    for remedy in killed.death.remedies:
        assert remedy.fix is not None
        for command in remedy.fix.commands:
            namespace.run(*command)


def answers(version: int = 4) -> Flow:
    return Flow(
        source=PEER[version], destination=OWN[version], source_port=862, destination_port=40000, interface_in=DEVICE
    )


def chain(hook: str, *rules: str, policy: str = "accept", kind: str = "filter", priority: int = 0) -> str:
    family = "netdev" if hook in ("ingress", "egress") else "inet"
    where = f" device {DEVICE}" if family == "netdev" else ""
    text = "\n".join(rules)
    return f"""table {family} guard {{
        chain other {{ }}
        chain {hook} {{ type {kind} hook {hook}{where} priority {priority}; policy {policy};
            {text}
        }}
    }}"""


TO, FROM = f"ip daddr {PEER[4]}", f"ip saddr {PEER[4]}"


@pytest.mark.parametrize(
    ("rules", "station", "said"),
    [
        (chain("output", f'{TO} drop comment "why"'), "filter-out", 'table inet guard, chain output (comment "why")'),
        (chain("output", f"{TO} reject"), "filter-out", "rejects packets to 10.66.0.2 UDP port 862: rule"),
        (chain("output", "udp dport 1 accept", policy="drop"), "filter-out", "the policy of chain guard output"),
        (chain("output", "ct state established accept", policy="drop"), "filter-out", "chain guard output"),
        (chain("postrouting", f'oifname "{DEVICE}" drop'), "post-out", "chain postrouting"),
        (chain("egress", f"{TO} drop"), "egress", "table netdev guard, chain egress"),
        (chain("egress", policy="drop"), "egress", "the policy of chain guard egress"),
        (chain("output", "meta length > 1000 drop", "udp dport { 800-900 } drop"), "filter-out", "rule"),
        (chain("output", "limit rate 1/day burst 1 packets accept", f"{TO} counter drop"), "filter-out", "rule"),
        (chain("output", f"{TO} fib daddr type unicast drop"), "filter-out", "rule"),
        (chain("output", "ip daddr . udp dport { 10.66.0.0/24 . 800-900 } drop"), "filter-out", "rule"),
        (chain("output", "udp dport vmap { 1 : accept, 862 : drop }"), "filter-out", "rule"),
        (chain("output", "meta skuid 0 drop"), "filter-out", "rule"),
        (chain("output", 'oifname "wg*" meta mark 0 drop'), "filter-out", "rule"),
        (chain("output", "jump other", f"ip daddr != {PEER[4]} accept", "drop"), "filter-out", "rule"),
    ],
)  # fmt: skip
def test_what_leaves(namespace: Namespace, rules: str, station: str, said: str) -> None:
    """The rule, or the policy, that drops what this node sends is named for certain, at its station and in words."""
    namespace.nft(rules)
    observations, left = sent(namespace, namespace.flow())
    assert left == 0 or "limit" in rules
    *passed, last = observations
    assert [each.finding for each in passed] == ["clear"] * len(passed)
    assert (last.station.id, last.station.host, last.finding) == (station, "sender", "killed")
    assert last.death is not None
    assert last.death.certain
    assert said in last.death.message
    assert last.death.facts is not None
    if last.death.facts.rule_handle is not None:
        assert str(last.death.facts.rule_handle) in last.death.message
    healed(namespace, last)
    assert len(namespace.send(namespace.flow(), COUNT)) == COUNT


@pytest.mark.parametrize(
    ("rules", "station"),
    [
        (chain("ingress", f"{FROM} drop"), "prerouting"),
        (chain("prerouting", f"{FROM} drop", priority=-300), "prerouting"),
        (chain("prerouting", policy="drop"), "prerouting"),
        (chain("input", f"{FROM} udp sport 862 counter drop"), "input"),
        (chain("input", "reject with icmpx admin-prohibited"), "input"),
        (chain("input", f'iifname "{DEVICE}" meta l4proto udp drop'), "input"),
        (chain("input", "ct state established,related accept", "iif lo accept", policy="drop"), "input"),
    ],
)
def test_what_arrives(namespace: Namespace, rules: str, station: str) -> None:
    """The same for what comes in: the station, and a death that is certain."""
    namespace.nft(rules)
    observations, got = received(namespace, answers())
    assert got == 0
    *passed, last = observations
    assert [each.finding for each in passed] == ["clear"] * len(passed)
    assert (last.station.id, last.station.host, last.finding) == (station, "receiver", "killed")
    assert last.death is not None
    assert last.death.certain
    healed(namespace, last)
    assert namespace.receive(answers(), COUNT) == COUNT


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("variant", ["legacy", "nft"])
@pytest.mark.parametrize(
    ("words", "station"),
    [
        ("-t filter -I OUTPUT -o {device} -d {peer} -m comment --comment guard -j DROP", "filter-out"),
        ("-t filter -A OUTPUT -p udp -m udp --dport 860:870 -j REJECT", "filter-out"),
        ("-t filter -P OUTPUT DROP", "filter-out"),
        ("-t mangle -A POSTROUTING -p udp -m multiport --dports 1,862 -m conntrack --ctstate NEW -j DROP", "post-out"),
        ("-t raw -A PREROUTING -i wg+ -s {peer} -j DROP", "prerouting"),
        ("-t filter -A INPUT -p udp -m length --length 50:2000 -j DROP", "input"),
        ("-t filter -A INPUT -m limit --limit 1000/sec --limit-burst 100 -j DROP", "input"),
    ],
)
def test_iptables(namespace: Namespace, version: int, variant: str, words: str, station: str) -> None:
    """Both variants of iptables and both families: the rule by its handle, or by its number in its chain."""
    program = f"{'iptables' if version == 4 else 'ip6tables'}-{variant}"
    namespace.run(program, *words.format(device=DEVICE, peer=PEER[version]).split())
    arriving = station in ("prerouting", "input")
    observations, passed = (
        received(namespace, answers(version)) if arriving else sent(namespace, namespace.flow(version))
    )
    assert passed == 0
    last = observations[-1]
    assert (last.station.id, last.finding) == (station, "killed")
    assert last.death is not None
    assert last.death.facts is not None
    assert last.death.certain
    name = f"{words.split()[1]} {words.split()[3]}"
    assert last.death.facts.chain == name
    if variant == "legacy":
        assert name in last.death.message
    else:
        assert (last.death.facts.rule_handle is None) is ("-P" in words)
    healed(namespace, last)
    if arriving:
        assert namespace.receive(answers(version), COUNT) == COUNT
    else:
        assert len(namespace.send(namespace.flow(version), COUNT)) == COUNT
    # The program still reads what it finds.
    assert f"-A {words.split()[3]}" in namespace.run(program, "-t", words.split()[1], "-S")


@pytest.mark.parametrize("version", [4, 6])
def test_nothing_is_said_of_a_firewall_that_lets_it_through(namespace: Namespace, version: int) -> None:
    """Protects from false alarms: rules for others, default drop with what is needed, NAT of another device."""
    namespace.nft(
        chain(
            "output",
            "ct state established,related accept",
            "ct state invalid drop",
            "ip daddr 192.0.2.1 drop",
            f'oifname "{DEVICE}" accept',
            policy="drop",
        )
    )
    translates = 'type nat hook postrouting priority 100; oifname "eth0" masquerade;'
    namespace.nft(f"table inet other {{ chain post {{ {translates} }}; }}")
    observations, left = sent(namespace, namespace.flow(version))
    assert left == COUNT
    assert {each.finding for each in observations} == {"clear"}


def test_a_source_that_is_rewritten(namespace: Namespace) -> None:
    """The rule that translates the source inside the tunnel, and the address that it gives."""
    namespace.nft(chain("postrouting", f"{TO} snat ip to 10.66.0.7", kind="nat", priority=100))
    observations, left = sent(namespace, namespace.flow())
    assert left == COUNT
    last = observations[-1]
    assert (last.station.id, last.finding) == ("post-out", "killed")
    assert last.death is not None
    assert last.death.certain
    assert "10.66.0.7" in last.death.message
    assert last.death.code.slug == "reach.no-forward"
    healed(namespace, last)
    assert sent(namespace, namespace.flow(port=40001))[0][-1].finding == "clear"


def test_masquerade_that_changes_nothing_is_no_death(namespace: Namespace) -> None:
    """A rule that gives packets the address that they have already."""
    namespace.nft(chain("postrouting", "masquerade", kind="nat", priority=100))
    observations, left = sent(namespace, namespace.flow())
    assert left == COUNT
    assert {each.finding for each in observations} == {"clear"}


def test_a_redirection(namespace: Namespace) -> None:
    """What comes in is sent to a port at which nobody waits."""
    namespace.nft(chain("prerouting", "udp sport 862 redirect to :5", kind="nat", priority=-100))
    observations, got = received(namespace, answers())
    assert got == 0
    last = observations[-1]
    assert (last.station.id, last.finding) == ("prerouting", "killed")
    assert last.death is not None
    assert last.death.certain
    assert "redirects them to port 5" in last.death.message
    healed(namespace, last)
    assert namespace.receive(replace(answers(), destination_port=40001), COUNT) == COUNT


@pytest.mark.parametrize("program", ["iptables-nft", "iptables-legacy"])
def test_another_port_is_another_destination(namespace: Namespace, program: str) -> None:
    """Protects a responder from the word that nobody listens: a rule here sends what is for it to another port."""
    flow = namespace.flow()
    to = f"{flow.destination}:{(flow.destination_port or 0) + 1}"
    namespace.run(
        program, *f"-t nat -A OUTPUT -p udp --dport {flow.destination_port} -j DNAT --to-destination {to}".split()
    )
    observations, _ = sent(namespace, flow)
    last = observations[-1]
    assert (last.station.id, last.finding) == ("filter-out", "killed")
    assert last.death is not None
    assert last.death.certain
    assert last.death.later
    assert f"sends them to {to.replace(':', ' port ')}" in last.death.message
    healed(namespace, last)


def test_what_only_may_match_is_not_certain(namespace: Namespace) -> None:
    """A rule whose match nobody can know, without a counter, is named as what it is."""
    namespace.nft(chain("output", f"{TO} numgen random mod 1 < 1 drop"))
    observations, left = sent(namespace, namespace.flow())
    assert left == 0
    last = next(each for each in observations if each.finding == "killed")
    assert last.death is not None
    assert not last.death.certain
    assert "no counter shows it" in last.death.message


def test_two_that_may_match_are_both_open(namespace: Namespace) -> None:
    """Where several rules may have done it, none is accused."""
    namespace.nft(chain("output", *[f"{TO} numgen random mod 1 < 1 drop"] * 2))
    observations, _ = sent(namespace, namespace.flow())
    assert observations[0].finding == "blind"
    assert "or rule" in observations[0].reason
    assert all(each.finding != "killed" for each in observations)


def test_a_counter_that_stood_still(namespace: Namespace) -> None:
    """A rule that would drop packets which never came is not what killed them."""
    namespace.nft(chain("input", f"{FROM} counter drop"))
    before = Firewall().snapshot()
    after = Firewall().snapshot([answers()], OWN.values())
    observations = observe_filters(before, after, [Burst(flow=answers(), direction="reverse", sent=COUNT)])
    assert [each.finding for each in observations] == ["clear", "absent"]


def test_without_root(namespace: Namespace) -> None:
    """Protects an ordinary user's report: every station says what would have let it be seen."""
    os.seteuid(65534)
    try:
        found = Firewall().snapshot([namespace.flow()])
    finally:
        os.seteuid(0)
    assert found.unreadable == PRIVILEGE
    observations = observe_filters(found, found, [Burst(flow=namespace.flow())])
    assert {(each.finding, each.reason) for each in observations} == {("blind", PRIVILEGE)}


def test_answers_that_never_came_accuse_nobody(namespace: Namespace) -> None:
    """A firewall that lets in answers only: nothing left, so no answer came, and none was dropped on its way in."""
    namespace.nft(chain("input", "ct state established accept", policy="drop"))
    found = Firewall().snapshot([answers()], OWN.values())
    observations = observe_filters(found, found, [Burst(flow=answers(), direction="reverse")])
    assert [each.finding for each in observations] == ["clear", "blind"]
    assert "none was seen coming" in observations[-1].reason


def test_large_packets_only(namespace: Namespace) -> None:
    """A rule by length: the small burst is clear, the large one dies, and the facts say so."""
    namespace.nft(chain("output", "meta length > 1285 drop"))
    small, large = namespace.flow(), namespace.flow(length_bytes=1400)
    before = Firewall().snapshot()
    namespace.send(small, COUNT)
    assert namespace.send(large, COUNT) == []
    after = Firewall().snapshot([small, large], OWN.values())
    bursts = [Burst(flow=small, sent=COUNT), Burst(flow=large, sent=COUNT, packets="large")]
    observations = observe_filters(before, after, bursts)
    assert {each.finding for each in observations if each.packets == "inner"} == {"clear"}
    last = observations[-1]
    assert last.death is not None
    assert last.death.facts is not None
    assert last.death.facts.packet_class == "large"


def test_reading_makes_no_table(namespace: Namespace) -> None:
    """Protects the node: iptables-legacy's tables come into being when somebody asks for them."""
    assert Firewall().snapshot().ruleset.chains == ()
    with open("/proc/thread-self/net/ip_tables_names", encoding="ascii") as names:  # noqa: PTH123
        assert names.read() == ""


def test_forwarded_packets_have_their_stations(namespace: Namespace) -> None:
    """A node between two others: the forward chain is asked, and named as the forwarder's."""
    namespace.nft(chain("forward", f"{TO} drop"))
    flow = replace(namespace.flow(), source="192.0.2.1", interface_in="lan0")
    found = Firewall().snapshot()
    observations = observe_filters(found, found, [Burst(flow=flow)])
    assert [(each.station.id, each.station.host, each.finding) for each in observations] == [
        ("prerouting", "forwarder", "clear"),
        ("forward", "forwarder", "killed"),
    ]


@pytest.mark.parametrize(
    ("rules", "mark"),
    [((), 7), (("meta mark set 5",), 5), (("meta mark set meta mark | 0x8",), 15), (("meta mark set ct mark",), None)],
)
def test_the_mark_with_which_it_is_routed(namespace: Namespace, rules: tuple[str, ...], mark: int | None) -> None:
    """Rules for what this node sends may mark it, and the kernel then routes it again by that mark."""
    namespace.nft(chain("output", f"{TO} meta mark 7 jump other", *rules, kind="route", priority=-150))
    assert mark_of_sent(Firewall().snapshot().ruleset, namespace.flow(mark=7)) == mark


@pytest.mark.parametrize(("kind", "mark"), [("route", 5), ("filter", 7)])
def test_only_chains_that_are_made_for_it_route_again(namespace: Namespace, kind: str, mark: int) -> None:
    """What a chain for filters marks keeps the route that it has."""
    namespace.nft(chain("output", f"{TO} meta mark set 5", kind=kind, priority=-150))
    assert mark_of_sent(Firewall().snapshot().ruleset, namespace.flow(mark=7)) == mark
