"""Skips of many peers that say the same."""

from typing import Any

import pytest

from preflight.api import NODE, Direction, Evidence, Result, Status, by_hand, codes, failed, passed, skipped
from preflight.engine.alike import FEW, folded, without_proofs
from preflight.engine.alike import MANY as LARGE

MANY = FEW + 1


def idle(target: str, message: str = "it runs only in case of trouble", **more: Any) -> Result:
    """A skip for which there is no reason to look."""
    return skipped(codes.RUN_NOT_APPLICABLE, target, Direction.ROUND_TRIP, message, **more)


def test_what_is_the_same_at_many_peers_is_one_result() -> None:
    """The others keep their places, and the message says of how many peers it speaks."""
    bad = passed("odd", Direction.ROUND_TRIP, "fine")
    one, other = folded([idle("p0"), bad, *(idle(f"p{number}") for number in range(1, MANY))])
    assert (one.target, one.direction, one.status, one.code) == (
        NODE,
        Direction.LOCAL,
        Status.SKIP,
        codes.RUN_NOT_APPLICABLE,
    )
    assert one.message == f"each of {MANY} peers: it runs only in case of trouble"
    assert other is bad


def test_a_name_in_the_message_makes_no_difference() -> None:
    """It means the peer only as a whole word: the b of `because` stays."""
    names = ["b", "10.66.0.2", *(f"p{number}" for number in range(MANY))]
    (one,) = folded([idle(name, f"because {name} answers, {name}. Good") for name in names])
    assert one.message == f"because each of {len(names)} peers answers, each of {len(names)} peers. Good"


def test_few_peers_keep_theirs() -> None:
    """A table of a small mesh shows each peer."""
    results = [idle(f"p{number}") for number in range(FEW)]
    assert folded(results) == tuple(results)


@pytest.mark.parametrize(
    "more",
    [
        {"blocked_by": "reach.udp/x/forward"},
        {"evidence": (Evidence("seen", "something"),)},
        {"measurements": {"sent": 4}},
        {"remedy": "look"},
        {"aspect": "key"},
    ],
)
def test_what_says_more_stays_with_its_peer(more: dict[str, Any]) -> None:
    """What a failure explains, shows or advises is about that peer."""
    results = [idle(f"p{number}", **more) for number in range(MANY)]
    assert folded(results) == tuple(results)


def test_no_id_is_given_twice() -> None:
    """Two reasons are two results, and a check may have one about this node as well."""
    own = passed(NODE, Direction.LOCAL, "fine")
    found = folded(
        [own, *(idle(f"p{number}") for number in range(MANY)), *(idle(f"q{number}", "no") for number in range(MANY))]
    )
    assert len({each.id for each in found}) == len(found) == 3


def test_a_large_mesh_has_no_proofs_of_what_is_good() -> None:
    """A third of such a report would be histograms at which nobody looks; what is bad keeps its evidence."""
    proof = (Evidence("seen", "something"),)
    good = [passed(f"p{number}", Direction.FORWARD, "fine", evidence=proof) for number in range(LARGE)]
    bad = failed(codes.UDP_LOSS, "odd", Direction.FORWARD, "lost", remedies=by_hand("look"), evidence=proof)
    assert without_proofs(good) == good
    assert [each.evidence for each in without_proofs([*good, bad])] == [*[()] * LARGE, proof]
