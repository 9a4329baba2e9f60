"""One sentence for a silent peer: how far packets were seen, what confirms them, and who else answers there."""

from preflight import codes
from preflight.model.remedy import as_text
from preflight.proto.way.observation import Finding, Observation, PacketClass
from preflight.proto.way.stations import Host, Station
from preflight.proto.way.verdict import WayDirection, conclude


def word(
    id: str,
    host: Host,
    finding: Finding,
    reason: str,
    packets: PacketClass = "data",
    direction: WayDirection = "forward",
) -> Observation:
    """What an observer says of one station."""
    return Observation(station=Station(id, host), finding=finding, reason=reason, packets=packets, direction=direction)


LEFT = word("wire", "sender", "seen", "the packets left by eth0")
NOTHING = word("wire", "receiver", "blind", "data left for X, and nothing came in 5 s; only more", direction="reverse")
READS = word("session", "receiver", "seen", "the tunnel of b reads them")
NETWORK = word("network", "network", "blind", "the endpoint's host answers this node (echo)")


def test_what_is_in_hand_is_said() -> None:
    """More is known than that none of 4 echoes was answered; and no line for WireGuard is given for other products."""
    (found,) = conclude("b", (LEFT, NOTHING, NETWORK), silent=True)
    assert (found.code, found.direction, found.station) == (codes.REACH_UNREACHABLE, "round-trip", None)
    assert found.message == (
        "b is silent: data left for X, and nothing came in 5 s; the endpoint's host answers this node (echo)"
    )
    assert str(as_text(found.remedies)).startswith("nft ")
    unconfirmed = word("session", "receiver", "blind", "the tunnel of b confirms nothing")
    (found,) = conclude("b", (LEFT, NOTHING, NETWORK, unconfirmed), silent=True)
    assert "confirms nothing" in found.message
    assert str(as_text(found.remedies)).startswith("wg ")


def test_a_tunnel_that_reads_packets_is_no_dead_way() -> None:
    """Protects the network from the blame for what the peer drops behind its tunnel."""
    (found,) = conclude("b", (LEFT, NOTHING, NETWORK, READS), silent=True)
    assert found.code == codes.REACH_UNREACHABLE
    assert "get as far as its tunnel" in found.message
    assert "echo" not in found.message
    assert "allowed-ips" in str(as_text(found.remedies))


def test_without_silence_nothing_is_claimed() -> None:
    """Protects a peer that answered another check: this burst may have met a loss."""
    assert [each.code for each in conclude("b", (LEFT, NOTHING, NETWORK))] == [None, None]
    heard = word("tunnel", "receiver", "seen", "3 packets of b came in", packets="inner", direction="reverse")
    assert [each.code for each in conclude("b", (LEFT, heard), silent=True)] == [None, None]


def test_only_data_is_missed() -> None:
    """Where no data leaves there is no session, and the check of the session knows why."""
    shakes = word("wire", "sender", "seen", "the packets left by eth0", packets="handshake")
    assert [each.code for each in conclude("b", (shakes, NOTHING), silent=True)] == [None, None]


def test_calls_of_a_tunnel_that_has_lost_its_session() -> None:
    """The product counts its last handshake as fresh, so no other check says that there is no session."""
    lost = word("session", "sender", "blind", "wg0 calls although its last handshake is fresh", packets="handshake")
    shakes = word("wire", "sender", "seen", "the packets left by eth0", packets="handshake")
    came = word("wire", "receiver", "blind", "1 call left, and nothing came", packets="handshake", direction="reverse")
    (found,) = conclude("b", (shakes, lost, came, NETWORK), silent=True)
    assert found.message == (
        "b does not answer calls: wg0 calls although its last handshake is fresh; 1 call left, and nothing came; the "
        "endpoint's host answers this node (echo)"
    )
    assert "wg show all peers" in str(as_text(found.remedies))
