"""The stations `address` and `route`: what the kernel's tables say of packets inside the tunnel."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from preflight import codes
from preflight.model.flow import Flow
from preflight.model.network_state import NetworkState
from preflight.model.remedy import as_text
from preflight.model.routing import Asked, Neighbour, Rule
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.routing import observe_address, observe_route, observe_two
from tests.proto.way.test_fib import FULL, WG_QUICK
from tests.proto.way.world import ENTRIES, INNER, LINKS, OWN, PEER, RULES, TUNNEL, changed, entry, lookup, state


def killed(observation: Observation) -> Death:
    """The death of a station that says that it killed packets."""
    assert observation.finding == "killed", observation
    assert observation.death is not None
    return observation.death


def route(made: NetworkState, *flows: Flow) -> Observation:
    return observe_route(made, flows or (INNER,), TUNNEL)


def test_a_route_into_the_tunnel_is_clear() -> None:
    """Protects healthy machines: full tunnels by rules, a tunnel for each peer, and a second address on the tunnel."""
    assert route(state()).finding == "clear"
    assert route(state(rules=WG_QUICK, entries=FULL)).finding == "clear"
    per_peer = replace(TUNNEL, interfaces=("wg1", "wg0"))
    assert observe_route(state(), (INNER,), per_peer).finding == "clear"


def test_a_route_that_a_mark_may_change_is_no_leak() -> None:
    """Only root can read whether the firewall marks what this node sends; who can read it is certain."""
    marking = Rule(version=4, priority=90, table=100, mark=7, mask=2**32 - 1)
    entries = (entry("0.0.0.0/0", "eth0"), entry(f"{PEER}/32", "wg0", table=100))
    made = state(rules=(*RULES, marking), entries=entries)
    unread = observe_route(made, (INNER,), TUNNEL, marks_unread=True)
    assert unread.finding == "blind"
    assert "`90: fwmark 0x7 lookup 100`" in unread.reason
    assert killed(observe_route(made, (INNER,), TUNNEL)).code is codes.OVERLAY_ROUTE_LEAK


@pytest.mark.parametrize("kind", ["blackhole", "unreachable", "prohibit"])
def test_a_route_that_refuses_is_named_and_replaced(kind: str) -> None:
    """The type is in the sentence, and the fix is what leads into the tunnel."""
    alone = killed(route(state(entries=(*ENTRIES, entry(f"{PEER}/32", type=kind)))))
    assert (alone.code, alone.facts and alone.facts.route_type) == (codes.REACH_NO_FORWARD, kind)
    assert f"`{kind} {PEER}` is of type {kind}" in alone.message
    assert str(as_text(alone.remedies)).startswith(f"ip -4 route del {kind} {PEER}/32")
    # Where nothing else leads into the tunnel, deleting it is not enough.
    only = (*ENTRIES[1:], entry(f"{PEER}/32", type=kind))
    assert str(as_text(killed(route(state(entries=only))).remedies)).startswith(f"ip route replace {PEER}/32 dev wg0")


def test_a_rule_that_refuses_is_named_and_deleted() -> None:
    """The rule's own words, and a fix that selects this rule alone."""
    rule = Rule(version=4, priority=90, destination=ip_network(f"{PEER}/32"), action="prohibit")
    death = killed(route(state(rules=(*RULES, rule))))
    assert death.facts
    assert death.facts.route_type == "prohibit"
    assert f"`90: to {PEER}/32 prohibit` is of type prohibit" in death.message
    assert str(as_text(death.remedies)).startswith(f"ip -4 rule del to {PEER}/32 pref 90 prohibit")
    twins = (rule, replace(rule, protocol=17))
    ambiguous = killed(route(state(rules=(*RULES, *twins))))
    assert all(remedy.kind == "next" for remedy in ambiguous.remedies)


def test_no_route_and_the_rule_for_main_that_is_gone() -> None:
    """Two sentences for one errno: the fix for the first is a route, for the second the rule."""
    lost = killed(route(state(entries=())))
    assert (lost.facts and lost.facts.route_type, "none of its routes" in lost.message) == ("none", True)
    assert str(as_text(lost.remedies)).startswith(f"ip route replace {PEER}/32 dev wg0")
    inner6 = replace(INNER, destination="fd66::2")
    without = killed(route(state(entries=(), flows=(inner6,)), inner6))
    assert "and wg0 has no IPv6 address" in without.message
    assert {remedy.kind for remedy in without.remedies} == {"next"}, "a device without IPv6 takes no route for it"
    gone = killed(route(state(rules=[rule for rule in RULES if rule.table != 254])))
    assert "the rule that leads to its main table is gone" in gone.message
    assert str(as_text(gone.remedies)).startswith("ip -4 rule add pref 32766 lookup 254")


