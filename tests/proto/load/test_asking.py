"""Towards whom load may run, and what is said where it does not."""

import pytest

from preflight.model.load import FailedFlow, NoFlow
from preflight.model.peer import Peer
from preflight.proto.load.asking import MOST_PEERS, left_out, no_flow, udp_mbit

PEER = Peer("10.66.0.2", "b")


@pytest.mark.parametrize(
    ("rank", "metered", "keyed", "control", "words"),
    [
        (0, True, True, (), "metered"),
        (0, False, False, (), "no shared key"),
        (0, False, True, ("10.66.0.9", "10.66.0.2"), "control plane"),
        (MOST_PEERS, False, True, (), "--peer"),
        (MOST_PEERS - 1, False, True, ("10.66.0.9",), None),
    ],
)
def test_who_is_left_out(rank: int, metered: bool, keyed: bool, control: tuple[str, ...], words: str | None) -> None:
    """Never on a metered line, never towards the control plane, never without a key, and never with a whole mesh."""
    why = left_out(PEER, rank, metered=metered, keyed=keyed, control=control)
    assert (why is None) if words is None else (why is not None and words in why)


@pytest.mark.parametrize(
    ("why", "code", "remedy"),
    [
        ("refused", "perf.responder-load-off", "preflight responder --load"),
        ("silent", "perf.responder-load-off", "ss -lntp 'sport = :862'"),
        ("busy", "perf.load-refused", "again"),
        ("spent", "perf.load-refused", "load_megabytes"),
        ("key", "run.needs-credentials", "same key"),
        ("broken", "run.no-answer", None),
        ("unreachable", "run.no-answer", None),
    ],
)
def test_why_there_was_no_flow(why: NoFlow, code: str, remedy: str | None) -> None:
    """Each reason has its code, and what helps if anything does."""
    found, fact, remedies = no_flow(PEER, FailedFlow("tcp-up", why, "no answer within 3 s"))
    assert str(found) == code
    assert "b" in fact
    lines = [line for each in remedies for line in each.lines]
    assert any(remedy in line for line in lines) if remedy else not lines


def test_a_silent_port_is_not_called_off() -> None:
    """Nothing answers: a filter may drop it, so nobody reads that the responder runs without --load."""
    _, fact, remedies = no_flow(PEER, FailedFlow("tcp-up", "silent", "no answer within 3 s"))
    assert "or a filter drops it" in fact
    assert remedies[0].kind == "next"


def test_udp_sends_a_little_more_than_tcp_carried() -> None:
    """Enough to fill the path, and never more than the settings allow."""
    assert udp_mbit(10.0, 200.0) == 12.0
    assert udp_mbit(500.0, 200.0) == 200.0
    assert udp_mbit(0.1, 200.0) == 1.0
    assert udp_mbit(None, 50.0) == 50.0
