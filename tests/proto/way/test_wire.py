"""Every row of what WireGuard shows on the wire, as observations of stations."""

from ipaddress import ip_network

import pytest

from preflight.model.overlay import OverlayPeer
from preflight.model.tapped import Tapped
from preflight.model.udp_port import UdpPort
from preflight.proto.way.wire import observe_wire
from tests.proto.way.seeing import (
    BEGAN_NS,
    BURST,
    KEY_C,
    PORT,
    READ_NS,
    THERE,
    THIRD,
    B,
    C,
    grown,
    inner,
    outer,
    peer,
    state,
    told,
    view,
)

NEVER = state(peer(last_handshake_unix_s=0.0, rx_bytes=0, tx_bytes=0))
ASKED = (outer("initiation", out=True, sender=7), outer("initiation", out=True, sender=8, at_s=5.2))
SENT = tuple(outer("data", out=True) for _ in range(10))
IN_THE_TUNNEL = ("forward", "tunnel", "sender", "seen", "inner")


def test_without_the_privilege_every_station_says_so() -> None:
    """Nothing is guessed, and the reason names what would have let us see."""
    found = observe_wire(view(tapped=Tapped(blind="CAP_NET_RAW is missing")))
    assert {each.finding for each in found} == {"blind"}
    assert {each.reason for each in found} == {"CAP_NET_RAW is missing"}
    assert {(each.direction, each.station.id) for each in found} == {
        ("forward", "tunnel"), ("forward", "wire"), ("reverse", "wire"), ("reverse", "tunnel"),
    }  # fmt: skip


def test_a_wrong_key_or_a_clock_that_went_back() -> None:
    """Type 1 leaves every 5 s and nothing comes: the peer's silence is not shown to be a death of answers."""
    found = observe_wire(view(*BURST, *ASKED, before=NEVER))
    assert told(found) == [
        IN_THE_TUNNEL,
        ("forward", "wire", "sender", "seen", "handshake"),
        ("reverse", "wire", "receiver", "blind", "handshake"),
    ]
    assert (
        "2 handshake initiations left for 198.51.100.2:51820, and nothing came from there in 6.0 s" in found[2].reason
    )


def test_answers_that_are_not_accepted() -> None:
    """Type 2 of 92 bytes comes in: the answers pass the network, and the session is for another module to judge."""
    answer = outer("response", out=False, receiver=7)
    assert told(observe_wire(view(*BURST, *ASKED, answer, before=NEVER)))[-1] == (
        "reverse", "wire", "receiver", "seen", "handshake",
    )  # fmt: skip


def test_a_handshake_that_is_completed() -> None:
    """It proves that this node's handshake was accepted there, and the peer's here."""
    answer = outer("response", out=False, receiver=7)
    after = grown(NEVER, last_handshake_unix_s=READ_NS / 1e9, rx_bytes=92)
    found = told(observe_wire(view(*BURST, ASKED[0], answer, before=NEVER, after=after)))
    assert found[-2:] == [
        ("reverse", "session", "receiver", "seen", "handshake"),
        ("forward", "session", "receiver", "seen", "handshake"),
    ]


def test_silence_in_a_session() -> None:
    """Type 4 goes on; what comes is only keepalives."""
    found = observe_wire(view(*BURST, *SENT, outer("keepalive", out=False)))
    assert told(found) == [
        IN_THE_TUNNEL,
        ("forward", "wire", "sender", "seen", "data"),
        ("reverse", "wire", "receiver", "blind", "data"),
    ]
    assert (found[1].sent, found[1].seen) == (10, 10)
    assert "only 1 keepalive came from there" in found[2].reason


def test_a_tunnel_that_calls_although_it_has_just_shaken_hands() -> None:
    """Its session has gone from this end alone; data that leaves, or a new handshake, shows that it has one."""
    (said,) = [each for each in observe_wire(view(*BURST, *ASKED)) if each.station.id == "session"]
    assert "wg0 calls although its last handshake is fresh" in said.reason
    assert not [each for each in observe_wire(view(*BURST, *ASKED, *SENT)) if each.station.id == "session"]


def test_silence_counts_where_the_peer_says_that_it_sent() -> None:
    """By mailbox: then what the tap did not see died before this node."""
    found = observe_wire(view(*BURST, *SENT, answers_sent=10))
    assert told(found)[1:] == [
        ("reverse", "tunnel", "receiver", "absent", "inner"),
        ("forward", "wire", "sender", "seen", "data"),
        ("reverse", "wire", "receiver", "absent", "data"),
    ]


def test_answers_come_in_and_out_of_the_tunnel() -> None:
    """Each station of the answers is passed."""
    answers = [outer("data", out=False) for _ in range(3)]
    after = grown(state(), rx_bytes=5000)
    found = told(observe_wire(view(*BURST, *SENT, *answers, *[inner(out=False)] * 3, after=after)))
    assert ("reverse", "wire", "receiver", "seen", "data") in found
    assert ("reverse", "session", "receiver", "seen", "data") in found
    assert ("reverse", "tunnel", "receiver", "seen", "inner") in found


