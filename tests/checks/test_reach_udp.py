"""reach.udp: which direction is dead, told only from what was counted."""

from dataclasses import replace

import pytest
from preflight_checks.reach_udp import Reached, judge

from preflight.api import Peer
from preflight.model.icmp import EchoStats
from preflight.model.path import AskResult, PeerReport, StampStats

B = Peer("10.66.0.2", "b")
SILENT = StampStats(sent=10, answered=0)
NO_ECHO = EchoStats(sent=3, received=0)
ECHO = EchoStats(sent=3, received=3, rtt_ms=(1.0, 1.0, 1.0))
ASKED = AskResult(sent=20, answered=0)


def told(reached: Reached) -> list[tuple[str, str, str | None]]:
    return [(r.direction.value, r.status.value, r.code.slug if r.code else None) for r in judge(B, reached)]


def reported(received: int, sent: int, arrived: int, **more: object) -> Reached:
    report = PeerReport(received=received, sent=sent)
    return Reached(SILENT, asked=replace(ASKED, report=report, probes_received=arrived, **more), echo=NO_ECHO)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reached", "expected"),
    [
        (
            Reached(StampStats(sent=10, answered=7, rtt_ms=(1.0,))),
            [("forward", "pass", None), ("reverse", "pass", None)],
        ),
        (
            Reached(SILENT, asked=replace(ASKED, answered=1), echo=NO_ECHO),
            [("forward", "pass", None), ("reverse", "pass", None)],
        ),
        (
            Reached(replace(SILENT, port_unreachable=True)),
            [("round-trip", "inconclusive", "run.needs-responder")],
        ),
        (Reached(SILENT, asked=ASKED, echo=ECHO), [("round-trip", "inconclusive", "run.needs-responder")]),
        (reported(0, 10, 10), [("forward", "fail", "reach.no-forward"), ("reverse", "pass", None)]),
        (reported(10, 10, 0), [("forward", "pass", None), ("reverse", "fail", "reach.no-reverse")]),
        (
            reported(10, 10, 0, on_interface=12),
            [("forward", "pass", None), ("reverse", "fail", "host.firewall-drop")],
        ),
        (reported(0, 10, 0), [("round-trip", "fail", "reach.unreachable")]),
        (
            Reached(SILENT, asked=replace(ASKED, on_interface=5, unavailable="control"), echo=NO_ECHO),
            [("forward", "pass", None), ("reverse", "fail", "host.firewall-drop")],
        ),
        (
            Reached(SILENT, asked=replace(ASKED, unavailable="control", detail="refused"), echo=NO_ECHO),
            [("round-trip", "fail", "reach.unreachable")],
        ),
        (
            Reached(
                SILENT, asked=replace(ASKED, unavailable="role", detail="the submitter's role is missing"), echo=NO_ECHO
            ),
            [("round-trip", "fail", "reach.unreachable"), ("round-trip", "inconclusive", "run.needs-credentials")],
        ),
        (
            Reached(SILENT, asked=AskResult(sent=0, answered=0, send_errors={"EPERM": 10}), echo=NO_ECHO),
            [("forward", "fail", "host.firewall-drop")],
        ),
        (
            Reached(SILENT, asked=AskResult(sent=0, answered=0, send_errors={"ENETUNREACH": 10}), echo=NO_ECHO),
            [("round-trip", "fail", "reach.unreachable")],
        ),
    ],
)
def test_directions(reached: Reached, expected: list[tuple[str, str, str | None]]) -> None:
    """Each direction has a verdict only where both ends counted; silence alone never has a direction."""
    assert told(reached) == expected


def test_a_peer_whose_own_firewall_refuses_is_named() -> None:
    """EPERM at the peer's send is a fact about the peer, and the operator is sent there."""
    report = PeerReport(received=10, sent=0, send_errors={"EPERM": 20})
    results = judge(B, Reached(SILENT, asked=replace(ASKED, report=report), echo=NO_ECHO))
    assert results[1].code is not None
    assert results[1].code.slug == "reach.no-reverse"
    assert "its own system refused (EPERM)" in results[1].message


def test_a_refusing_responder_is_not_a_dead_path() -> None:
    """A responder with another key gets the packets: nothing is wrong with the network."""
    report = PeerReport(received=0, sent=10, refused={"bad-hmac": 20})
    (result,) = judge(B, Reached(SILENT, asked=replace(ASKED, report=report, probes_received=10), echo=NO_ECHO))
    assert result.code is not None
    assert result.code.slug == "run.needs-responder"
    assert "bad-hmac" in result.message
