"""reach.udp: every combination of what can be known about two directions, and never more than is known."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from preflight_checks.reach_udp import judge

from preflight.api import Direction, Peer, Result, Status
from preflight.engine.diagnosis import diagnose
from preflight.model.icmp import PRIVILEGE, EchoStats
from preflight.model.path import AskResult, DirectionStats, Heard, HelloReport, PeerReport, StampStats
from preflight.model.return_path import ReturnPath
from preflight.proto.responder.reached import Reached

PEER = Peer("10.66.0.2", "b", agent_id="2")
LOCAL = ("10.66.0.1", 40000)
SILENT = StampStats(sent=10, answered=0, authenticated=True, local=LOCAL)
NO_ECHO = EchoStats(3, 0)
ECHO = EchoStats(3, 3, (0.5, 0.5, 0.5))
ALL = DirectionStats(10, 10, 10)

Row = tuple[str, str, str | None]


def rows(results: tuple[Result, ...]) -> list[Row]:
    """Direction, status, code of each result."""
    return [
        (result.direction.value, result.status.value, result.code.slug if result.code else None) for result in results
    ]


def asked(report: PeerReport | None = None, **more: Any) -> AskResult:
    """An inquiry that stayed unanswered on the path."""
    return AskResult(sent=10, answered=0, report=report, local=LOCAL, **more)


def silent(
    report: PeerReport | None = None,
    *,
    echo: EchoStats = NO_ECHO,
    unsigned: StampStats | None = None,
    **more: Any,
) -> Reached:
    """A peer that answered no STAMP packet."""
    return Reached(SILENT, unsigned, asked(report, **more), echo)


# What b's kernel may tell: all is well, a second path that is used or not, and a strict filter that minds or not.
WAY_IN = ReturnPath("wg0", "wg0", rp_filter=1, dropped=3)
WAY_OUT = ReturnPath("wg0", "eth0", "192.0.2.1", rp_filter=2, dropped=0)
REFUSED = ReturnPath("wg0", "eth0", "192.0.2.1", rp_filter=1, refuses=True, dropped=3)
NOT_SEEN = ReturnPath("wg0", "eth0", "192.0.2.1", rp_filter=1, refuses=True, dropped=0)

OPEN_FORWARD = ("forward", "pass", None)
OPEN_REVERSE = ("reverse", "pass", None)
NO_REPORT: dict[str, Any] = {"unavailable": "silent", "detail": "its responder did not answer by mailbox within 6 s"}


def hello(after_s: float, *heard: Any) -> HelloReport:
    """The peer's hello that came so long after our first packet; what it had heard."""
    return HelloReport(after_s, 900.0, Heard(*heard))


@pytest.mark.parametrize(
    ("report", "expected", "words"),
    [
        (
            None,
            ("round-trip", "inconclusive", "run.needs-responder"),
            "only as TCP; echoes and UDP port 862 are silent",
        ),
        (PeerReport(0, 10), ("round-trip", "fail", "udp.blocked"), "; TCP passes"),
    ],
)
def test_a_host_that_answers_tcp_is_not_called_dead(report: PeerReport | None, expected: Row, words: str) -> None:
    """Its filter takes echoes and UDP; without the peer's word it stays open whether a responder runs behind it."""
    known = silent(report) if report is not None else silent(**NO_REPORT)
    results = judge(PEER, replace(known, connected=True))
    assert rows(results) == [expected]
    assert words in results[0].message


