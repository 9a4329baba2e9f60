"""Why no path-MTU probe is answered: a responder that only lacks our key need not be started again."""

import pytest

from preflight.model.peer import Peer
from preflight.model.pmtu import PathMtu, SearchOutcome
from preflight.proto.pmtu.unanswered import unanswered

B = Peer("10.66.0.2", "b")
SILENT = PathMtu(direction="forward", outcome=SearchOutcome.NO_ANSWER, ceiling_bytes=1420)
CLOSED = PathMtu(direction="forward", outcome=SearchOutcome.REFUSED, ceiling_bytes=1420)


def test_where_the_responder_runs_only_its_key_is_asked_for() -> None:
    """It answers other packets, so a line that starts one would fail at its own port."""
    message, remedies = unanswered(B, SILENT, others_answered=True)
    assert "this node has none" in message
    (only,) = remedies
    assert (only.kind, only.where) == ("next", "node")
    assert "responder.key_file" in only.lines[0]


@pytest.mark.parametrize("found", [SILENT, CLOSED])
def test_where_nothing_answers_one_is_started(found: PathMtu) -> None:
    """The line is for the peer; a closed port makes it certain that it heals."""
    message, remedies = unanswered(B, found, others_answered=False)
    assert message.endswith("a responder there, with the same key, would decide it")
    assert "preflight responder --bind 10.66.0.2" in remedies[0].lines[0]
    assert remedies[0].kind == ("fix" if found is CLOSED else "next")


def test_a_closed_port_is_closed_whatever_answered_before() -> None:
    """It may have ended meanwhile."""
    assert unanswered(B, CLOSED, others_answered=True)[0].startswith("nothing listens on UDP port 862 of b")


def test_another_program_at_the_port_is_named() -> None:
    """What comes back does not come from a responder."""
    message, _ = unanswered(
        B,
        PathMtu(direction="forward", outcome=SearchOutcome.NO_ANSWER, ceiling_bytes=0, rejected={"key": 2}),
        others_answered=True,
    )
    assert "does not answer" not in message
