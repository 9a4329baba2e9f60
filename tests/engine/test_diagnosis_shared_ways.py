"""Causes on a way that several targets share, and their order where packets and requests are both in trouble."""

from dataclasses import replace
from functools import partial

from preflight import codes
from preflight.api import CONTROL, NODE, Direction, Result, Station, failed, inconclusive, passed
from preflight.engine.diagnosis import diagnose
from preflight.model.facts import DeathFacts, MemberFacts
from preflight.model.fix import Route
from preflight.model.remedy import by_hand, heal, look
from preflight.proto.way.stations import request

F, R, RT, L = Direction.FORWARD, Direction.REVERSE, Direction.ROUND_TRIP, Direction.LOCAL


def at(check: str, result: Result) -> Result:
    """A result as the runner would stamp it."""
    return replace(result, check=check, category=check.partition(".")[0])


def test_what_dies_before_a_hub_explains_what_is_behind_it() -> None:
    """A narrow way to a hub is the way to the control plane too; what the hub forwards to one peer only is not."""
    hole = at("mtu.echo", failed(codes.MTU_BLACK_HOLE, "b", F, ""))
    tcp = at("mtu.tcp", failed(codes.MTU_BLACK_HOLE, CONTROL, F, ""))
    search = at("mtu.tcp", inconclusive(codes.RUN_TIMEOUT, CONTROL, RT, ""))
    silent = at("control.connect", failed(codes.CONTROL_TIMEOUT, CONTROL, RT, ""))
    for effect in (tcp, search):
        assert len(diagnose([hole, effect], sharing=frozenset("b"))) == 1
        assert len(diagnose([hole, effect])) == 2
    here, hub = (
        at("way.packet", failed(codes.REACH_NO_FORWARD, "b", F, "", station=station))
        for station in (Station("network", "network"), Station("forward", "forwarder"))
    )
    assert len(diagnose([here, silent], sharing=frozenset("b"))) == 1
    assert len(diagnose([hub, silent], sharing=frozenset("b"))) == 2


def test_an_overlay_that_is_down_does_not_explain_the_peers_of_another_one() -> None:
    """A node with two overlays may have a fault on each; before, the first one hid the second."""
    facts = MemberFacts(members=("b",))
    down = at("overlay.interface", failed(codes.OVERLAY_DOWN, NODE, L, "wg0 is down", facts=facts))
    dead = [at("reach.icmp", failed(codes.REACH_UNREACHABLE, peer, RT, "no echo")) for peer in ("b", "c")]
    causes = diagnose([down, *dead])
    assert [(cause.code.slug, cause.target) for cause in causes] == [("overlay.down", NODE), ("reach.unreachable", "c")]


def test_what_this_node_keeps_back_is_no_policy_of_the_product() -> None:
    """A kill switch stops the tunnel's own packets while its last handshake is still new."""
    own = at("way.packet", failed(codes.HOST_FIREWALL_DROP, "b", F, "", station=Station("filter-outer")))
    policy = at(
        "overlay.policy", failed(codes.OVERLAY_POLICY_DROP, "b", RT, "", station=Station("session", "receiver"))
    )
    assert [cause.code.slug for cause in diagnose([policy, own])] == ["host.firewall-drop"]


def test_what_stops_packets_comes_before_what_a_request_meets() -> None:
    """A route of the control plane's name is a matter of requests, although its code is one of the overlay's."""
    leak = at("control.dns", failed(codes.OVERLAY_ROUTE_LEAK, CONTROL, L, "", station=request("route")))
    dead = at("way.packet", failed(codes.REACH_NO_FORWARD, "b", F, ""))
    assert [cause.target for cause in diagnose([leak, dead])] == ["b", CONTROL]


def test_without_any_route_name_servers_are_not_reached_either() -> None:
    """Only where no table has a route: a rule for the tunnel's packets lets questions for names pass."""
    names = at("control.dns", failed(codes.CONTROL_DNS_TIMEOUT, CONTROL, L, "", station=request("name")))
    for kind, causes in (("none", 1), ("prohibit", 2)):
        refused = failed(
            codes.REACH_NO_FORWARD, "b", F, "", facts=DeathFacts(route_type=kind), station=Station("route")
        )
        assert len(diagnose([at("way.packet", refused), names])) == causes


