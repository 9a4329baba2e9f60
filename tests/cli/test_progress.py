"""Progress on standard error: one line per finished check, with the share of the peers where they are many."""

import pytest

from preflight import codes
from preflight.api import Check, Context, Direction, Result, check, failed, passed
from preflight.cli.progress import Board, progress
from preflight.engine.runner import Progress


async def _nothing(ctx: Context) -> None:
    """Never run."""


def finished(bad: int, peers: int) -> Progress:
    """A check that is over, with this many peers; some of them are bad."""
    declared: Check = check("reach.icmp", title="t", subject="peer", codes=(codes.REACH_UNREACHABLE,))(_nothing)  # type: ignore[arg-type]
    results: list[Result] = [
        failed(codes.REACH_UNREACHABLE, f"p{n}", Direction.ROUND_TRIP, "")
        if n < bad
        else passed(f"p{n}", Direction.ROUND_TRIP, "")
        for n in range(peers)
    ]
    return Progress(declared, tuple(results), 2500.0)


@pytest.mark.parametrize(
    ("bad", "peers", "line"),
    [
        (0, 2, "pass         reach.icmp (2.50 s)\n"),
        (1, 2, "fail         reach.icmp (2.50 s)\n"),
        (0, 500, "pass         reach.icmp (2.50 s, 500 peers)\n"),
        (3, 500, "fail         reach.icmp (2.50 s, 3 of 500 peers)\n"),
        (500, 500, "fail         reach.icmp (2.50 s, 500 peers)\n"),
    ],
)
def test_a_line_per_finished_check(bad: int, peers: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In a log it must be seen at once whether one peer of hundreds is bad, or all of them."""
    with progress(quiet=False, no_color=True) as listener:
        listener(Progress(finished(bad, peers).check, None, peers=peers, reported=1))
        listener(finished(bad, peers))
    assert capsys.readouterr().err == line


def test_the_board_says_what_is_measured_now_and_since_when() -> None:
    """Within the first moment it says what is done, then each running check, its time and its peers."""
    now = [100.0]
    board = Board(checks=37, began=100.0, now=lambda: now[0])
    assert board.line == "0 s · looking for the overlay and its peers"
    done = finished(0, 500)
    board.hear(Progress(done.check, None, peers=500))
    now[0] = 104.0
    board.hear(Progress(done.check, None, peers=500, reported=120))
    assert board.line == "4 s · 0 of 37 checks done · reach.icmp 120 of 500 peers 4 s"
    now[0] = 112.0
    assert board.line.endswith(
        f"500 peers 12 of at most {done.check.timeout + 500 * done.check.timeout_per_peer:.0f} s"
    )
    board.hear(done)
    assert board.line == "12 s · 1 of 37 checks done"
