"""What a peer reports becomes observations of its stations, and nothing is made of what it does not say."""

from dataclasses import replace
from typing import Any

import pytest

from preflight import codes
from preflight.model.change import NamedValue
from preflight.model.facts import DeathFacts
from preflight.model.fix import KernelSettings, Route
from preflight.model.observed import Direction, PeerObservation
from preflight.model.path import AskResult, Heard, HelloReport, PeerReport
from preflight.model.peer_tunnel import PeerTunnel
from preflight.model.return_path import ReturnPath
from preflight.proto.way.inference import infer
from preflight.proto.way.peer_word import peer_word
from preflight.proto.way.stations import PACKET, Station

SOCKET = Station("socket", "receiver")


def said(asked: AskResult) -> set[tuple[str, str, str, str]]:
    """Direction, station, finding and who says so."""
    return {(each.direction, each.station.id, each.finding, each.by) for each in peer_word(asked, "b")}


def test_a_silent_peer_says_nothing() -> None:
    """Without a report and without hellos, no station of the peer is known."""
    assert peer_word(AskResult(sent=10, answered=0), "b") == ()


def test_a_report_of_no_packets_shows_that_they_died_before() -> None:
    """The forward direction is dead, and the probes of the peer show the other one."""
    asked = AskResult(sent=10, answered=0, report=PeerReport(received=0, sent=10), probes_received=10)
    assert said(asked) == {
        ("forward", "socket", "absent", "b by mailbox"),
        ("reverse", "filter-out", "seen", "b by mailbox"),
        ("reverse", "socket", "seen", "node"),
    }


def test_probes_that_its_system_refused_did_not_leave() -> None:
    """A peer whose own system refuses to send is not believed to have sent."""
    report = PeerReport(received=10, sent=5, send_errors={"EPERM": 5})
    asked = AskResult(sent=10, answered=0, report=report)
    assert ("reverse", "filter-out", "seen", "b by mailbox") not in said(asked)
    assert ("reverse", "socket", "absent", "node") in said(asked)


def test_hellos_speak_of_the_forward_direction() -> None:
    """A hello that counts packets of this inquiry proves that they came, and that b is heard, if it came meanwhile."""
    heard = HelloReport(after_s=2.0, up_s=60.0, heard=Heard(packets=10, packet_age_s=0.5))
    asked = AskResult(sent=10, answered=0, hello=heard)
    assert said(asked) == {("forward", "socket", "seen", "b by hellos"), ("reverse", "socket", "seen", "node")}
    early = replace(heard, after_s=-1.0, heard=Heard())
    assert said(replace(asked, hello=early)) == set()


HERE = ("10.66.0.1", 40000)
RULE = DeathFacts(rule_handle=12, chain="guard output")


def death_of(report: PeerReport, direction: str) -> tuple[str, str] | None:
    """The place and the code of what kills packets of one direction, by a report alone."""
    asked = AskResult(sent=10, answered=0, report=report, local=HERE)
    followed = infer(PACKET, [each for each in peer_word(asked, "b") if each.direction == direction])
    if followed.place is None or followed.death is None:
        return None
    return f"{followed.place.id}@{followed.place.host}", followed.death.code.slug


def test_a_rule_of_the_peer_is_the_place() -> None:
    """Protects the purpose of observers at the peer: its rule is named, where without them four stations are left."""
    dropped = PeerObservation(
        station="egress", finding="killed", direction="reverse", code="host.firewall-drop", facts=RULE
    )
    assert death_of(PeerReport(received=10, sent=10, observed=(dropped,)), "reverse") == (
        "egress@sender",
        "reach.no-reverse",
    )
    assert death_of(PeerReport(received=10, sent=10), "reverse") is None


