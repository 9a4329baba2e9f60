"""Two machines with one certificate by Nebula's log: its lines are of version 1.6.1."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from preflight.overlay.nebula_log import peers_in
from preflight.overlay.nebula_turns import with_turns

HERE, THERE, SIX = "10.203.0.2:4242", "10.203.0.3:4243", "[fd00::2]:4242"
BEGAN_S = datetime(2026, 12, 1, 12, 26, 24, tzinfo=UTC).timestamp()


def line(second: int, place: str, number: int, *, stage: int = 1, certificate: str = "d682ef5d") -> str:
    """A handshake of b: its call (1), or its answer (2)."""
    return (
        f'time="2026-12-01T12:{26 + (24 + second) // 60}:{(24 + second) % 60:02}Z" level=info '
        f'msg="Handshake message received" certName=b fingerprint={certificate} '
        f'handshake="map[stage:{stage} style:ix_psk0]" initiatorIndex={number} issuer=cffdf1cf remoteIndex=0 '
        f'responderIndex=0 udpAddr="{place}" vpnIp=10.99.0.2'
    )


def found(lines: Iterable[str], now_s: float = 50.0) -> tuple[tuple[str, str] | None, int]:
    """What they show, this many seconds after the beginning."""
    known = tuple(lines)
    (peer,) = with_turns(peers_in(known), known, BEGAN_S + now_s)
    return peer.turns, peer.changes


def calls(*places: str, gap_s: int = 9, certificates: tuple[str, ...] = ("d682ef5d",)) -> list[str]:
    """b's calls from these places, one behind the other, each for another session."""
    return [
        line(gap_s * number, place, 100 + number, certificate=certificates[number % len(certificates)])
        for number, place in enumerate(places)
    ]


def test_two_places_in_turn() -> None:
    """It calls from here, from there, and again, each time for another session: two machines have its certificate."""
    assert found(calls(HERE, THERE, HERE, THERE)) == ((HERE, THERE), 3)
    assert found(calls(HERE, THERE, HERE, THERE, THERE, HERE)) == ((HERE, THERE), 4)


@pytest.mark.parametrize(
    ("lines", "now_s"),
    [
        (calls(HERE, THERE), 50.0),
        (calls(HERE, THERE, HERE), 50.0),
        (calls(HERE, "10.203.0.3:5001", "10.203.0.3:5002", "10.203.0.3:5003"), 50.0),
        (calls(HERE, SIX, HERE, SIX), 50.0),
        (calls(HERE, THERE, HERE, THERE, gap_s=61), 200.0),
        (calls(HERE, THERE, HERE, THERE), 100.0),
        (calls(HERE, THERE, HERE, THERE), 10.0),
        (calls(HERE, THERE, HERE, THERE, certificates=("d682ef5d", "0a0a")), 50.0),
    ],
    ids=["moved", "and back", "ports", "families", "seldom", "over", "clock", "certificates"],
)
def test_what_one_machine_does(lines: list[str], now_s: float) -> None:
    """It moves, even back; a NAT gives it ports; it has two families; and what is long over is not now."""
    assert found(lines, now_s) == (None, 0)


def test_several_addresses_of_one_machine() -> None:
    """Which of them answers first changes, and its own call comes by both ways: none of that is a second machine."""
    answers = [line(9 * number, (HERE, THERE)[number % 2], number, stage=2) for number in range(5)]
    assert found(answers) == (None, 0)
    both = [line(9 * number, place, number) for number in range(5) for place in (HERE, THERE)]
    assert found(both) == (None, 0)


def test_sessions_that_soon_end_another() -> None:
    """b goes over to whichever of two machines with this node's certificate called last."""
    taken = [line(6 * number, HERE, number, stage=2) for number in range(5)]
    assert found(taken) == ((HERE, HERE), 4)
    assert found(taken[:4]) == (None, 0)
    lost = [line(15 * number, HERE, number, stage=2) for number in range(5)]
    assert found(lost, 70.0) == (None, 0)
    repeated = [line(2 * number, HERE, 7, stage=2) for number in range(9)]
    assert found(repeated) == (None, 0)


def test_a_member_that_takes_no_answer() -> None:
    """It blocks this node's certificate, and calls again and again: there is no session, and no second machine."""
    called = [line(number, HERE, number) for number in range(9)]
    (peer,) = with_turns(peers_in(called), called, BEGAN_S + 10)
    assert (peer.turns, peer.endpoint, peer.last_handshake_unix_s, peer.tried) == (None, None, 0.0, (HERE,))
    answered = [*called, line(9, HERE, 99, stage=2)]
    for lines in (called[:2], answered):
        (peer,) = with_turns(peers_in(lines), lines, BEGAN_S + 10)
        assert (peer.turns, peer.endpoint) == (None, HERE)


def test_only_the_process_that_runs_now() -> None:
    """What an earlier one met is over."""
    started = 'time="2026-12-01T12:26:40Z" level=info msg="Nebula interface is active" interface=nebula1'
    lines = calls(HERE, THERE, HERE, THERE)
    assert found([*lines[:2], started, *lines[2:]]) == (None, 0)


def test_lines_in_json_and_without_a_time() -> None:
    """Either format may be set, and times can be left out: then nothing is known of when."""
    said = [
        {
            "time": f"2026-12-01T13:26:{24 + 9 * number}+01:00",
            "msg": "Handshake message received",
            "handshake": {"stage": 1, "style": "ix_psk0"},
            "initiatorIndex": number,
            "udpAddr": {"ip": ("fd00::2", "fd00::3")[number % 2], "port": 4242},
            "vpnIp": "10.99.0.2",
        }
        for number in range(4)
    ]
    assert found(map(json.dumps, said)) == (("[fd00::2]:4242", "[fd00::3]:4242"), 3)
    assert found(each.partition("level=")[2] for each in calls(HERE, THERE, HERE, THERE)) == (None, 0)
