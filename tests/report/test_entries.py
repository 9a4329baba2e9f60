"""`watch`: one entry for each cause that came or went, with what to do; its effects have none."""

from preflight import codes
from preflight.api import Direction, Result, failed, heal, passed
from preflight.model.fix import LinkMtu
from preflight.report.entries import entries
from preflight.report.model import Report
from tests.report.test_text import at, made

L, F, RT = Direction.LOCAL, Direction.FORWARD, Direction.ROUND_TRIP
DOWN = at("overlay.interface", failed(codes.OVERLAY_DOWN, "node", L, "wg0 is down"))
UP = at("overlay.interface", passed("node", L, "wg0 is up"))


def reach(peer: str, *, good: bool) -> Result:
    """The way to a peer, which is dead if the interface is down."""
    if good:
        return at("reach.udp", passed(peer, F, "10 of 10"))
    return at("reach.udp", failed(codes.REACH_NO_FORWARD, peer, F, f"nothing gets to {peer}"))


GOOD = made(UP, *(reach(f"p{n}", good=True) for n in range(12)))
BAD = made(DOWN, *(reach(f"p{n}", good=False) for n in range(12)))


def test_a_cause_is_one_entry_however_much_it_breaks() -> None:
    """Twelve dead peers are effects: a reader sees the interface, once."""
    assert [cause.code for cause in BAD.diagnosis] == ["overlay.down"]
    (entry,) = entries(GOOD, BAD)
    assert (entry.trend, entry.code, entry.target) == ("worse", "overlay.down", "node")
    assert entry.text == "overlay.down node: wg0 is down (explains 12 more results)"


def test_its_end_is_one_entry_that_says_what_is_good_again() -> None:
    """And not thirteen."""
    (entry,) = entries(BAD, GOOD)
    assert (entry.trend, entry.code) == ("better", "overlay.down")
    assert entry.text == "overlay.down node: not found any more; 13 of 13 results passed again"


def test_what_stays_has_no_entry() -> None:
    """Neither a healthy round nor the same cause again."""
    assert entries(GOOD, GOOD) == entries(BAD, BAD) == ()


def test_the_first_round_lists_what_is_wrong() -> None:
    """With what heals it."""
    remedies = heal(lambda: LinkMtu(interface="wg0", mtu_bytes=1320))
    hole = at("mtu.path", failed(codes.MTU_BLACK_HOLE, "b", F, "a hole", remedies=remedies))
    (entry,) = entries(None, made(hole))
    assert (entry.trend, entry.more) == ("now", ("fix: ip link set dev wg0 mtu 1320",))
    assert entry.text == "mtu.black-hole b, this node → peer: a hole"
    assert entries(None, GOOD) == ()


def test_a_change_that_no_cause_explains_has_its_own_entry() -> None:
    """Worse is first; a result that is missing now is not a cause."""
    before = made(UP, reach("b", good=True), at("host.clock", passed("node", L, "right")))
    after = made(UP, reach("b", good=True))
    (entry,) = entries(before, after)
    assert (entry.trend, entry.code) == ("changed", "")
    assert entry.text.startswith("host.clock/node/local: pass: right → not there")


def test_a_second_cause_does_not_repeat_the_first() -> None:
    """Only what came is said."""
    hole = at("mtu.path", failed(codes.MTU_BLACK_HOLE, "b", F, "a hole"))
    loss = at("udp.quality", failed(codes.UDP_LOSS, "c", F, "loss"))

    def report(*results: Result) -> Report:
        return made(UP, *results)

    assert [entry.code for entry in entries(report(hole), report(hole, loss))] == ["udp.loss"]
    assert [entry.trend for entry in entries(report(hole), report(loss))] == ["worse", "better"]