def test_a_refusal_that_no_dump_explains_is_not_certain() -> None:
    """EINVAL means other things too: without the entry it fits a blackhole and does not prove one."""
    made = state()
    refused = replace(lookup(made, INNER), type="blackhole", error="Invalid argument", interface=None)
    death = killed(route(replace(made, lookups=(refused,))))
    assert not death.certain
    assert all(remedy.kind == "next" for remedy in death.remedies)


def test_another_device_is_a_leak() -> None:
    """The device is in the sentence; the fix goes to the table that decided."""
    away = killed(route(state(entries=(*ENTRIES, entry(f"{PEER}/32", "eth0", gateway="192.0.2.1")))))
    assert (away.code, away.facts and away.facts.interface) == (codes.OVERLAY_ROUTE_LEAK, "eth0")
    assert "out by eth0, not by wg0" in away.message
    assert str(as_text(away.remedies)).startswith(f"ip route replace {PEER}/32 dev wg0")
    udp = Rule(version=4, priority=90, destination=ip_network(f"{PEER}/32"), protocol=17, table=177)
    entries = (*ENTRIES, entry(f"{PEER}/32", "eth0", table=177))
    ping = replace(INNER, protocol="icmp", destination_port=None)
    made = state(rules=(*RULES, udp), entries=entries, flows=(ping, INNER))
    assert observe_route(made, (ping,), TUNNEL).finding == "clear"
    both = killed(observe_route(made, (ping, INNER), TUNNEL))
    assert "UDP port 862" in both.message
    assert f"`90: to {PEER}/32 ipproto 17 lookup 177`" in both.message
    assert str(as_text(both.remedies)).startswith(f"ip route replace {PEER}/32 dev wg0 table 177")


def test_what_a_rule_marks_is_routed_again() -> None:
    """A mark may lead into the tunnel, or away from it; a source has its own rules."""
    marked = replace(INNER, source=OWN, mark=7)
    by_mark = Rule(version=4, priority=90, mark=7, mask=0xFFFFFFFF, table=77)
    astray = (*ENTRIES, entry(f"{PEER}/32", "eth0", gateway="192.0.2.1"))
    mended = state(
        rules=(*RULES, by_mark), entries=(*astray, entry(f"{PEER}/32", "wg0", table=77)), flows=(INNER, marked)
    )
    assert observe_route(mended, (INNER, marked), TUNNEL).finding == "clear"
    broken = state(
        rules=(*RULES, by_mark), entries=(*ENTRIES, entry("0.0.0.0/0", "eth0", table=77)), flows=(INNER, marked)
    )
    death = killed(observe_route(broken, (INNER, marked), TUNNEL))
    assert death.code == codes.OVERLAY_ROUTE_LEAK
    assert str(as_text(death.remedies)).startswith(f"ip route replace {PEER}/32 dev wg0 table 77")
    chosen = replace(INNER, source=OWN)
    of_source = Rule(version=4, priority=90, source=ip_network(f"{OWN}/32"), table=5)
    refusing = entry("10.66.0.0/24", None, table=5, type="unreachable")
    own = state(rules=(*RULES, of_source), entries=(*ENTRIES, refusing), flows=(INNER, chosen))
    assert "table 5` is of type unreachable" in killed(observe_route(own, (INNER, chosen), TUNNEL)).message


def test_wg_quick_s_rule_that_is_gone_is_added_again() -> None:
    """A full tunnel without its rule sends everything out in clear text."""
    rules = [rule for rule in WG_QUICK if rule.table != 51820]
    entries = [each for each in FULL if each.destination.prefixlen != 24 or each.interface != "wg0"]
    made = state(rules=rules, entries=entries)
    death = killed(observe_route(made, (INNER,), replace(TUNNEL, mark=51820)))
    assert death.code == codes.OVERLAY_ROUTE_LEAK
    assert str(as_text(death.remedies)).startswith("ip -4 rule add not fwmark 51820 pref 32765 lookup 51820")


