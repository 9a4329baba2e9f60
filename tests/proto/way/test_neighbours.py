"""The station `neighbour`: whether the next machine on the uplink answers."""

from dataclasses import replace
from ipaddress import ip_interface

import pytest

from preflight import codes
from preflight.model.network_state import NetworkState
from preflight.model.remedy import as_text
from preflight.model.routing import Asked, Entry, Neighbour
from preflight.proto.way.neighbours import next_best_hop, next_hop, observe_neighbour
from preflight.proto.way.observation import Death
from tests.proto.way.test_routing import killed
from tests.proto.way.world import ENDPOINT, ENTRIES, GATEWAY, LINKS, OUTER, ROUTER, TUNNEL, changed, entry, state

DEAD = "192.0.2.99"
SILENT = Neighbour(interface="eth0", address=DEAD, state="failed")
IN_THE_LAN = Neighbour(interface="eth0", address="192.0.2.50", state="stale", hardware="02:00:00:00:00:50")
BY_HOST = (*ENTRIES, entry(f"{ENDPOINT}/32", "eth0", gateway=DEAD))
OTHER_ROUTER = replace(ROUTER, address="192.0.2.3", hardware="02:00:00:00:00:07")
BY_DEFAULT = (*ENTRIES[:2], entry("0.0.0.0/0", "eth0", gateway=DEAD))


def death(made: NetworkState, asked: Asked | None = None) -> Death:
    return killed(observe_neighbour(made, OUTER, TUNNEL, asked))


def test_a_gateway_that_answers_is_clear_and_an_old_entry_is_no_proof() -> None:
    """The kernel keeps a gateway that died: only an answer to a question counts, or its own `reachable`."""
    assert observe_neighbour(state(), OUTER, TUNNEL).finding == "clear"
    stale = state(neighbours=(replace(ROUTER, state="stale"),))
    assert observe_neighbour(stale, OUTER, TUNNEL).finding == "blind"
    answered = Asked(interface="eth0", address=GATEWAY, hardware=("02:00:00:00:00:01",))
    assert observe_neighbour(stale, OUTER, TUNNEL, answered).finding == "clear"
    assert observe_neighbour(state(), None, TUNNEL).finding == "clear"


def test_a_host_route_by_a_dead_gateway_is_deleted() -> None:
    """The gateway is in the sentence; what is left leads out by a gateway that has answered."""
    found = death(state(entries=BY_HOST, neighbours=(ROUTER, SILENT)))
    assert (found.code, found.facts and found.facts.gateway) == (codes.HOST_GATEWAY_DEAD, DEAD)
    assert f"{DEAD}, the gateway of the route to {ENDPOINT}, does not answer on eth0" in found.message
    assert str(as_text(found.remedies)).startswith(f"ip route del {ENDPOINT}/32 via {DEAD} dev eth0")
    alone = death(state(entries=BY_HOST, neighbours=(SILENT,)))
    assert {remedy.kind for remedy in alone.remedies} == {"next"}


def test_a_dead_default_gateway_is_replaced_by_the_only_other_router() -> None:
    """It has shown that it has a way to the endpoint; the dead one itself never counts, nor one machine twice."""
    made = state(entries=BY_DEFAULT, neighbours=(ROUTER, SILENT))
    found = killed(observe_neighbour(made, OUTER, TUNNEL, None, (ROUTER,)))
    assert str(as_text(found.remedies)).startswith(f"ip route replace 0.0.0.0/0 via {GATEWAY} dev eth0")
    two = (replace(ROUTER, address="fe80::1"), ROUTER)
    assert killed(observe_neighbour(made, OUTER, TUNNEL, None, two)).remedies == found.remedies
    for routers in ((), (replace(ROUTER, address=DEAD),), (ROUTER, OTHER_ROUTER)):
        other = killed(observe_neighbour(made, OUTER, TUNNEL, None, routers))
        assert {remedy.kind for remedy in other.remedies} == {"next"}