@pytest.mark.parametrize(
    ("reached", "expected"),
    [
        (Reached(StampStats(10, 10, ALL, ALL, rtt_ms=(0.4,))), [OPEN_FORWARD, OPEN_REVERSE]),
        (Reached(StampStats(10, 1, rtt_ms=(0.4,))), [OPEN_FORWARD, OPEN_REVERSE]),
        (Reached(SILENT, None, AskResult(sent=10, answered=1)), [OPEN_FORWARD, OPEN_REVERSE]),
        (
            silent(unsigned=StampStats(3, 3, rtt_ms=(0.4,))),
            [OPEN_FORWARD, OPEN_REVERSE, ("round-trip", "inconclusive", "run.needs-responder")],
        ),
        (Reached(StampStats(1, 0, port_unreachable=True)), [("round-trip", "inconclusive", "run.needs-responder")]),
        (silent(port_unreachable=True), [("round-trip", "inconclusive", "run.needs-responder")]),
        # The peer's word: forward dead, reverse dead, both dead.
        (silent(PeerReport(0, 10), probes_received=10), [("forward", "fail", "reach.no-forward"), OPEN_REVERSE]),
        (silent(PeerReport(10, 10)), [OPEN_FORWARD, ("reverse", "fail", "reach.no-reverse")]),
        (silent(PeerReport(10, 0, send_errors={"EPERM": 10})), [OPEN_FORWARD, ("reverse", "fail", "reach.no-reverse")]),
        (silent(PeerReport(0, 10)), [("round-trip", "fail", "reach.unreachable")]),
        (silent(PeerReport(0, 0, send_errors={"EPERM": 10})), [("round-trip", "fail", "reach.unreachable")]),
        # What arrives under another address, or is refused, has arrived.
        (silent(PeerReport(0, 10, elsewhere=9)), [OPEN_FORWARD, ("reverse", "fail", "reach.no-reverse")]),
        (
            silent(PeerReport(0, 10, refused={"not-allowed": 20}), probes_received=10),
            [("round-trip", "inconclusive", "run.needs-responder")],
        ),
        (silent(PeerReport(7, 10), probes_received=9), [("round-trip", "inconclusive", "run.needs-responder")]),
        # Where echoes pass, the path lives and UDP is filtered.
        (silent(PeerReport(0, 10), probes_received=10, echo=ECHO), [("forward", "fail", "udp.blocked"), OPEN_REVERSE]),
        (silent(PeerReport(10, 10), echo=ECHO), [OPEN_FORWARD, ("reverse", "fail", "udp.blocked")]),
        (silent(PeerReport(0, 10), echo=ECHO), [("round-trip", "fail", "udp.blocked")]),
        # This node's own eyes, with and without the peer's word.
        (silent(PeerReport(10, 10), on_interface=10), [OPEN_FORWARD, ("reverse", "fail", "host.firewall-drop")]),
        (silent(on_interface=10, **NO_REPORT), [OPEN_FORWARD, ("reverse", "fail", "host.firewall-drop")]),
        (
            silent(PeerReport(0, 10), on_interface=10),
            [("forward", "fail", "reach.no-forward"), ("reverse", "fail", "host.firewall-drop")],
        ),
        # Hellos: the peer's word without any meeting point.
        (silent(hello=hello(2.0), **NO_REPORT), [("forward", "fail", "reach.no-forward"), OPEN_REVERSE]),
        (silent(hello=hello(2.0, 50, 9.0), **NO_REPORT), [("forward", "fail", "reach.no-forward"), OPEN_REVERSE]),
        (silent(hello=hello(2.0), echo=ECHO, **NO_REPORT), [("forward", "fail", "udp.blocked"), OPEN_REVERSE]),
        (silent(hello=hello(0.3), **NO_REPORT), [("round-trip", "fail", "reach.unreachable")]),
        (silent(hello=hello(2.0, 5, 0.1), **NO_REPORT), [("round-trip", "inconclusive", "run.needs-responder")]),
        (
            silent(hello=hello(2.0), on_interface=9, **NO_REPORT),
            [OPEN_FORWARD, ("reverse", "fail", "host.firewall-drop")],
        ),
        (silent(PeerReport(0, 0), hello=hello(2.0)), [("forward", "fail", "reach.no-forward"), OPEN_REVERSE]),
        # The peer sent nothing, and nothing refused it: its direction is not judged.
        (silent(PeerReport(0, 0)), [("forward", "fail", "reach.no-forward")]),
        # What reached the socket no firewall ate, whatever it is.
        (
            silent(on_interface=10, rejected={"foreign": 10}, **NO_REPORT),
            [("round-trip", "inconclusive", "run.needs-responder")],
        ),
        (
            silent(on_interface=10, strays={"10.66.0.9:862": 3}, **NO_REPORT),
            [("round-trip", "inconclusive", "run.needs-responder")],
        ),
        (
            Reached(replace(SILENT, rejected={"other-key": 10}), None, asked(**NO_REPORT), ECHO),
            [("round-trip", "inconclusive", "run.needs-responder")],
        ),
        # A responder that has dropped packets itself tells nothing about those that it has not seen.
        (
            silent(PeerReport(0, 10, overflowed=900), probes_received=10),
            [("round-trip", "inconclusive", "run.overloaded")],
        ),
        (silent(PeerReport(0, 10, refused={"rate-limited": 9})), [("round-trip", "inconclusive", "run.overloaded")]),
        (
            silent(hello=HelloReport(2.0, 900.0, Heard(overflowed=9)), **NO_REPORT),
            [("round-trip", "inconclusive", "run.overloaded")],
        ),
        (silent(PeerReport(9, 10, overflowed=900)), [OPEN_FORWARD, ("reverse", "fail", "reach.no-reverse")]),
        # Nothing left this node.
        (
            Reached(SILENT, None, AskResult(sent=0, answered=0, send_errors={"EPERM": 10})),
            [("forward", "fail", "host.firewall-drop")],
        ),
        (
            Reached(SILENT, None, AskResult(sent=0, answered=0, send_errors={"ENETUNREACH": 10})),
            [("round-trip", "fail", "reach.unreachable")],
        ),
        # Nobody tells: never a direction.
        (silent(on_interface=0, **NO_REPORT), [("round-trip", "fail", "reach.unreachable")]),
        (silent(probes_received=4, **NO_REPORT), [("round-trip", "fail", "reach.unreachable")]),
        (silent(**NO_REPORT), [("round-trip", "fail", "reach.unreachable")]),
        (silent(echo=EchoStats(0, 0, error=PRIVILEGE), **NO_REPORT), [("round-trip", "fail", "reach.unreachable")]),
        (silent(echo=ECHO, **NO_REPORT), [("round-trip", "inconclusive", "run.needs-responder")]),
        (
            silent(unavailable="impostor", detail="mailbox 2 is read by 10.66.0.3", probes_received=0),
            [("round-trip", "fail", "reach.unreachable")],
        ),
        (
            silent(unavailable="role", detail="this node's token may not deliver to mailboxes"),
            [("round-trip", "fail", "reach.unreachable"), ("round-trip", "inconclusive", "run.needs-credentials")],
        ),
    ],
)
def test_verdicts(reached: Reached, expected: list[Row]) -> None:
    """A direction is called dead or open only by evidence."""
    results = judge(PEER, reached)
    assert rows(results) == expected
    assert len({result.id for result in results}) == len(results)
    assert all(result.target == "b" and result.message for result in results)
    assert all(result.remedy for result in results if result.status is not Status.PASS)


