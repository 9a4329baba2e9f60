"""How a responder sees an asker: whose packets it may look at, and what they are on its host."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from preflight.model.flow import Flow
from preflight.model.network_state import NetworkState
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.peer import Peer
from preflight.model.routing import Lookup, Neighbour
from preflight.model.tapped import TapPacket, TunnelPacket
from preflight.proto.responder.mailbox_probe import PROBE_BYTES, ProbeRequest, probe
from preflight.proto.stamp.sender import SessionPlan, SessionSender
from preflight.proto.way.netfilter.ruleset import FilterSnapshot, Tracked
from preflight.responder.vantage import QUESTION_BYTES, Vantage, is_own

REQUEST = ProbeRequest(
    nonce=bytes(16),
    created_unix_ms=1,
    sender="1",
    receiver="2",
    address="10.66.0.1",
    port=40000,
    ssid=7,
    count=10,
    interval_ms=10,
    to="10.66.0.2",
)
ASKER = OverlayPeer(key="key", endpoint="192.0.2.1:51820", addresses=(ip_network("10.66.0.1/32"),))
OVERLAY = OverlayState(
    product="wireguard",
    interface="wg0",
    up=True,
    mtu=1420,
    addresses=(ip_interface("10.66.0.2/24"),),
    peers=(ASKER,),
    listen_port=51820,
    fwmark=7,
)


def vantage(overlay: OverlayState = OVERLAY, request: ProbeRequest = REQUEST) -> Vantage:
    """The responder on port 862 of 10.66.0.2."""
    made = Vantage.of(request, 862, overlay, 0)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("peers", "own"),
    [
        ((), True),
        ((Peer("10.66.0.1", "a"),), True),
        ((Peer("10.66.0.1", "a", agent_id="1"),), True),
        ((Peer("fd66::1", "a", agent_id="1"), Peer("10.66.0.1", "a", agent_id="1")), True),
        ((Peer("10.66.0.9", "c", agent_id="3"),), True),
        ((Peer("10.66.0.1", "a", agent_id="3"),), False),
        ((Peer("10.66.0.9", "c", agent_id="1"),), False),
    ],
)
def test_only_about_its_own_address(peers: tuple[Peer, ...], own: bool) -> None:
    """Protects members from each other: where the settings know whose mailbox it is, its address must be asked for."""
    assert is_own(REQUEST, peers) is own


def test_only_about_an_address_of_this_host() -> None:
    """An older asker does not say where it sends to; an address that is not this host's is nobody's business."""
    assert Vantage.of(replace(REQUEST, to=None), 862, OVERLAY, 0) is None
    assert Vantage.of(replace(REQUEST, to="10.66.0.3"), 862, OVERLAY, 0) is None
    assert Vantage.of(replace(REQUEST, to="192.0.2.2"), 862, OVERLAY, 0) is None
    assert Vantage.of(REQUEST, 862, replace(OVERLAY, interface=None), 0) is None


@pytest.mark.parametrize(("address", "to", "headers"), [("10.66.0.1", "10.66.0.2", 28), ("fd66::1", "fd66::2", 48)])
def test_both_flows_are_those_of_the_request(address: str, to: str, headers: int) -> None:
    """A firewall may match by any of it: addresses, ports, devices, and the lengths that are really sent."""
    overlay = replace(OVERLAY, addresses=(*OVERLAY.addresses, ip_interface("fd66::2/64")))
    made = vantage(overlay, replace(REQUEST, address=address, to=to))
    assert made.probes == Flow(
        source=to,
        destination=address,
        source_port=862,
        destination_port=40000,
        interface_out="wg0",
        length_bytes=PROBE_BYTES + headers,
    )
    assert made.questions == Flow(
        source=address,
        destination=to,
        source_port=40000,
        destination_port=862,
        interface_in="wg0",
        length_bytes=QUESTION_BYTES + headers,
    )


def test_lengths_are_those_that_are_sent() -> None:
    """Protects the constants: a probe, and a signed packet of an inquiry."""
    plan = SessionPlan(7, 1, 0.0, 1.0, 0, b"a key that only tests know")
    (datagram,) = SessionSender(plan, 0.0, lambda: 1_795_479_667_000_000_000).datagrams_to_send(0.0)
    assert len(datagram.data) == QUESTION_BYTES
    assert len(probe(bytes(16), 1)) == PROBE_BYTES


def test_the_tunnels_own_packets() -> None:
    """They go to the asker's endpoint with the tunnel's port and mark, and a firewall sees them on the uplink."""
    watched = vantage().watched
    outer = Flow(
        source="", destination="192.0.2.1", source_port=51820, destination_port=51820, mark=7, length_bytes=176
    )
    assert watched.outer == outer
    assert (watched.tunnel.owned, watched.tunnel.interfaces) == (True, ("wg0",))
    chosen = replace(outer, source="192.0.2.2")
    lookups = [
        Lookup(flow=flow, type="unicast", interface="eth0", source="192.0.2.2", gateway="192.0.2.9")
        for flow in (outer, chosen)
    ]
    state = NetworkState(lookups=tuple(lookups))
    bursts = vantage().leaving_by(state).bursts(state, sent=10, seen=3)
    assert [(burst.outer, burst.direction, burst.packets, burst.sent, burst.flow.length_bytes) for burst in bursts] == [
        (False, "forward", "inner", 10, 52),
        (False, "reverse", "inner", 3, 192),
        (False, "forward", "large", 0, 1420),
        (False, "reverse", "large", 0, 1420),
        (True, "forward", "data", 0, 112),
        (True, "reverse", "data", 0, 252),
        (True, "forward", "handshake", 0, 176),
        (True, "reverse", "handshake", 0, 176),
    ]
    assert bursts[6].flow == replace(chosen, interface_out="eth0")
    assert (bursts[5].flow.interface_in, bursts[5].flow.source) == ("eth0", "192.0.2.1")


def test_what_came_in_by_another_link_is_asked_about_there() -> None:
    """Protects an asker whose packets come in by one link and are answered by another: no filter was found there.

    A rule that may match is proven by its counter, for which the packets that came in are counted.
    """
    made = replace(vantage(), source="192.0.2.2")
    outer = made.watched.outer
    assert outer is not None
    lookup = Lookup(flow=outer, type="unicast", interface="eth0", source="192.0.2.2", gateway="192.0.2.9")
    data = TunnelPacket(product="wireguard", kind="data")
    shake = replace(data, kind="initiation")
    came = [
        TapPacket(received_ns=1, device="eth1", outgoing=out, source=source, destination="192.0.2.2", tunnel=packet)
        for out, source, packet in (
            (False, "192.0.2.1", data),
            (False, "192.0.2.1", shake),
            (False, "192.0.2.7", data),
            (True, "192.0.2.1", data),
        )
    ]
    made = made.seeing(came)
    assert made.watched.arrives_by == {"eth1"}
    bursts = made.bursts(NetworkState(lookups=(lookup,)), sent=10, seen=3, packets=came)
    into = [each for each in bursts if each.outer and each.direction == "reverse"]
    assert [(each.packets, each.flow.interface_in, each.sent) for each in into] == [
        *(("data", "eth0", 0), ("data", "eth1", 1)),
        *(("handshake", "eth0", 0), ("handshake", "eth1", 1)),
    ]


def test_a_vxlan_sends_to_where_it_has_heard_the_asker() -> None:
    """Protects a responder behind a VXLAN, which could say nothing of the tunnel's own packets."""
    heard = OverlayPeer(key="192.0.2.1", endpoint="192.0.2.1:4789", hardware=("02:00:00:00:00:0a",))
    made = vantage(replace(OVERLAY, product="generic", peers=(heard,), listen_port=None, source="192.0.2.2"))
    known = Neighbour(interface="wg0", address="10.66.0.1", state="stale", hardware="02:00:00:00:00:0a")
    assert made.learning_from(NetworkState()).watched.outer is None
    learned = made.learning_from(NetworkState(neighbours=(known,)))
    outer = learned.watched.outer
    assert outer is not None
    assert (outer.source, outer.destination, outer.destination_port) == ("192.0.2.2", "192.0.2.1", 4789)
    lookup = Lookup(flow=outer, type="unicast", interface="eth0", source="192.0.2.2")
    into = [
        each.flow
        for each in learned.bursts(NetworkState(lookups=(lookup,)), sent=1, seen=0)
        if each.outer and each.direction == "reverse"
    ]
    # Each flow leaves by another port, and all go to the same one.
    assert {(flow.source, flow.source_port, flow.destination_port) for flow in into} == {("192.0.2.1", None, 4789)}


