"""All observations of one burst: what to ask the kernel, and one observation for each station."""

from dataclasses import replace

from preflight import codes
from preflight.model.counters import Counters
from preflight.model.filter_fixes import FilterPass
from preflight.model.kernel import ReversePathFilter
from preflight.model.remedy import heal
from preflight.model.routing import Arrival, Asked, Rule
from preflight.proto.way.counters import FILTERED
from preflight.proto.way.kernel_word import Answers, Watched, observe_kernel, questions, uplink_of, with_filters_behind
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.stations import Station
from tests.proto.way.world import ENTRIES, INNER, OUTER, OWN, PEER, RULES, TUNNEL, entry, state

WATCHED = Watched(tunnel=TUNNEL, flows=(INNER,), outer=OUTER, sent=5)


def test_a_healthy_machine_is_clear_or_blind_at_every_station() -> None:
    """Protects from false deaths: each station once, and none of them killed anything."""
    made = state()
    found = observe_kernel(made, made, WATCHED)
    stations = [(each.station.id, each.station.host) for each in found]
    assert len(stations) == len(set(stations)) == 10
    assert {each.finding for each in found} == {"clear", "blind"}


def test_two_members_with_one_address_are_at_the_address() -> None:
    """Inside a tunnel that asks its neighbours, both answers are seen; one answer for the peer is as it must be."""
    made, one = state(), Asked(interface="wg0", address=PEER, hardware=("02::2",))
    healthy = observe_kernel(made, made, WATCHED, Answers(peer=one, own=replace(one, address=OWN, hardware=())))
    assert not [each for each in healthy if each.finding == "killed"]
    two = Answers(peer=replace(one, hardware=("02::2", "02::3")), own=replace(one, address=OWN))
    killed = [each for each in observe_kernel(made, made, WATCHED, two) if each.finding == "killed"]
    assert [(each.station.id, each.direction) for each in killed] == [("address", "forward"), ("address", "reverse")]


def test_the_questions_hold_what_leaves_what_comes_in_and_the_way_back() -> None:
    """The reverse-path filter's sentence names the route back, so the kernel is asked for it too."""
    leaving, arriving = questions(WATCHED, "eth0")
    assert leaving[:2] == (INNER, OUTER)
    assert [(flow.source, flow.destination, flow.interface_in) for flow in arriving] == [
        (PEER, OWN, "wg0"),
        (OUTER.destination, OUTER.source, "eth0"),
    ]
    assert [(flow.source, flow.destination) for flow in leaving[2:]] == [(OWN, PEER), (OUTER.source, OUTER.destination)]
    assert [flow.interface_in for flow in questions(WATCHED)[1]] == ["wg0"]


def test_the_uplink_is_where_the_kernel_sends_the_tunnel_s_packets() -> None:
    """Never the tunnel itself, nor what is refused."""
    assert uplink_of(state(), WATCHED) == "eth0"
    assert uplink_of(state(entries=()), WATCHED) is None
    assert uplink_of(state(entries=(entry("0.0.0.0/0", "wg0"),)), WATCHED) is None
    assert uplink_of(state(), replace(WATCHED, outer=None)) is None


def test_the_mark_that_a_rule_gives_decides_where_the_tunnel_s_packets_go() -> None:
    """The kernel routes them again by it, unless it has refused them before any rule."""
    marked = replace(OUTER, mark=9)
    by_mark = Rule(version=4, priority=90, mark=9, mask=0xFFFFFFFF, table=99)
    refusing = entry("0.0.0.0/0", None, table=99, type="blackhole")
    watched = replace(WATCHED, remarked=marked)
    made = state(rules=(*RULES, by_mark), entries=(*ENTRIES, refusing), flows=(INNER, OUTER, marked))
    assert uplink_of(made, watched) is None
    (death,) = [each.death for each in observe_kernel(made, made, watched) if each.death is not None]
    assert "`blackhole 0.0.0.0/0 table 99` is of type blackhole" in death.message.replace("default", "0.0.0.0/0")
    assert marked in questions(watched)[0]
    first = state(entries=(), flows=(INNER, OUTER, marked))
    assert watched.routed(first) == OUTER


def test_both_reverse_path_filters_have_their_stations() -> None:
    """The one of the tunnel's device, and the one of the uplink."""
    arriving = questions(WATCHED, "eth0")[1]
    before, after = (
        replace(
            state(),
            filters=ReversePathFilter({"wg0": 1, "eth0": 1}, count),
            arrivals=tuple(Arrival(flow=flow, refused=True) for flow in arriving),
            counters=Counters(values={FILTERED: count}),
        )
        for count in (0, 5)
    )
    killed = [each.station.id for each in observe_kernel(before, after, WATCHED) if each.finding == "killed"]
    assert killed == ["rp", "rp-outer"]


def test_a_rule_that_a_strict_filter_stands_behind_needs_two_fixes() -> None:
    """Letting packets pass the rule alone would only move their death to the filter, and heal nothing."""
    watched = replace(WATCHED, arrives_by=frozenset(("eth0",)))
    arriving = questions(watched, "eth0")[1]
    strict = replace(
        state(),
        filters=ReversePathFilter({"wg0": 0, "eth0": 1}, 0),
        arrivals=tuple(Arrival(flow=flow, refused=True) for flow in arriving),
    )
    fix = heal(
        lambda: FilterPass(family="inet", table="t", chain="c", before=2, destination_port=51820, protocol="udp")
    )
    rule = Observation(
        station=Station("prerouting-outer", "receiver"),
        finding="killed",
        direction="reverse",
        death=Death(code=codes.HOST_FIREWALL_DROP, message="", remedies=fix),
    )
    (both,) = with_filters_behind((rule,), strict, watched)
    assert both.death is not None
    assert [remedy.lines for remedy in both.death.remedies] == [
        ("nft insert rule inet t c position 2 udp dport 51820 accept",),
        ("sysctl -w net.ipv4.conf.eth0.rp_filter=2",),
    ]
    loose = replace(strict, filters=ReversePathFilter({"wg0": 0, "eth0": 2}, 0))
    inner = replace(rule, station=Station("prerouting", "receiver"))
    assert with_filters_behind((rule,), loose, watched) == (rule,)
    assert with_filters_behind((inner,), strict, watched) == (inner,)


def test_answers_outside_the_tunnel_are_asked_about_by_their_device() -> None:
    """Only the kernel says whether its filter would let them in there."""
    arriving = questions(replace(WATCHED, astray_by=frozenset(("eth0",))), "eth0")[1]
    assert [(flow.source, flow.interface_in) for flow in arriving][-1] == (PEER, "eth0")