def test_a_product_that_writes_its_routes_gets_none_by_hand() -> None:
    """A route by hand would be lost, or in its way; nor does one help to a peer that nobody owns."""
    made = state(entries=ENTRIES[1:])
    for tunnel in (replace(TUNNEL, manages_routes=True), replace(TUNNEL, owned=False)):
        assert {remedy.kind for remedy in killed(observe_route(made, (INNER,), tunnel)).remedies} == {"next"}


def test_a_source_that_is_none_of_the_tunnel_s() -> None:
    """The source is in the sentence, with its device; the fix keeps the entry and changes the source."""
    death = killed(route(state(entries=(*ENTRIES, entry(f"{PEER}/32", "wg0", source="192.0.2.2")))))
    assert (death.code, death.facts and death.facts.source) == (codes.OVERLAY_WRONG_SOURCE, "192.0.2.2")
    assert "the source 192.0.2.2, that of eth0" in death.message
    assert str(as_text(death.remedies)).startswith(f"ip route replace {PEER}/32 dev wg0 src 10.66.0.1")
    without = replace(TUNNEL, addresses=("fd66::1",))
    assert observe_route(state(), (INNER,), without).finding == "clear"


def test_nobody_was_asked() -> None:
    """An observation that says what would have decided."""
    assert route(replace(state(), lookups=())).finding == "blind"


@pytest.mark.parametrize("name", ["eth0", "lo", "wg0"])
def test_the_peer_s_address_is_this_node_s_own(name: str) -> None:
    """Wherever it is, it is taken off, as long as the tunnel keeps an address."""
    more = next(link.addresses for link in LINKS if link.name == name)
    made = state(links=changed(name, addresses=(*more, ip_interface(f"{PEER}/32"))))
    death = killed(observe_address(made, (INNER,), TUNNEL))
    assert (death.code, death.facts and death.facts.address) == (codes.OVERLAY_DUPLICATE_ADDRESS, PEER)
    assert f"{PEER}, the overlay address of b, is an address of this node too, on {name}" in death.message
    assert str(as_text(death.remedies)).startswith(f"ip address del {PEER}/32 dev {name}")


def test_the_only_address_of_the_tunnel_is_never_deleted() -> None:
    """A peer list that names this node itself: nobody knows here which of the two is wrong."""
    made = state(links=changed("wg0", addresses=(ip_interface(f"{PEER}/24"),)))
    death = killed(observe_address(made, (INNER,), replace(TUNNEL, addresses=(PEER,))))
    assert {remedy.kind for remedy in death.remedies} == {"next"}


def test_an_address_that_no_peer_has() -> None:
    """Only where each peer has another address is it the settings' address that is wrong."""
    death = killed(observe_address(state(), (INNER,), replace(TUNNEL, owned=False)))
    assert (death.code, death.facts and death.facts.address) == (codes.OVERLAY_ALLOWED_IPS, PEER)
    open_question = observe_address(state(), (INNER,), replace(TUNNEL, owned=False, without_address=1))
    assert open_question.finding == "blind"
    assert observe_address(state(), (INNER,), TUNNEL).finding == "clear"


def test_an_overlay_that_asks_its_neighbours_gets_no_answer() -> None:
    """A peer that is switched off is as silent as an address that nobody has, so it is not certain."""
    silent = Neighbour(interface="wg0", address=PEER, state="failed")
    death = killed(observe_address(state(neighbours=(silent,)), (INNER,), replace(TUNNEL, owned=None)))
    assert (death.certain, death.facts and death.facts.address) == (False, PEER)


def test_two_members_answer_for_one_address() -> None:
    """For the peer's address a second one is too many, for this node's the first."""
    one, two = Asked(interface="vx0", address=PEER, hardware=("02::1",)), ("02::1", "02::2")
    assert observe_two(one, TUNNEL).finding == "clear"
    death = killed(observe_two(replace(one, hardware=two), TUNNEL))
    assert (death.code, "02::1 and 02::2" in death.message) == (codes.OVERLAY_DUPLICATE_ADDRESS, True)
    assert death.later  # packets leave for one of them, which may answer what it was not asked
    own = observe_two(replace(one, address="10.66.0.1"), TUNNEL, own=True)
    assert (own.direction, "10.66.0.1" in killed(own).message) == ("reverse", True)
    assert observe_two(replace(one, hardware=()), TUNNEL, own=True).finding == "clear"