@pytest.mark.parametrize(
    ("station", "code"), [("address", "overlay.duplicate-address"), ("route", "overlay.route-leak")]
)
def test_a_socket_that_took_a_packet_says_nothing_of_where_it_went(station: str, code: str) -> None:
    """Probes that go elsewhere leave the socket too: that must not contradict the peer's own kernel."""
    astray = PeerObservation(
        station=station, finding="killed", direction="reverse", code=code, facts=DeathFacts(interface="eth0")
    )
    assert death_of(PeerReport(received=10, sent=10, observed=(astray,)), "reverse") == (f"{station}@sender", code)


FILTERED = ReturnPath("wg0", "eth0", "192.0.2.1", rp_filter=1, refuses=True, dropped=12)
LEAKING = ReturnPath("wg0", "eth0", "192.0.2.1", rp_filter=0)


@pytest.mark.parametrize(
    ("report", "direction", "expected"),
    [
        (PeerReport(received=0, sent=10, way=FILTERED), "forward", ("rp@receiver", "host.rp-filter")),
        (PeerReport(received=10, sent=10, way=LEAKING), "reverse", ("route@sender", "overlay.route-leak")),
        (PeerReport(received=0, sent=0, send_errors={"EINVAL": 10}), "reverse", ("route@sender", "reach.no-reverse")),
        (PeerReport(received=0, sent=0, send_errors={"EPERM": 10}), "reverse", None),
        (PeerReport(received=0, sent=0, send_errors={"ENOBUFS": 10}), "reverse", None),
        (PeerReport(received=0, sent=0, send_errors={"EINVAL": 5, "EACCES": 5}), "reverse", None),
        (PeerReport(received=0, sent=1, send_errors={"EHOSTUNREACH": 9}), "reverse", None),
    ],
)
def test_what_a_report_without_observers_explains(
    report: PeerReport, direction: str, expected: tuple[str, str] | None
) -> None:
    """The peer's reverse-path filter, its route, and the error of its own kernel name a station by themselves."""
    assert death_of(report, direction) == expected


def test_a_route_by_its_loopback_is_no_leak() -> None:
    """It fits an address that both have, and heals by no route: it is said, and is not the place."""
    report = PeerReport(received=0, sent=10, way=ReturnPath("wg0", "lo", None, rp_filter=0))
    words = peer_word(AskResult(sent=10, answered=0, report=report, local=HERE), "b")
    (death,) = [each.death for each in words if each.death is not None]
    assert (death.code, death.certain) == (codes.OVERLAY_DUPLICATE_ADDRESS, False)
    assert {remedy.kind for remedy in death.remedies} == {"next"}


def test_a_refusal_of_its_firewall_leaves_three_hooks() -> None:
    """EPERM says that a filter of the peer refused, and not at which of its hooks."""
    asked = AskResult(sent=10, answered=0, report=PeerReport(received=0, sent=0, send_errors={"EPERM": 10}), local=HERE)
    followed = infer(PACKET, [each for each in peer_word(asked, "b") if each.direction == "reverse"])
    assert [each.id for each in followed.gap] == ["filter-out", "post-out", "egress"]


def test_what_the_peer_observed_wins() -> None:
    """Its observers say more than the same report without them, and nothing is said twice of one direction."""
    killed = PeerObservation(
        station="route",
        finding="killed",
        direction="reverse",
        code="reach.no-forward",
        facts=DeathFacts(route_type="prohibit"),
    )
    report = PeerReport(received=0, sent=0, send_errors={"EACCES": 10}, observed=(killed,))
    words = peer_word(AskResult(sent=10, answered=0, report=report, local=HERE), "b")
    (death,) = [each.death for each in words if each.death is not None]
    assert death.code == codes.REACH_NO_REVERSE
    assert "of type prohibit" in death.message


def test_only_udp_may_be_blocked() -> None:
    """Where the peer answers echo requests, its rule blocks UDP and not the peer."""
    told = PeerObservation(
        station="input", finding="killed", direction="forward", code="host.firewall-drop", facts=RULE
    )
    asked = AskResult(sent=10, answered=0, report=PeerReport(received=0, sent=10, observed=(told,)), local=HERE)
    blocked = [each.death.code for each in peer_word(asked, "b", passes="TCP") if each.death is not None]
    assert blocked == [codes.UDP_BLOCKED]