def test_an_own_rule_explains_nothing_of_the_other_direction() -> None:
    """What this node drops when it comes in, and what a peer never gets, are two faults."""
    rule = at("way.packet", failed(codes.HOST_FIREWALL_DROP, "b", R, "", station=Station("prerouting", "receiver")))
    lost = at("way.packet", failed(codes.REACH_NO_FORWARD, "b", F, ""))
    silence = at("reach.icmp", failed(codes.REACH_UNREACHABLE, "b", RT, ""))
    causes = diagnose([rule, lost, silence])
    assert [(cause.code, cause.direction) for cause in causes] == [
        (codes.HOST_FIREWALL_DROP, R),
        (codes.REACH_NO_FORWARD, F),
    ]


def test_an_own_rule_explains_what_no_responder_says() -> None:
    """A question to a responder is one of both directions, whichever of them the check is about."""
    rule = at("way.packet", failed(codes.HOST_FIREWALL_DROP, "b", R, "", station=Station("input", "receiver")))
    untold = at("overlay.translation", inconclusive(codes.RUN_NEEDS_RESPONDER, "b", F, ""))
    other = at("overlay.translation", inconclusive(codes.RUN_NEEDS_RESPONDER, "c", F, ""))
    causes = diagnose([rule, untold, other])
    assert [(cause.code, cause.target) for cause in causes] == [
        (codes.HOST_FIREWALL_DROP, "b"),
        (codes.RUN_NEEDS_RESPONDER, "c"),
    ]


def test_a_captive_portal_explains_even_a_proven_refusal_of_its_network() -> None:
    """A portal's router may refuse with an ICMP error; what dies at this node itself has another cause."""
    portal = at("host.portal", failed(codes.HOST_CAPTIVE_PORTAL, NODE, L, ""))
    silent = at("control.connect", failed(codes.CONTROL_TIMEOUT, CONTROL, RT, "", station=request("connect")))
    refused, dropped = (
        at("way.packet", failed(codes.REACH_NO_FORWARD, "b", F, "", station=station))
        for station in (Station("network", "network"), Station("egress"))
    )
    assert [cause.code for cause in diagnose([portal, silent, refused])] == [codes.HOST_CAPTIVE_PORTAL]
    assert [cause.code for cause in diagnose([portal, silent, dropped])] == [
        codes.REACH_NO_FORWARD,
        codes.HOST_CAPTIVE_PORTAL,
    ]


def test_one_silent_remote_end_is_one_cause_of_all_that_is_behind_it() -> None:
    """Its own word about the direction counts for them; what is proven, or dies behind the end, is their own."""
    silent = at("reach.icmp", failed(codes.REACH_UNREACHABLE, "lan", RT, ""))
    proven = at("way.packet", failed(codes.REACH_UNREACHABLE, "lan", F, "", station=Station("forward", "forwarder")))
    for code, direction in ((codes.REACH_UNREACHABLE, RT), (codes.REACH_NO_REVERSE, R)):
        end = at("reach.udp", failed(code, "b", direction, ""))
        assert [cause.target for cause in diagnose([silent, end], behind={"lan": "b"})] == ["b"]
        living = at("reach.icmp", passed("c", RT, "it answers"))
        assert len(diagnose([silent, end, living])) == 2
        assert len(diagnose([proven, end], behind={"lan": "b"})) == 2
    inside = at("way.packet", failed(codes.REACH_NO_FORWARD, "b", F, "", station=Station("input", "receiver")))
    assert len(diagnose([silent, inside], behind={"lan": "b"})) == 2


def test_a_queue_of_this_node_that_takes_no_large_packets_takes_none_for_the_control_plane() -> None:
    """Protects from a second cause, with a second remedy, for one shaper; a rule may name one endpoint alone. Where the
    small segments of TCP are too large as well, its check has no verdict.
    """
    tcp = replace(failed(codes.MTU_BLACK_HOLE, CONTROL, Direction.FORWARD, "TCP stalls"), check="mtu.tcp")
    small = replace(inconclusive(codes.RUN_TIMEOUT, CONTROL, RT, "it stalls with 1280 bytes too"), check="mtu.tcp")
    queue, rule = DeathFacts(interface="eth0", packet_class="large"), DeathFacts(chain="netdev guard", rule_handle=2)
    for facts, targets in ((queue, ["b"]), (rule, ["b", CONTROL])):
        dead = failed(
            codes.MTU_BLACK_HOLE, "b", Direction.FORWARD, "eth0 drops large packets", station=Station("egress-outer"),
            facts=facts,
        )  # fmt: skip
        for stalled in (tcp, small):
            assert [cause.target for cause in diagnose([replace(dead, check="way.packet"), stalled])] == targets