@pytest.mark.parametrize(("answers", "fresh"), [(True, True), (False, False), (None, False)])
def test_what_the_own_probes_let_in_began_nothing(answers: bool | None, fresh: bool) -> None:
    """The asker counts the packets before: a stateful filter drops these, and takes the later ones for answers."""
    made = vantage()
    asked = made.questions
    held = None
    if answers is not None:
        held = Tracked(established=True, source=asked.source, destination=asked.destination, answers=answers)
    rules = FilterSnapshot(tracked={asked: held})
    bursts = made.begun_there(made.bursts(NetworkState(), sent=10, seen=3), rules)
    assert [(burst.fresh, burst.sent) for burst in bursts] == [
        *((False, 10), (fresh, 0 if fresh else 3)),
        *((False, 0), (fresh, 0)),
    ]


def test_probes_that_a_rule_marks_are_asked_about_with_the_mark() -> None:
    """The kernel routes them again by it, after the route that nobody marked."""
    made = vantage()
    assert made.marked_by(FilterSnapshot(unreadable="locked")) == made
    assert made.marked_by(FilterSnapshot()).watched.flows == made.watched.flows
    marked = replace(made, mark=7).watched.flows
    assert [flow.mark for flow in marked] == [0, 7]
    assert marked[0] == made.watched.flows[0]


def test_what_is_not_known_is_not_asked() -> None:
    """Without the right to read the tunnel there are no outer packets to ask about, and nobody owns anything."""
    made = vantage(replace(OVERLAY, peers=(), unreadable="privilege"))
    assert made.watched.outer is None
    assert made.watched.tunnel.owned is None
    assert len(made.bursts(NetworkState(), sent=10, seen=0)) == 4