@pytest.mark.parametrize(
    ("reached", "expected"),
    [
        (
            silent(PeerReport(0, 10, way=REFUSED), probes_received=10),
            [("forward", "fail", "reach.no-forward"), OPEN_REVERSE, ("forward", "fail", "host.rp-filter")],
        ),
        (
            silent(PeerReport(0, 10, way=REFUSED)),
            [("round-trip", "fail", "reach.unreachable"), ("forward", "fail", "host.rp-filter")],
        ),
        # The filter would refuse, but it dropped nothing: something else eats the packets before it.
        (
            silent(PeerReport(0, 10, way=NOT_SEEN), probes_received=10),
            [("forward", "fail", "reach.no-forward"), OPEN_REVERSE, ("reverse", "warn", "reach.asymmetric")],
        ),
        (
            silent(PeerReport(0, 10, way=WAY_OUT), probes_received=10),
            [("forward", "fail", "reach.no-forward"), OPEN_REVERSE, ("reverse", "warn", "reach.asymmetric")],
        ),
        (
            silent(PeerReport(10, 10, way=WAY_OUT)),
            [OPEN_FORWARD, ("reverse", "fail", "reach.no-reverse"), ("reverse", "fail", "overlay.route-leak")],
        ),
        (
            silent(PeerReport(0, 10, way=WAY_OUT)),
            [("round-trip", "fail", "reach.unreachable"), ("reverse", "fail", "overlay.route-leak")],
        ),
        # Drops of other traffic, and echoes that pass by the same routes, accuse nobody.
        (silent(PeerReport(0, 10, way=WAY_IN)), [("round-trip", "fail", "reach.unreachable")]),
        (silent(PeerReport(10, 10, way=WAY_OUT), echo=ECHO), [OPEN_FORWARD, ("reverse", "fail", "udp.blocked")]),
        (
            silent(PeerReport(0, 10, way=ReturnPath()), probes_received=10),
            [("forward", "fail", "reach.no-forward"), OPEN_REVERSE],
        ),
    ],
)
def test_the_peers_kernel_gives_the_cause(reached: Reached, expected: list[Row]) -> None:
    """Its filter is accused only when it is seen to drop, its route only when it leads elsewhere."""
    results = judge(PEER, reached)
    assert rows(results) == expected
    assert len({result.id for result in results}) == len(results)