def test_what_the_same_command_heals_is_one_cause() -> None:
    """One missing route or one refusing route stops several peers; two that need different commands are two."""
    for line, causes in (("10.0.0.0/8", 1), ("10.1.0.0/16", 2)):
        dead = [
            at(
                "way.packet",
                failed(
                    codes.REACH_NO_FORWARD,
                    peer,
                    F,
                    "",
                    facts=DeathFacts(address=peer),
                    station=Station("route"),
                    remedies=heal(partial(Route, action="replace", destination=to, interface="wg0")),
                ),
            )
            for peer, to in (("b", "10.0.0.0/8"), ("c", line))
        ]
        assert len(diagnose(dead)) == causes


def test_the_fix_of_one_rule_lets_all_peers_pass_that_it_stops() -> None:
    """A rule that drops what goes to several peers is one cause, healed for all of them."""
    rule = DeathFacts(chain="fw out", rule_handle=3)
    dead = [
        at(
            "way.packet",
            failed(
                codes.HOST_FIREWALL_DROP,
                peer,
                F,
                f"to {peer}",
                facts=rule,
                station=Station("filter-out"),
                remedies=(*by_hand(f"let {peer} pass"), *look(f"look at {peer}")),
            ),
        )
        for peer in ("b", "c")
    ]
    (cause,) = diagnose(dead)
    assert [each.lines[0] for each in cause.remedies] == ["let b pass", "look at b", "let c pass"]


def test_peers_that_are_silent_without_exception_are_one_cause() -> None:
    """Who hears nobody has one fault; where one peer answers, each silent one has its own."""
    silent = [at("reach.icmp", failed(codes.REACH_UNREACHABLE, peer, RT, f"{peer} is silent")) for peer in "bcde"]
    living = at("reach.icmp", passed("f", RT, "it answers"))
    (cause,) = diagnose(silent)
    assert (cause.target, cause.message) == ("b", "b is silent; c, d and e are silent too")
    assert len(diagnose([*silent, living])) == 4
    assert diagnose(silent[:2])[0].message == "b is silent; c is silent too"
    many = [at("reach.icmp", failed(codes.REACH_UNREACHABLE, str(n), RT, "silent")) for n in range(9)]
    assert diagnose(many)[0].message == "silent; 1, 2, 3 and 5 others are silent too"


def test_a_silent_peer_that_something_explains_does_not_speak_for_the_others() -> None:
    """Else a cause would be explained by what it explains."""
    silent = [at("reach.icmp", failed(codes.REACH_UNREACHABLE, peer, RT, "")) for peer in "bc"]
    session = at("overlay.session", failed(codes.OVERLAY_NO_HANDSHAKE, "b", L, ""))
    assert [(cause.code.slug, cause.target) for cause in diagnose([*silent, session])] == [
        ("overlay.no-handshake", "b"),
        ("reach.unreachable", "c"),
    ]


def test_one_rule_that_stops_the_tunnel_and_a_resolver_is_one_cause() -> None:
    """A kill switch strikes all that does not go through its own tunnel; the fix lets each of them pass."""
    rule, other = (DeathFacts(chain="inet guard output", rule_handle=handle) for handle in (6, 7))
    lines = by_hand("let the tunnel pass"), by_hand("let the resolver pass")

    def told(facts: DeathFacts) -> list[Result]:
        tunnel = failed(
            codes.HOST_FIREWALL_DROP, "b", F, "", facts=rule, station=Station("filter-outer"), remedies=lines[0]
        )
        names = failed(
            codes.HOST_FIREWALL_DROP, CONTROL, L, "", facts=facts, station=request("name"), remedies=lines[1]
        )
        return [at("way.packet", tunnel), at("control.dns", names)]

    (cause,) = diagnose(told(rule))
    assert cause.target == "b"
    assert cause.remedies == (*lines[0], *lines[1])
    assert len(diagnose(told(other))) == 2


def test_a_control_plane_behind_a_silent_end_is_not_a_second_cause() -> None:
    """Where it accepts connections and is slow, or dead behind them, that is its own."""
    end = at("reach.icmp", failed(codes.REACH_UNREACHABLE, "b", RT, ""))
    for check, causes in (("control.connect", 1), ("control.health", 2)):
        silent = at(check, failed(codes.CONTROL_TIMEOUT, CONTROL, RT, ""))
        assert len(diagnose([end, silent], behind={CONTROL: "b"})) == causes