def test_an_address_that_both_have_is_one_death() -> None:
    """b takes nothing from its own address either: that is not a second death, forward."""
    own = PeerObservation(
        station="address", finding="killed", direction="reverse", code="overlay.duplicate-address", facts=None
    )
    asked = AskResult(sent=10, answered=0, report=PeerReport(received=0, sent=10, observed=(own,)), local=HERE)
    assert {each.direction for each in peer_word(asked, "b")} == {"reverse"}


KEY = "c3RyYW5nZXIgc3RyYW5nZXIgc3RyYW5nZXIgc3RyYW4="


def killed(station: str, direction: Direction, code: str, **more: Any) -> PeerObservation:
    """A death at b."""
    return PeerObservation(station=station, finding="killed", direction=direction, code=code, **more)


def test_an_owner_is_corrected_where_both_keys_are_known() -> None:
    """b knows this node's key and gives its address to nobody: the whole list of that entry is known, so it heals."""
    tunnel = PeerTunnel(interface="wg0", public_key=KEY, knows_key=True, allowed=("10.66.0.9/32",))
    report = PeerReport(received=0, sent=10, observed=(killed("session", "reverse", "overlay.allowed-ips"),))
    asked = AskResult(sent=10, answered=0, report=replace(report, tunnel=tunnel), local=HERE, public_key=KEY)
    deaths = [each.death for each in peer_word(asked, "b") if each.death is not None]
    assert {line for death in deaths for remedy in death.remedies for line in remedy.lines} == {
        f"wg set wg0 peer {KEY} allowed-ips 10.66.0.9/32,10.66.0.1/32"
    }
    assert {remedy.where for death in deaths for remedy in death.remedies} == {"peer"}


def test_a_tunnel_without_this_nodes_key_has_one_cause() -> None:
    """Protects another member's key: b has nobody for this node's address, because it does not know this node."""
    tunnel = PeerTunnel(interface="wg0", public_key=KEY, knows_key=False)
    observed = (killed("session", "reverse", "overlay.allowed-ips", facts=DeathFacts(public_key="other")),)
    report = PeerReport(received=0, sent=10, observed=observed, tunnel=tunnel)
    asked = AskResult(sent=10, answered=0, report=report, local=HERE, public_key=KEY)
    assert [each.death for each in peer_word(asked, "b") if each.death is not None] == []


def test_one_route_heals_both_directions() -> None:
    """A filter that drops because of a wrong route is not made looser: the route is what has to change."""
    route = Route(action="replace", destination="10.66.0.1/32", interface="wg0")
    loose = KernelSettings(settings=(NamedValue("net.ipv4.conf.wg0.rp_filter", "2"),))
    observed = (
        killed("rp", "forward", "host.rp-filter", fixes=(loose,)),
        killed("route", "reverse", "overlay.route-leak", facts=DeathFacts(interface="eth0"), fixes=(route,)),
    )
    asked = AskResult(sent=10, answered=0, report=PeerReport(received=0, sent=10, observed=observed), local=HERE)
    deaths = [each.death for each in peer_word(asked, "b") if each.death is not None]
    assert [death.code for death in deaths] == [codes.HOST_RP_FILTER, codes.OVERLAY_ROUTE_LEAK]
    assert {remedy.fix for death in deaths for remedy in death.remedies} == {route}


def test_what_never_left_is_not_counted_at_the_peer() -> None:
    """Protects from a share of no packets in a sentence."""
    asked = AskResult(sent=0, answered=0, report=PeerReport(received=0, sent=10), local=HERE)
    said = [each.reason for each in peer_word(asked, "b") if each.finding == "absent" and each.direction == "forward"]
    assert said == ["b received nothing: none left this node"]
