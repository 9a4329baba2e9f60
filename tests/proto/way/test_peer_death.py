"""What a peer's facts say in this node's words: each code from its facts, and nothing without them."""

import pytest

from preflight import codes
from preflight.codes import Code
from preflight.model.facts import DeathFacts
from preflight.model.fix import Route
from preflight.model.observed import PeerObservation
from preflight.proto.way.peer_death import CODES, Asker, death_of

KEY = "c3RyYW5nZXIgc3RyYW5nZXIgc3RyYW5nZXIgc3RyYW4="
ASKER = Asker(name="b", address="10.66.0.1", public_key="own")
FORWARD, REVERSE = "forward", "reverse"


def told(station: str, direction: str, code: str, **more: object) -> PeerObservation:
    """A death at b."""
    found = DeathFacts(**more)  # type: ignore[arg-type]
    return PeerObservation(station=station, finding="killed", direction=direction, code=code, facts=found)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "code", "message"),
    [
        (
            told("input", FORWARD, "host.firewall-drop", rule_handle=7, chain="guard input"),
            codes.REACH_NO_FORWARD,
            "the firewall of b drops what this node sends to it: rule 7 of its chain guard input",
        ),
        (
            told("filter-out", REVERSE, "host.firewall-drop", chain="guard output"),
            codes.REACH_NO_REVERSE,
            "the firewall of b drops what it sends to this node: its chain guard output",
        ),
        (
            told("input-outer", FORWARD, "host.firewall-drop", rule_handle=7, chain="guard input", comment="why"),
            codes.REACH_NO_FORWARD,
            'the firewall of b drops what the tunnel of this node sends to it: rule 7 of its chain guard input ("why")',
        ),
        (
            told("filter-outer", REVERSE, "host.firewall-drop", rule_handle=7, chain="guard output"),
            codes.REACH_NO_REVERSE,
            "the firewall of b drops what its tunnel sends to this node: rule 7 of its chain guard output",
        ),
        (
            told("post-out", REVERSE, "reach.no-forward", rule_handle=7, chain="guard source", source="10.66.0.27"),
            codes.REACH_NO_REVERSE,
            "b does not send to this node as it should: rule 7 of its chain guard source rewrites the source of "
            "what it sends to this node to 10.66.0.27",
        ),
        (
            told("route", REVERSE, "reach.no-forward", route_type="prohibit"),
            codes.REACH_NO_REVERSE,
            "b does not send to this node as it should: its kernel refuses what it sends to this node, by a route or "
            "a rule of type prohibit",
        ),
        (
            told("route", REVERSE, "reach.no-forward", route_type="none"),
            codes.REACH_NO_REVERSE,
            "b does not send to this node as it should: none of its routes leads to 10.66.0.1 (route type none)",
        ),
        (
            told("route", REVERSE, "reach.no-forward", source="192.0.2.7", interface="wg0"),
            codes.REACH_NO_REVERSE,
            "b does not send to this node as it should: what it sends to this node leaves with the source 192.0.2.7, "
            "which is not an address of its tunnel",
        ),
        (
            told("input", FORWARD, "host.firewall-drop", address="10.66.0.1"),
            codes.REACH_NO_FORWARD,
            "a policy of IPsec of b drops what this node sends to it, for 10.66.0.1",
        ),
        (
            told("neighbour", REVERSE, "host.gateway-dead", gateway="192.0.2.1", interface="eth0"),
            codes.REACH_NO_REVERSE,
            "b does not send to this node as it should: its gateway 192.0.2.1 does not answer, by which its tunnel "
            "sends to this node",
        ),
        (
            told("rp", FORWARD, "host.rp-filter", sysctl="net.ipv4.conf.wg0.rp_filter", interface="wg0"),
            codes.HOST_RP_FILTER,
            "the reverse-path filter of b (net.ipv4.conf.wg0.rp_filter) drops what this node sends: it comes in by "
            "wg0, and no route leads back by the same interface",
        ),
        (
            told("route", REVERSE, "overlay.route-leak", interface="eth0", gateway="192.0.2.1"),
            codes.OVERLAY_ROUTE_LEAK,
            "b sends what is for this node (10.66.0.1) by eth0 via 192.0.2.1, outside the tunnel",
        ),
        (
            told("address", REVERSE, "overlay.duplicate-address", interface="lo"),
            codes.OVERLAY_DUPLICATE_ADDRESS,
            "10.66.0.1, this node's overlay address, is an address of b too, on lo: what is for this node never "
            "leaves it",
        ),
        (
            told("session", FORWARD, "overlay.allowed-ips", public_key=KEY),
            codes.OVERLAY_ALLOWED_IPS,
            f"the tunnel of b gives this node's address 10.66.0.1 to the key {KEY}: it must not be there, but in the "
            "allowed-ips of this node's own key",
        ),
        (
            told("session", REVERSE, "overlay.allowed-ips"),
            codes.OVERLAY_ALLOWED_IPS,
            "the tunnel of b gives this node's address 10.66.0.1 to nobody: it must be in the allowed-ips of this "
            "node's own key (own)",
        ),
    ],
)
def test_what_a_death_is_called_here(said: PeerObservation, code: Code, message: str) -> None:
    """The code is this node's, the sentence says whose fault it is, and what decided is in both."""
    death = death_of(said, ASKER)
    assert death is not None
    assert (death.code, death.message) == (code, message)
    assert code in CODES
    assert death.facts is not None
    assert all(str(value) in message for value in death.facts.measurements().values())
    assert all((remedy.where, remedy.host, remedy.kind) == ("peer", "b", "next") for remedy in death.remedies)


