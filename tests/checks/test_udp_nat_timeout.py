"""udp.nat-timeout: what silences prove, and what they do not."""

from dataclasses import replace

import pytest
from preflight_checks.udp_nat_timeout import Idle, judge

from preflight.api import Direction, Peer, Status
from preflight.model.nat import AfterSilence
from preflight.model.overlay import OverlayPeer

KEY_B = f"Bkey{'A' * 39}="
PEER = Peer("10.66.0.2", "b")
B = OverlayPeer(KEY_B, endpoint="10.201.2.2:51820", rx_bytes=1, tx_bytes=1, keepalive_s=0)


def idle(*silences: AfterSilence, session: OverlayPeer | None = B) -> Idle:
    """Silences with b through wg0."""
    return Idle(silences, "wg0" if session else None, session)


def kept(step_s: float, silent_s: float | None = None) -> AfterSilence:
    """A silence after which b got in."""
    return AfterSilence(step_s, arrived=True, silent_s=step_s if silent_s is None else silent_s)


FORGOTTEN = AfterSilence(60.0, arrived=False, sent=3, silent_s=61.2)


@pytest.mark.parametrize(
    ("measured", "status", "words"),
    [
        (idle(kept(25.0), kept(60.0), kept(120.0)), Status.PASS, ["after 120 s of silence packets of b still come in"]),
        (
            idle(kept(25.0, 14.0), kept(60.0, 24.5), kept(120.0, 24.0), session=replace(B, keepalive_s=25)),
            Status.PASS,
            ["24 s of silence", "never silent for longer (keepalive every 25 s)"],
        ),
        (idle(kept(25.0, 3.0)), Status.PASS, ["3 s of silence", "other traffic"]),
        (idle(kept(25.0), session=None), Status.PASS, ["25 s of silence"]),
        (
            idle(kept(25.0), FORGOTTEN),
            Status.WARN,
            ["after 61 s of silence none of 3", "after 25 s of silence it had not", "there is no keepalive"],
        ),
        (
            idle(replace(FORGOTTEN, step_s=25.0, silent_s=24.0), session=replace(B, keepalive_s=25)),
            Status.WARN,
            ["after 24 s of silence", "the keepalive of 25 s is too rare"],
        ),
        (idle(), Status.INCONCLUSIVE, ["does not offer"]),
        (idle(replace(FORGOTTEN, sent=0)), Status.INCONCLUSIVE, ["sent nothing after a silence of 60 s"]),
        (idle(kept(25.0), replace(FORGOTTEN, sent=None)), Status.INCONCLUSIVE, ["stopped answering"]),
    ],
)
def test_verdicts(measured: Idle, status: Status, words: list[str]) -> None:
    """Forgotten is only what the peer says it sent; the reported silence is the one that was measured."""
    result = judge(PEER, measured)
    assert (result.status, result.direction) == (status, Direction.REVERSE)
    assert all(word in result.message for word in words), result.message
    assert (result.remedy is None) == (status is Status.PASS)


@pytest.mark.parametrize(
    ("measured", "remedy"),
    [
        (idle(kept(25.0), FORGOTTEN), f"wg set wg0 peer {KEY_B} persistent-keepalive 25 "),
        (idle(replace(FORGOTTEN, step_s=25.0)), f"wg set wg0 peer {KEY_B} persistent-keepalive 15 "),
        (idle(FORGOTTEN, session=None), "Set a keepalive of 15 s"),
    ],
)
def test_the_keepalive_is_shorter_than_what_was_forgotten(measured: Idle, remedy: str) -> None:
    """The usual 25 s do not help against a NAT that forgets sooner."""
    assert (judge(PEER, measured).remedy or "").startswith(remedy)