@pytest.mark.parametrize(
    "reached",
    [silent(PeerReport(0, 10), probes_received=10, echo=ECHO), silent(echo=ECHO, **NO_REPORT), silent(**NO_REPORT)],
)
def test_a_router_outside_the_overlay_explains_silence(reached: Reached) -> None:
    """Whatever else is known or not: packets that a router of the underlay answers have left the overlay."""
    results = judge(PEER, replace(reached, outside=("192.0.2.1", "eth0")))
    (cause,) = diagnose(replace(result, check="reach.udp") for result in results)
    assert (str(cause.code), cause.direction) == ("overlay.route-leak", Direction.FORWARD)
    assert "192.0.2.1" in cause.message
    assert cause.remedy == "ip rule; ip route get 10.66.0.2 ipproto udp dport 862"


def test_the_cause_at_the_peer_explains_the_direction() -> None:
    """The diagnosis is the filter of b, with lines for b; the dead direction is what it explains."""
    results = [replace(r, check="reach.udp") for r in judge(PEER, silent(PeerReport(0, 10, way=REFUSED)))]
    (cause,) = diagnose(results)
    assert (str(cause.code), cause.target, cause.direction) == ("host.rp-filter", "b", Direction.FORWARD)
    assert cause.remedy == "ip route replace 10.66.0.1/32 dev wg0   # on b"
    assert [(remedy.where, remedy.host, remedy.kind) for remedy in cause.remedies] == [("peer", "b", "fix")]
    assert cause.explains == ("reach.udp/b/forward/rp-filter", "reach.udp/b/round-trip")


@pytest.mark.parametrize(
    ("reached", "words"),
    [
        (silent(PeerReport(0, 10), probes_received=9), ["none of the 10 UDP packets", "9 of 10"]),
        (silent(PeerReport(10, 10), unwatched="that takes CAP_NET_RAW"), ["none of the 10", "CAP_NET_RAW"]),
        (silent(PeerReport(10, 0, send_errors={"EPERM": 10})), ["could not send any", "EPERM"]),
        (silent(**NO_REPORT), ["none of 20 UDP packets", "none of 3 ICMP echoes", "did not answer by mailbox"]),
        (silent(echo=EchoStats(0, 0, error=PRIVILEGE), **NO_REPORT), ["echo could not be tried"]),
        (silent(on_interface=26, **NO_REPORT), ["26 packets of b", "this node drops them"]),
        (silent(hello=hello(2.0), **NO_REPORT), ["none of the 10 UDP packets", "its hello", "2.0 s after the first"]),
        (silent(hello=hello(2.0, 0, None, 7, 0.4), **NO_REPORT), ["hear the hellos", "only new flows are dropped"]),
        (silent(unheard="no hello of b came", **NO_REPORT), ["by mailbox within 6 s; no hello of b came"]),
    ],
)
def test_messages_give_the_numbers(reached: Reached, words: list[str]) -> None:
    """The operator reads what was counted, where, and what could not be."""
    said = " ".join(result.message for result in judge(PEER, reached) if result.status is Status.FAIL)
    assert all(word in said for word in words), said


def test_a_message_states_only_what_was_measured() -> None:
    """With both directions dead nobody is said to have got anything."""
    (result,) = judge(PEER, silent(PeerReport(0, 0, send_errors={"EPERM": 10})))
    assert result.direction is Direction.ROUND_TRIP
    assert "gets this node's packets" not in result.message
    assert "none of 10" in result.message


def test_the_command_to_start_a_responder_lets_this_node_in() -> None:
    """The line to paste works as it is: a responder that nobody may ask does not start."""
    peer = Peer("fd66::2", "b", responder_port=8620)
    (result,) = judge(peer, Reached(StampStats(1, 0, port_unreachable=True, local=("fd66::1", 5))))
    assert result.remedy == "preflight responder --bind '[fd66::2]:8620' --allow fd66::1   # on b"
    (keyed,) = judge(PEER, Reached(StampStats(1, 0, port_unreachable=True, authenticated=True)))
    assert keyed.remedy == "preflight responder --bind 10.66.0.2 --key-file KEY-FILE   # on b, with this node's key"


@pytest.mark.parametrize("make", [lambda: silent(PeerReport(0, 10)), lambda: silent(**NO_REPORT)])
def test_evidence_holds_both_sides_counts(make: Callable[[], Reached]) -> None:
    """A failed direction carries the counts of both ends, for readers who doubt it."""
    (result,) = judge(PEER, make())
    assert result.evidence[0].data["sent"] == 10