def test_bytes_of_keepalives_do_not_show_that_answers_pass() -> None:
    """What is counted may be another packet than the probe's answer."""
    found = told(observe_wire(view(*BURST, *SENT, outer("keepalive", out=False), after=grown(state(), rx_bytes=1032))))
    assert ("reverse", "session", "receiver", "seen", "handshake") in found
    assert ("reverse", "session", "receiver", "seen", "data") not in found


def test_nothing_leaves_although_there_is_work() -> None:
    """Own filters and lost ports: the packets went into the tunnel, and nothing comes out of it."""
    found = observe_wire(view(*BURST))
    assert told(found) == [IN_THE_TUNNEL, ("forward", "wire", "sender", "absent", "data")]
    assert found[1].reason == "wg0 took 10 packets of the burst, and sent none itself"


def test_a_window_between_two_initiations_proves_nothing() -> None:
    """Without a session, WireGuard sends every 5 s only."""
    short = view(*BURST, before=NEVER, read_ns=BEGAN_NS + 1_000_000_000)
    assert told(observe_wire(short)) == [IN_THE_TUNNEL, ("forward", "wire", "sender", "blind", "handshake")]
    assert told(observe_wire(view(*BURST, before=NEVER)))[1] == ("forward", "wire", "sender", "absent", "handshake")


@pytest.mark.parametrize(("port", "finding"), [(PORT, "absent"), (9, "blind")])
def test_a_socket_in_another_namespace(port: int, finding: str) -> None:
    """Its counter grows and its port is nobody's here: the outer packets are somewhere that this tap is not."""
    after = grown(state(), tx_bytes=9000)
    found = told(observe_wire(view(*BURST, after=after, ports=(UdpPort(port, "0.0.0.0"),))))
    assert found[1] == ("forward", "wire", "sender", finding, "data")


def test_nothing_gets_into_the_tunnel() -> None:
    """A filter on the way out, or a route elsewhere: the wire is not asked."""
    assert told(observe_wire(view())) == [("forward", "tunnel", "sender", "absent", "inner")]


@pytest.mark.parametrize(("dropped", "cut"), [(3, False), (0, True)])
def test_a_tap_that_missed_packets_claims_no_silence(dropped: int, cut: bool) -> None:
    """What it did see still counts."""
    tapped = Tapped(packets=BURST, began_ns=BEGAN_NS, dropped=dropped, cut=cut)
    found = told(observe_wire(view(tapped=tapped)))
    assert found == [IN_THE_TUNNEL, ("forward", "wire", "sender", "blind", "data")]


def test_packets_of_other_peers_do_not_count() -> None:
    """A hub sends to many: only the endpoint of this peer is on its way."""
    other = [outer("data", out=True, remote=(THIRD, PORT)) for _ in range(10)]
    assert told(observe_wire(view(*BURST, *other)))[1][3] == "absent"


def test_large_packets_are_a_class_of_their_own() -> None:
    """They are compared with large ones only."""
    burst = view().burst
    large = type(burst)(flow=burst.flow, sent=10, large=True)
    assert told(observe_wire(view(*BURST, *SENT, burst=large)))[1] == ("forward", "wire", "sender", "seen", "large")


def test_a_product_that_cannot_be_read() -> None:
    """Its device is tapped anyway."""
    assert told(observe_wire(view(*BURST, carrier="zerotier"))) == [IN_THE_TUNNEL]


@pytest.mark.parametrize(("remote", "finding"), [(None, "absent"), (THIRD, "blind")])
def test_a_place_that_only_the_configuration_names(remote: str | None, finding: str) -> None:
    """Nothing leaves at all; or the product sends elsewhere, where the peer may be now."""
    place = OverlayPeer(B, f"{THERE}:{PORT}", (ip_network(B),))
    nebula = state(product="nebula", peers=(peer(KEY_C, C, f"{THIRD}:{PORT}"),), called=(place,))
    left = [outer("data", out=True, remote=(remote, PORT), product="nebula")] if remote else []
    seen = view(inner(out=True), *left, before=nebula)
    assert (seen.endpoints, seen.supposed) == (frozenset(((THERE, PORT),)), True)
    (wire,) = [each for each in observe_wire(seen) if each.station.id == "wire" and each.direction == "forward"]
    assert wire.finding == finding


def test_what_leaves_in_another_namespace_is_not_missed_here() -> None:
    """Protects from saying that a tunnel sends nothing, where its packets pass a device that nobody here sees."""
    found = observe_wire(view(*BURST, elsewhere=True))
    assert ("forward", "wire", "sender", "blind", "data") in told(found)
    assert not [each for each in found if each.finding == "absent"]