def test_a_translation_drops_nothing() -> None:
    """It sends the packets to another place, and the sentence says so."""
    said = told("prerouting", FORWARD, "host.firewall-drop", rule_handle=2, chain="nat PREROUTING")
    death = death_of(said, ASKER)
    assert death is not None
    assert "the firewall of b sends elsewhere what this node sends to it" in death.message


def test_a_filter_that_lets_echoes_pass() -> None:
    """Where b answers echo requests, only UDP is blocked; the tunnel's own packets are never only that."""
    echoed = Asker(name="b", address="10.66.0.1", passes="ICMP echo")
    inner = death_of(told("input", FORWARD, "host.firewall-drop", rule_handle=7, chain="guard input"), echoed)
    assert inner is not None
    assert inner.code == codes.UDP_BLOCKED
    assert inner.message.endswith("rule 7 of its chain guard input; ICMP echo passes")
    outer = death_of(told("input-outer", FORWARD, "host.firewall-drop", rule_handle=7, chain="a b"), echoed)
    assert outer is not None
    assert outer.code == codes.REACH_NO_FORWARD


@pytest.mark.parametrize(
    "said",
    [
        told("input", FORWARD, "host.firewall-drop"),
        told("route", REVERSE, "reach.no-forward"),
        told("route", REVERSE, "reach.no-forward", route_type="unicast"),
        told("route", FORWARD, "reach.no-forward", route_type="blackhole"),
        told("rp", REVERSE, "host.rp-filter"),
        told("session", FORWARD, "overlay.policy-drop"),
        told("session", REVERSE, "overlay.policy-drop", port=862),
        told("route", REVERSE, "overlay.route-leak"),
        told("address", FORWARD, "overlay.duplicate-address"),
        told("input", FORWARD, "control.refused", chain="a b"),
        told("input", FORWARD, "no.such-code", chain="a b"),
        PeerObservation(station="input", finding="killed", direction="forward"),
    ],
)
def test_nothing_is_made_of_too_little(said: PeerObservation) -> None:
    """A code without its facts, in the other direction, or unknown, explains nothing."""
    assert death_of(said, ASKER) is None


def test_an_owner_needs_a_key() -> None:
    """Where neither side says which key it is about, nothing is said."""
    said = told("session", REVERSE, "overlay.allowed-ips")
    assert death_of(said, Asker(name="b", address="10.66.0.1")) is None


def test_what_heals_is_done_there() -> None:
    """The peer's change is shown with the peer's name, and whether its report is proven is kept."""
    fix = Route(action="replace", destination="10.66.0.1/32", interface="wg0")
    said = PeerObservation(
        station="route",
        finding="killed",
        direction="reverse",
        code="reach.no-forward",
        facts=DeathFacts(route_type="blackhole"),
        certain=False,
        fixes=(fix,),
    )
    death = death_of(said, ASKER)
    assert death is not None
    assert not death.certain
    (remedy,) = death.remedies
    assert (remedy.kind, remedy.where, remedy.fix) == ("fix", "peer", fix)
    persist = "to persist: the same in the configuration of b"
    assert remedy.shown == (f"ip route replace 10.66.0.1/32 dev wg0   # on b; {persist}",)
