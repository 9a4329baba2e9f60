"""What a followed burst shows becomes a verdict: a proven place, a gap, what only fits, or how far it was seen."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.model.fix import WireguardPeer
from preflight.model.remedy import by_hand, heal
from preflight.proto.way.observation import Death, Finding, Observation, PacketClass
from preflight.proto.way.stations import PACKET, Station
from preflight.proto.way.verdict import Verdict, WayDirection, conclude
from tests.proto.way.seeing import KEY_B

RULE = Death(code=codes.HOST_FIREWALL_DROP, message="rule 7 drops them", facts=DeathFacts(rule_handle=7))
MAYBE = Death(
    code=codes.HOST_FIREWALL_DROP, message="rule 7 may drop them", certain=False, remedies=by_hand("Delete it.")
)


def said(
    id: str,
    finding: Finding,
    host: str = "sender",
    death: Death | None = None,
    packets: PacketClass = "inner",
    direction: WayDirection = "forward",
) -> Observation:
    """One word about one station of the way to b."""
    station = Station(id, host)  # type: ignore[arg-type]
    reason = f"{finding} at {id}"
    return Observation(
        station=station, finding=finding, death=death, packets=packets, reason=reason, direction=direction
    )


def verdict(*words: Observation) -> Verdict:
    """The only verdict of words about one direction."""
    (only,) = conclude("b", words)
    return only


def test_who_hands_packets_on_is_one_cause_for_both_ways() -> None:
    """The silence of the way back is not a second fault, and nobody has to look at the peer."""
    refusing = Death(code=codes.REACH_NO_FORWARD, message="c refuses them", facts=DeathFacts(offender="c"))
    back = said("socket", "absent", "receiver", direction="reverse")
    forward, reverse = conclude("b", [said("forward", "killed", "forwarder", death=refusing), back])
    assert (forward.code, forward.station) == (codes.REACH_NO_FORWARD, Station("forward", "forwarder"))
    assert (reverse.code, reverse.remedies) == (None, ())


def test_the_lines_of_one_direction_take_the_place_of_the_other_one_s_sentence() -> None:
    """Protects a remedy that heals from a sentence next to it, which a person would read as a second thing to do."""
    by_lines = heal(lambda: WireguardPeer(interface="wg0", key=KEY_B, keepalive_s=25), where="peer", host="b")
    by_person = by_hand("On b, give the peer entry of this node the key.", where="peer")
    there = Death(code=codes.OVERLAY_NO_HANDSHAKE, message="no such peer", facts=DeathFacts(), remedies=by_lines)
    here = replace(there, message="another key", remedies=by_person)
    two = [
        said("session", "killed", "receiver", death=there),
        said("session", "killed", "receiver", death=here, direction="reverse"),
    ]
    assert [each.remedies for each in conclude("b", two)] == [by_lines, ()]
    assert [each.remedies for each in conclude("b", two[1:])] == [by_person]


def test_a_proven_death_has_its_place_and_its_facts() -> None:
    """The sentence, the code and the facts are those of the station that dropped."""
    found = verdict(said("filter-out", "killed", death=RULE), said("tunnel", "absent"))
    assert (found.code, found.station, found.facts) == (RULE.code, Station("filter-out"), RULE.facts)


def test_what_only_fits_has_no_place() -> None:
    """A rule that may drop is not called the cause while another station may have killed too."""
    found = verdict(said("route", "clear"), said("filter-out", "killed", death=MAYBE), said("tunnel", "absent"))
    assert (found.code, found.station, found.facts) == (codes.REACH_NO_FORWARD, None, None)
    assert found.message.endswith("absent at tunnel; this fits, and is not proven: rule 7 may drop them")


def test_what_only_fits_is_proven_where_nothing_else_is_left() -> None:
    """Between two observers with one station between them, the rule that may drop is the one that did."""
    words = [said(id, "clear") for id in ("address", "route", "post-out", "egress", "tunnel")]
    found = verdict(*words, said("filter-out", "killed", death=MAYBE), said("tunnel", "absent"))
    assert found.station == Station("filter-out")


def test_a_gap_names_no_station_as_the_place() -> None:
    """It says between which observers, and gives the direction as the finding."""
    found = verdict(said("wire", "seen", packets="data"), said("socket", "absent", host="receiver"))
    assert (found.code, found.station) == (codes.REACH_NO_FORWARD, None)
    assert "between network and socket (receiver)" in found.message
    assert "seen at wire; absent at socket" in found.message


def test_data_that_dies_where_handshakes_pass() -> None:
    """A network that lets only WireGuard's handshakes through is kept apart from one that is silent."""
    shakes = said("session", "seen", host="receiver", packets="handshake")
    words = (said("wire", "seen", packets="data"), said("socket", "absent", host="receiver"))
    there = (said("tunnel", "seen", host="receiver"), said("socket", "absent", host="receiver"))
    assert verdict(shakes, *words).facts == DeathFacts(packet_class="data")
    assert "seen at session" in verdict(shakes, *words).message
    assert [verdict(*words).facts, verdict(shakes, *there).facts] == [None, None]


