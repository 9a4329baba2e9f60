"""Whether a peer only kept silent."""

import pytest

from preflight.model.facts import AnswerFacts, EchoFacts
from preflight.proto.tunnel.silence import only_silence


@pytest.mark.parametrize(
    ("echoed", "answered", "rejected", "silent"),
    [(0, 0, None, True), (1, 0, None, False), (0, 1, None, False), (0, 0, 2, False)],
)
def test_anything_that_comes_back_ends_the_silence(
    echoed: int, answered: int, rejected: int | None, silent: bool
) -> None:
    """A stranger's datagram came through the tunnel too."""
    echoes = [EchoFacts(sent=4, received=echoed)]
    assert only_silence(echoes, [AnswerFacts(sent=3, answered=answered, rejected=rejected)]) is silent


def test_who_was_not_asked_is_not_silent() -> None:
    """Without a question there is no answer to miss."""
    assert not only_silence([], [])
    assert not only_silence([EchoFacts(sent=0, received=0)], [])
