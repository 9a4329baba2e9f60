"""What a peer reports becomes observations of its stations, and nothing is made of what it does not say."""

from preflight.model.path import AskResult, Heard, HelloReport, PeerReport
from preflight.proto.way.peer_word import peer_word
from preflight.proto.way.stations import Station

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
    """A hello that counts packets of this inquiry proves that they came."""
    heard = HelloReport(after_s=2.0, up_s=60.0, heard=Heard(packets=10, packet_age_s=0.5))
    assert ("forward", "socket", "seen", "b by hellos") in said(AskResult(sent=10, answered=0, hello=heard))