def test_a_gap_at_the_peer_says_what_shows_more() -> None:
    """Its rules, and what its responder sees there: one that can be asked and does not look yet could look."""
    silent = said("socket", "absent", host="receiver")
    by_mailbox = replace(silent, by="b by mailbox")
    looking = replace(said("input", "clear", host="receiver"), by="b by mailbox")
    lines = [
        [remedy.shown[0] for remedy in verdict(said("wire", "seen", packets="data"), *words).remedies]
        for words in ((silent,), (by_mailbox,), (by_mailbox, looking))
    ]
    rules = "nft -a list ruleset; iptables-save -c   # on b"
    observe = "Start the responder of b with --observe: then the next run asks it what it sees."
    assert lines == [[rules], [rules, observe], [rules]]
    assert verdict(said("filter-out", "seen"), said("tunnel", "absent")).remedies == ()


def test_the_same_word_is_said_once() -> None:
    """One observer that says where packets were seen and missed has one reason for both."""
    refused = replace(said("route", "seen", direction="reverse"), reason="b refuses")
    found = verdict(refused, replace(said("egress", "absent", direction="reverse"), reason="b refuses"))
    assert found.message.count("b refuses") == 1


def test_large_packets_that_vanish_alone_are_a_black_hole() -> None:
    """Small ones pass, so the way is not dead."""
    found = verdict(said("wire", "seen", packets="large"), said("socket", "absent", host="receiver", packets="large"))
    assert found.code == codes.MTU_BLACK_HOLE


def test_without_a_death_nothing_fails() -> None:
    """How far packets were seen is in the sentence, and no code claims more."""
    found = verdict(said("tunnel", "seen"))
    assert (found.code, found.station) == (None, None)
    assert "last seen at tunnel" in found.message


def test_a_guess_alone_is_a_silence_and_no_direction() -> None:
    """Nobody saw packets on one side and missed them on the other: a sentence and something to look at, no more."""
    found = verdict(said("filter-out", "killed", death=MAYBE))
    assert (found.direction, found.code, found.station) == ("round-trip", codes.REACH_UNREACHABLE, None)
    assert "this fits, and is not proven: rule 7 may drop them" in found.message
    assert [each.kind for each in found.remedies] == ["next"]


def test_a_guess_about_a_peer_that_is_heard_fails_nothing() -> None:
    """Something of the peer came through the tunnel, so it is not unreachable, whatever fits."""
    heard = said("session", "seen", host="receiver", packets="data", direction="reverse")
    forward, reverse = conclude("b", [said("filter-out", "killed", death=MAYBE), heard])
    assert (forward.code, forward.remedies, reverse.code) == (None, (), None)
    assert "rule 7 may drop them" in forward.message


MISSED = said("socket", "absent", host="receiver")
MISSED_BACK = said("socket", "absent", host="receiver", direction="reverse")


