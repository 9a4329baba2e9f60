"""Conditions: what the facts of a cause and of an effect must show before the one explains the other."""

import pytest

from preflight.api import CONTROL, NODE, Code, Direction, Facts, codes, failed, inconclusive, warned
from preflight.engine.conditions import sent_from_its_address
from preflight.model.facts import (
    ConfigDriftFacts,
    ControlTunnelFacts,
    DeathFacts,
    EchoFacts,
    InterfaceFacts,
    TunnelMtuFacts,
)
from preflight.proto.way.stations import Station
from tests.engine.test_diagnosis import at, named


@pytest.mark.parametrize(("source", "explained"), [("fd66::2", True), ("fd66::1", False)])
def test_what_is_sent_from_a_peers_own_address_brings_no_answer(source: str, explained: bool) -> None:
    """This node took the address of b as its own, and the kernel sends from it to others too, who answer b."""
    facts = DeathFacts(address="fd66::2")
    own = failed(codes.OVERLAY_DUPLICATE_ADDRESS, "b", Direction.FORWARD, "it is this node's", facts=facts)
    way = ControlTunnelFacts(addresses=1, addresses_open=0, tunnel_handshake_age_s=None, source=source)
    silent = failed(codes.CONTROL_TIMEOUT, CONTROL, Direction.ROUND_TRIP, "silent", facts=way)
    assert sent_from_its_address(own, silent) is explained
    assert len(named(at("overlay.route", own), at("control.connect", silent))) == (1 if explained else 2)


@pytest.mark.parametrize("code", [codes.OVERLAY_UNHEALTHY, codes.OVERLAY_DUPLICATE_KEY])
@pytest.mark.parametrize(("place", "causes"), [(Station("session"), 1), (None, 2)])
def test_a_complaint_that_silence_bears_out_accounts_for_it(code: Code, place: Station | None, causes: int) -> None:
    """One that traffic does not support stays a warning next to what is wrong."""
    make = failed if place else warned
    complaint = make(code, NODE, Direction.LOCAL, "sessions end", station=place)
    silent = failed(codes.REACH_UNREACHABLE, "b", Direction.ROUND_TRIP, "silent")
    assert len(named(at("overlay.health", complaint), at("way.packet", silent))) == causes


@pytest.mark.parametrize(("direction", "causes"), [(Direction.REVERSE, 1), (Direction.FORWARD, 2)])
def test_answers_go_to_the_other_node_that_has_this_ones_address(direction: Direction, causes: int) -> None:
    """Those of the control plane too; another node with a peer's address takes nothing that is for this node."""
    facts = DeathFacts(address="fd66::1")
    twin = failed(codes.OVERLAY_DUPLICATE_ADDRESS, "b", direction, "another has it", facts=facts)
    silent = failed(codes.CONTROL_TIMEOUT, CONTROL, Direction.ROUND_TRIP, "no TLS answer")
    assert len(named(at("way.packet", twin), at("control.tls", silent))) == causes


@pytest.mark.parametrize(("directions", "causes"), [("forward reverse", 2), ("forward forward", 1)])
def test_a_rule_for_each_direction_of_udp_is_a_cause(directions: str, causes: int) -> None:
    """Each needs a line; what two rules stop in one direction is one cause, for the first hides the second."""
    found = []
    for number, direction in enumerate(directions.split(), 1):
        station = Station("input", "receiver") if direction == "forward" else Station("filter-out")
        facts = DeathFacts(chain=f"guard {number}", rule_handle=number)
        blocked = failed(codes.UDP_BLOCKED, "b", Direction(direction), "a rule", facts=facts, station=station)
        found.append(at("way.packet", blocked))
    assert len(named(*found)) == causes


@pytest.mark.parametrize("code", [codes.UDP_BLOCKED, codes.RUN_NEEDS_RESPONDER])
@pytest.mark.parametrize(("tcp", "causes"), [(True, 1), (None, 2)])
def test_a_filter_that_lets_in_tcp_alone_is_one_cause(code: Code, tcp: bool | None, causes: int) -> None:
    """Where UDP comes back, a filter of echoes is another cause."""
    echoes = EchoFacts(sent=4, received=0, tcp_answered=tcp)
    filtered = warned(codes.REACH_ICMP_FILTERED, "b", Direction.ROUND_TRIP, "filtered", facts=echoes)
    make = failed if code is codes.UDP_BLOCKED else inconclusive
    other = make(code, "b", Direction.ROUND_TRIP, "silent")
    assert len(named(at("reach.icmp", filtered), at("reach.udp", other))) == causes


@pytest.mark.parametrize(
    ("by_mtu", "causes"),
    [(2, 1), (1, 2)],
)
def test_a_file_that_still_has_the_old_mtu_is_no_second_cause(by_mtu: int, causes: int) -> None:
    """Where more than the MTU differs, the tunnel was changed in another way too."""
    facts = TunnelMtuFacts(tunnel_mtu_bytes=1200)
    small = failed(codes.OVERLAY_MTU_TOO_SMALL, NODE, Direction.LOCAL, "MTU 1200", facts=facts)
    drift = warned(
        codes.OVERLAY_CONFIG_DRIFT,
        NODE,
        Direction.LOCAL,
        "differs",
        facts=ConfigDriftFacts(differences=2, by_mtu=by_mtu),
    )
    assert len(named(at("overlay.mtu", small), at("overlay.config", drift))) == causes


@pytest.mark.parametrize(
    ("facts", "causes"), [(InterfaceFacts(mtu_bytes=1200, peers=1), 1), (TunnelMtuFacts(tunnel_mtu_bytes=1200), 2)]
)
def test_an_mtu_that_takes_all_addresses_off_is_why_nothing_passes(facts: Facts, causes: int) -> None:
    """One that leaves IPv4 in is not: what dies there has its own reason."""
    small = failed(codes.OVERLAY_MTU_TOO_SMALL, NODE, Direction.LOCAL, "MTU 1200", facts=facts)
    silent = failed(codes.REACH_UNREACHABLE, "b", Direction.ROUND_TRIP, "silent")
    assert len(named(at("overlay.mtu", small), at("reach.icmp", silent))) == causes
