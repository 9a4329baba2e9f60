"""A next hop that answers this process and not the kernel: this node's own rules stop what IPv6 asks it by."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_interface

from preflight import codes
from preflight.model.flow import Flow
from preflight.model.kernel import Link
from preflight.model.network_state import NetworkState
from preflight.model.remedy import as_text
from preflight.model.routing import Asked, Neighbour
from preflight.proto.way.discovery import observe_discovery
from preflight.proto.way.neighbours import observe_neighbour
from preflight.proto.way.netfilter.ruleset import Chain, FilterSnapshot, Hook, Ruleset
from preflight.proto.way.observation import Observation
from tests.proto.way.netfilter.recordings import OF_THIS_KIND, ruleset
from tests.proto.way.test_routing import killed
from tests.proto.way.world import GATEWAY, LINKS, OUTER, ROUTER, TUNNEL, entry, state

pytestmark = OF_THIS_KIND
ROUTER_V6, OWN_V6 = "fd01:1::1", "fd01:1::2"
SIX = Flow(source=OWN_V6, destination="fd01:2::2", source_port=51820, destination_port=51820)
UNHEARD = Neighbour(interface="eth0", address=ROUTER_V6, state="failed")
ANSWERS = Asked(interface="eth0", address=ROUTER_V6, hardware=("02:00:00:00:00:01",))


def machine(*neighbours: Neighbour, to: Flow = SIX) -> NetworkState:
    addressed: Sequence[Link] = [
        replace(link, addresses=(*link.addresses, ip_interface(f"{OWN_V6}/64"))) if link.name == "eth0" else link
        for link in LINKS
    ]
    entries = (entry("::/0", "eth0", gateway=ROUTER_V6), entry("0.0.0.0/0", "eth0", gateway=GATEWAY))
    return state(links=addressed, entries=entries, neighbours=neighbours, flows=(to,))


def dropping(hook: Hook, *more: Chain) -> FilterSnapshot:
    chain = Chain(family="ip6", table="filter", name=hook, hook=hook, policy="drop")
    return FilterSnapshot(ruleset=Ruleset((chain, *more), {}, {"lo": 1, "eth0": 2, "wg0": 3}))


def observed(
    rules: FilterSnapshot, asked: Asked | None = ANSWERS, *, known: Neighbour = UNHEARD, to: Flow = SIX
) -> list[Observation]:
    return list(observe_discovery(machine(known, to=to), to, TUNNEL, asked, (rules, rules)))


def test_the_policy_that_drops_the_answer_of_the_router() -> None:
    """The place is the neighbour, and the line lets ICMPv6 in by this link."""
    (found,) = observed(dropping("input"))
    death = killed(found)
    assert (found.station.id, death.code, death.certain) == ("neighbour", codes.HOST_FIREWALL_DROP, True)
    assert f"{ROUTER_V6}, to which wg0 sends by eth0, answers this process and not the kernel" in death.message
    assert "drops the answer of fd01:1::1: the policy of chain filter input" in death.message
    assert str(as_text(death.remedies)).startswith(
        "nft add rule ip6 filter input iifname eth0 meta l4proto ipv6-icmp accept"
    )
    assert death.facts is not None
    assert (death.facts.chain, death.facts.neighbour) == ("filter input", ROUTER_V6)


def test_the_rule_that_drops_the_question() -> None:
    """It goes to a group of addresses, not to the router alone."""
    (found,) = observed(dropping("output"))
    assert "drops the question for ff02::1:ff00:1: the policy of chain filter output" in killed(found).message


def test_what_lets_in_answers_does_not_let_in_these() -> None:
    """Connection tracking leaves them out: `ct state established accept` is why people think that it would."""
    usual = FilterSnapshot(ruleset=ruleset("usual"))
    (found,) = observed(usual)
    death = killed(found)
    assert death.certain
    assert "drops the question for ff02::1:ff00:1: the policy of chain filter output" in death.message


def test_a_router_that_the_kernel_hears_is_no_finding() -> None:
    """Nor one that answers nobody, nor where nobody was asked."""
    heard = replace(UNHEARD, state="reachable", hardware="02:00:00:00:00:01")
    assert not observed(dropping("input"), known=heard)
    assert not observed(dropping("input"), replace(ANSWERS, hardware=()))
    assert not observed(dropping("input"), None)


def test_without_a_rule_that_is_known_it_only_fits() -> None:
    """ARP passes other rules, which nobody here reads."""
    (found,) = observed(FilterSnapshot())
    assert (killed(found).certain, "a rule for ICMPv6" in killed(found).message) == (False, True)
    unheard, asked = replace(ROUTER, state="failed"), replace(ANSWERS, address=GATEWAY)
    (by_arp,) = observed(FilterSnapshot(), asked, known=unheard, to=OUTER)
    assert (killed(by_arp).certain, "a rule for ARP may do that" in killed(by_arp).message) == (False, True)
    assert observe_neighbour(machine(unheard, to=OUTER), OUTER, TUNNEL, asked).finding == "blind"