@pytest.mark.parametrize(
    ("known", "dead"),
    [
        (SILENT, True),
        (replace(SILENT, state="incomplete", probes=2), True),
        (replace(SILENT, state="incomplete", probes=1), False),
        (replace(SILENT, state="stale", hardware="02::9"), False),
        (None, False),
    ],
)
def test_one_unanswered_question_proves_nothing(known: Neighbour | None, dead: bool) -> None:
    """The first may be lost; a second later the kernel asks again."""
    neighbours = (known,) if known else ()
    found = observe_neighbour(state(entries=BY_DEFAULT, neighbours=neighbours), OUTER, TUNNEL)
    assert found.finding == ("killed" if dead else "blind")


def test_nobody_answers_this_node_s_own_question() -> None:
    """A gateway that the kernel still takes for reachable is dead anyway."""
    asked = Asked(interface="eth0", address=GATEWAY)
    found = death(state(), asked)
    assert (found.code, found.facts and found.facts.gateway) == (codes.HOST_GATEWAY_DEAD, GATEWAY)
    assert "the gateway of the route to default" in found.message


def test_an_endpoint_on_this_link_that_does_not_answer() -> None:
    """There is no gateway to blame: the endpoint's own host is silent, and a question goes both ways."""
    on_link = (*ENTRIES, entry("203.0.113.0/24", "eth0"))
    silent = replace(SILENT, address=ENDPOINT)
    found = death(state(entries=on_link, neighbours=(ROUTER, silent)))
    assert found.code == codes.REACH_UNREACHABLE
    assert found.facts
    assert (found.facts.gateway, found.facts.neighbour) == (None, ENDPOINT)


def test_two_machines_with_the_gateway_s_address() -> None:
    """Both are named, and to which of them the packets go."""
    asked = Asked(interface="eth0", address=GATEWAY, hardware=("02:00:00:00:00:01", "02:00:00:00:00:77"))
    found = death(state(), asked)
    assert found.code == codes.HOST_GATEWAY_DEAD
    assert "02:00:00:00:00:01 and 02:00:00:00:00:77, and its packets go to 02:00:00:00:00:01" in found.message


def test_a_gateway_that_was_never_used_is_asked() -> None:
    """Behind a second default route nobody was heard yet: its answer to a question counts as well."""
    routes = (*ENTRIES, entry("0.0.0.0/1", "eth0", gateway=DEAD), entry("128.0.0.0/1", "eth0", gateway=DEAD))
    made = state(entries=routes, neighbours=(SILENT,))
    assert next_best_hop(made, OUTER, TUNNEL) == ("eth0", GATEWAY)
    for hardware, kind in (((), "next"), (("02::1",), "fix")):
        asked = Asked(interface="eth0", address=GATEWAY, hardware=hardware)
        (remedy,) = killed(observe_neighbour(made, OUTER, TUNNEL, None, (), asked)).remedies
        assert remedy.kind == kind


def test_a_network_that_is_too_wide_is_never_deleted() -> None:
    """The route comes with this node's address; a person decides whether what is silent is behind the router."""
    wide = tuple(
        replace(link, addresses=(ip_interface("203.0.0.2/8"),)) if link.name == "eth0" else link for link in LINKS
    )
    routes = (entry("203.0.0.0/8", "eth0"), entry("0.0.0.0/0", "eth0", gateway="203.0.0.1"))
    router, silent = replace(ROUTER, address="203.0.0.1"), replace(SILENT, address=ENDPOINT)
    (remedy,) = death(state(links=wide, entries=routes, neighbours=(router, silent))).remedies
    assert (remedy.kind, remedy.fix) == ("next", None)
    assert f"Is {ENDPOINT} really in 203.0.0.0/8" in remedy.lines[0]
    assert remedy.lines[0].endswith(f"ip route add {ENDPOINT} via 203.0.0.1")