def test_what_the_product_says_of_its_session_stays_its_code() -> None:
    """That there never was a handshake is certain, whatever the reason is."""
    why = Death(code=codes.OVERLAY_NO_HANDSHAKE, message="a private address", facts=RULE.facts, certain=False)
    found = verdict(said("route-outer", "killed", death=why, packets="handshake"))
    assert (found.code, found.direction, found.station) == (why.code, "round-trip", None)
    assert found.message == "there never was a handshake with b; this fits, and is not proven: a private address"
    gap, _ = conclude("b", [said("route-outer", "killed", death=why, packets="handshake"), MISSED, MISSED_BACK])
    assert (gap.code, gap.facts, gap.direction) == (why.code, why.facts, "round-trip")


def test_two_silent_directions_are_one_cause() -> None:
    """A host that is dead loses both; only two stations that say so are two faults."""
    (one,) = conclude("b", [said("tunnel", "seen"), MISSED, MISSED_BACK])
    assert (one.direction, one.code, one.station) == ("round-trip", codes.REACH_UNREACHABLE, None)
    assert "packets to b die" in one.message
    assert "packets from b die" in one.message
    assert {each.direction for each in one.observations} == {"forward", "reverse"}
    both = conclude("b", [said("filter-out", "killed", death=RULE), MISSED_BACK])
    assert [each.code for each in both] == [RULE.code, codes.REACH_NO_REVERSE]


def test_to_a_wrong_source_no_answer_comes() -> None:
    """That the peer's packets to it die is the same fault, also where a rule rewrites it on the way out."""
    for code, station in ((codes.OVERLAY_WRONG_SOURCE, "route"), (codes.REACH_NO_REVERSE, "post-outer")):
        wrong = Death(code=code, message="the source is 192.0.2.7")
        forward, reverse = conclude("b", [said(station, "killed", death=wrong), MISSED_BACK])
        assert (forward.code, reverse.code) == (code, None)


def test_the_rule_that_gives_a_wrong_source_is_the_cause() -> None:
    """Its packets pass it and die here, where only their source is refused: the first sentence names the rule."""
    wrong = Death(code=codes.OVERLAY_WRONG_SOURCE, message="the source is not 10.66.0.2")
    words = [
        said("post-out", "killed", death=RULE, direction="reverse"),
        said("wire", "seen", "receiver", packets="data", direction="reverse"),
        said("session", "killed", "receiver", death=wrong, packets="data", direction="reverse"),
    ]
    assert (verdict(*words).code, verdict(*words).station) == (RULE.code, Station("post-out", "sender"))
    assert verdict(*words[1:]).code == codes.OVERLAY_WRONG_SOURCE


def test_a_route_that_leaks_is_why_the_filter_here_refuses_the_peer() -> None:
    """Both ask the same routes: a fix of the filter would let answers in, and send the next packets outside."""
    leak = Death(code=codes.OVERLAY_ROUTE_LEAK, message="out by eth0")
    strict = Death(code=codes.HOST_RP_FILTER, message="the strict filter drops them")
    refused = said("rp", "killed", "receiver", death=strict, direction="reverse")
    forward, reverse = conclude("b", [said("route", "killed", death=leak), refused])
    assert (forward.code, reverse.code) == (codes.OVERLAY_ROUTE_LEAK, None)
    assert verdict(refused).code == codes.HOST_RP_FILTER


def test_where_echoes_pass_only_udp_dies() -> None:
    """A silent direction has the code of a filter then; a place that is proven keeps its own."""
    (both,) = conclude("b", [said("tunnel", "seen"), MISSED, MISSED_BACK], passes="ICMP echo")
    assert (both.code, both.direction, both.message.endswith("ICMP echo passes")) == (
        codes.UDP_BLOCKED, "round-trip", True,
    )  # fmt: skip
    rule, _ = conclude("b", [said("filter-out", "killed", death=RULE), MISSED_BACK], passes="ICMP echo")
    assert rule.code == RULE.code


def test_a_tunnel_that_is_dead_one_way_explains_the_silence_of_the_other() -> None:
    """Without a session nothing comes back either, so its silence is not a second fault."""
    down = Death(code=codes.HOST_UPLINK_DOWN, message="eth0 is down")
    forward, reverse = conclude("b", [said("route-outer", "killed", death=down), MISSED_BACK])
    assert (forward.code, reverse.code) == (codes.HOST_UPLINK_DOWN, None)