def test_a_permanent_entry_is_compared_with_who_answers() -> None:
    """Another hardware address proves that the entry is wrong; without an answer it only fits."""
    fixed = state(neighbours=(replace(ROUTER, state="permanent", hardware="02:00:00:00:00:99"),))
    asked = Asked(interface="eth0", address=GATEWAY, hardware=("02:00:00:00:00:01",))
    found = death(fixed, asked)
    assert (found.certain, found.facts and found.facts.neighbour) == (True, GATEWAY)
    # The frames are seen to leave, which contradicts nothing.
    assert found.later
    assert "02:00:00:00:00:99" in found.message
    assert GATEWAY in found.message
    assert str(as_text(found.remedies)).startswith(f"ip neighbour del {GATEWAY} dev eth0")
    for other in (None, replace(asked, hardware=())):
        unproven = death(fixed, other)
        assert (unproven.certain, {remedy.kind for remedy in unproven.remedies}) == (False, {"next"})
    right = replace(asked, hardware=("02:00:00:00:00:99",))
    assert observe_neighbour(fixed, OUTER, TUNNEL, right).finding == "clear"


def test_without_the_endpoint_the_default_route_s_gateway_counts() -> None:
    """An ordinary user sees it too; but the endpoint may be in the LAN."""
    made = state(entries=BY_DEFAULT, neighbours=(SILENT, replace(IN_THE_LAN, state="reachable")))
    found = killed(observe_neighbour(made, None, TUNNEL))
    assert (found.certain, found.facts and found.facts.gateway) == (False, DEAD)


def test_where_nobody_has_to_be_asked() -> None:
    """A device without neighbours, one that is down, and a refusal have no next hop."""
    assert next_hop(state(), OUTER, TUNNEL) == ("eth0", GATEWAY)
    assert next_hop(state(links=changed("eth0", resolves=False)), OUTER, TUNNEL) is None
    assert next_hop(state(links=changed("eth0", carrier=False)), OUTER, TUNNEL) is None
    assert next_hop(state(entries=()), OUTER, TUNNEL) is None


LINK_LOCAL = replace(IN_THE_LAN, address="fe80::1")


@pytest.mark.parametrize(
    ("more", "neighbours", "certain"),
    [
        ((), (), True),
        # An endpoint has no address of a link alone.
        ((), (LINK_LOCAL,), True),
        ((), (replace(IN_THE_LAN, state="delay"),), False),
        # A packet to it would have made the kernel ask.
        ((), (IN_THE_LAN,), True),
        ((entry("::/0", "eth0", gateway="fe80::1"),), (LINK_LOCAL,), False),
        ((entry(f"{ENDPOINT}/32", "eth0", gateway=GATEWAY),), (), False),
        ((entry("203.0.113.0/24", "wg9"),), (), False),
    ],
    ids=["alone", "link-local", "machine", "unused", "ipv6", "host-route", "tunnel"],
)
def test_a_dead_gateway_that_everything_has_to_pass(
    more: tuple[Entry, ...], neighbours: tuple[Neighbour, ...], certain: bool
) -> None:
    """Who may not read the endpoint sees that no other way leads out, so that the packets end there."""
    links = (*LINKS, replace(LINKS[2], index=4, name="wg9"))
    made = state(links=links, entries=(*BY_DEFAULT, *more), neighbours=(SILENT, *neighbours))
    assert killed(observe_neighbour(made, None, TUNNEL)).certain is certain


def test_a_machine_that_was_used_until_a_moment_ago_may_be_the_endpoint() -> None:
    """Protects from a claim about packets that a neighbour took before its entry became stale."""
    then, now = (
        state(entries=BY_DEFAULT, neighbours=(SILENT, replace(IN_THE_LAN, state=each)))
        for each in ("reachable", "stale")
    )
    assert not killed(observe_neighbour(now, None, TUNNEL, before=then)).certain
    assert killed(observe_neighbour(now, None, TUNNEL, before=now)).certain