def test_a_peer_without_a_session_is_silent_for_the_reason_that_keeps_this_node_silent() -> None:
    """Protects from two causes for one dead route: without our packets it has no session to send with."""
    dead = Death(
        code=codes.REACH_NO_FORWARD, message="its route is a blackhole", facts=DeathFacts(route_type="blackhole")
    )
    lost = (said("filter-out", "seen", direction="reverse"), said("socket", "absent", "receiver", direction="reverse"))
    waits = said("session", "blind", direction="reverse")
    for station, words, codes_given in (
        ("route-outer", (waits,), [codes.REACH_NO_FORWARD, None]),
        ("route-outer", (), [codes.REACH_NO_FORWARD, codes.REACH_NO_REVERSE]),
        ("filter-out", (waits,), [codes.REACH_NO_FORWARD, codes.REACH_NO_REVERSE]),
    ):
        found = conclude("b", (said(station, "killed", death=dead), *lost, *words))
        assert [each.code for each in found] == codes_given, station


def test_a_peer_that_cannot_answer_a_call_is_not_heard_of_in_two_causes() -> None:
    """Its rule stops the tunnel's own packets to here: calls come to it, and no session that data could take."""
    dead = Death(code=codes.REACH_NO_REVERSE, message="its rule prohibits it", facts=DeathFacts(route_type="prohibit"))
    there = (said("wire", "seen", packets="handshake"), said("socket", "absent", "receiver"))
    for station, codes_given in (
        ("route-outer", [None, codes.REACH_NO_REVERSE]),
        ("filter-out", [codes.REACH_NO_FORWARD, codes.REACH_NO_REVERSE]),
    ):
        found = conclude("b", (*there, said(station, "killed", death=dead, direction="reverse")))
        assert [each.code for each in found] == codes_given, station


def test_a_peer_that_refuses_at_all_is_unreachable_both_ways() -> None:
    """The code says nothing about a direction, so the verdict has none; its place stays."""
    closed = Death(code=codes.REACH_UNREACHABLE, message="its port is closed")
    found = verdict(said("socket-outer", "killed", host="receiver", death=closed, packets="data"))
    assert (found.direction, found.station) == ("round-trip", Station("socket-outer", "receiver"))


_FINDINGS: tuple[Finding, ...] = ("seen", "absent", "clear", "blind", "killed")
_WORDS = st.lists(
    st.builds(
        lambda station, finding, direction, death, packets: Observation(
            station=station,
            finding=finding,
            direction=direction,
            packets=packets,
            death=death if finding == "killed" else None,
        ),
        st.sampled_from(PACKET),
        st.sampled_from(_FINDINGS),
        st.sampled_from(("forward", "reverse")),
        st.sampled_from((RULE, MAYBE)),
        st.sampled_from(("inner", "handshake", "data", "large")),
    ),
    max_size=12,
)


@given(_WORDS)
def test_a_direction_is_claimed_only_where_somebody_saw_it(words: list[Observation]) -> None:
    """A death of one direction rests on a station's own word, or on an observer that missed packets of that way."""
    for found in conclude("b", words):
        own = [each for each in words if each.direction == found.direction]
        certain = any(each.death == RULE for each in own)
        missed = any(each.finding == "absent" for each in own)
        if found.code is not None and found.direction != "round-trip":
            assert certain or missed
        if found.station is not None or found.facts is not None:
            assert certain or missed or found.direction == "round-trip"
        if found.code is not None and not found.proven:
            assert all(each.kind == "next" for each in found.remedies)
            assert found.facts is None


@given(_WORDS)
def test_no_death_is_told_twice(words: list[Observation]) -> None:
    """At most one silence, and two causes only where each has a proof."""
    found = [each for each in conclude("b", words) if each.code is not None]
    silent = [each for each in found if not each.proven and each.code != codes.MTU_BLACK_HOLE]
    assert len(silent) <= 1
    assert len({each.direction for each in found}) == len(found)
