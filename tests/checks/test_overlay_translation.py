"""overlay.translation: what the peer sees, against what was sent."""

import asyncio
from typing import Any, cast

import pytest
from preflight_checks.overlay_translation import judge, overlay_translation

from preflight.api import Context, Peer, Result, Status
from preflight.model.path import StampStats
from preflight.model.stun import StunAnswer
from preflight.net.turns import Turns
from preflight.settings.load import Settings

PEER = Peer("10.66.0.2", "b")
OTHERS = (Peer("10.66.0.3", "c"), Peer("10.66.0.4", "d"))
LOCAL = "10.66.0.1:4000"


@pytest.mark.parametrize(
    ("mapped", "status", "code", "words"),
    [
        (LOCAL, Status.PASS, None, "come from 10.66.0.1, the address that they left from"),
        ("10.66.0.3:4000", Status.WARN, "overlay.translated", "from 10.66.0.1:4000 come from 10.66.0.3:4000"),
        ("10.66.0.1:4001", Status.WARN, "overlay.translated", "10.66.0.1:4001"),
        (None, Status.INCONCLUSIVE, "run.needs-responder", "does not say"),
    ],
)
def test_verdicts(mapped: str | None, status: Status, code: str | None, words: str) -> None:
    """A pass needs the very same address and port; a responder that does not know STUN proves nothing."""
    answer = StunAnswer("10.66.0.2:862", "10.66.0.2", local=LOCAL, mapped=mapped, why=None if mapped else "silent")
    result = judge(PEER, answer)
    assert (result.status, str(result.code) if result.code else None) == (status, code)
    assert words in result.message
    if status is Status.WARN:
        assert "grep -nE 'masquerade|snat'" in (result.remedy or "")


class Net:
    """Replaces `ctx.net`: which peers answer a question, by how often they were asked."""

    def __init__(self, answers: dict[str, list[bool]], mute: tuple[str, ...] = (), heard: tuple[str, ...] = ()) -> None:
        self.answers, self.path, self.stun, self.turns = answers, self, self, Turns()
        self.mute, self.heard = mute, heard

    def silent(self, peer: Peer) -> bool:
        """As PathProbes: who answered nothing in the last session."""
        return peer.name in self.mute

    def first(self, peer: Peer) -> StampStats | None:
        """As PathProbes: of those who have answered in this run."""
        return StampStats(sent=20, answered=4) if peer.name in self.heard else None

    def proven_silent(self, peer: Peer) -> None:
        """As PathProbes: nobody."""

    async def ask_peer(self, peer: Peer) -> StunAnswer:
        """The next answer."""
        mapped = LOCAL if self.answers[peer.name].pop(0) else None
        return StunAnswer(peer.target, peer.address, local=LOCAL, mapped=mapped, why=None if mapped else "silent")


def found(net: Net) -> dict[str, bool]:
    """Of which peers it is known what they see."""
    context = Context(Settings(), (PEER, *OTHERS), None, cast("Any", net))

    async def run() -> list[Result]:
        return [result async for result in overlay_translation.function(context)]

    return {result.target: result.status is Status.PASS for result in asyncio.run(run())}


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"b": [True], "c": [False, True], "d": [False, False]}, {"b": True, "c": True, "d": False}),
        # Where nobody knows the protocol, nobody is asked twice.
        ({"b": [False], "c": [False], "d": [False]}, {"b": False, "c": False, "d": False}),
    ],
)
def test_a_question_that_was_lost_among_others_is_asked_again(
    answers: dict[str, list[bool]], told: dict[str, bool]
) -> None:
    """On a slow line fifty questions at once are lost behind each other."""
    assert found(Net(answers)) == told
    assert not any(answers.values())


def test_who_has_answered_before_is_asked_again_after_a_lost_session() -> None:
    """On 200 kbit/s with a short queue whole sessions are lost: that does not show a responder without the protocol."""
    answers = {"b": [True], "c": [False, True], "d": [False]}
    net = Net(answers, mute=("c", "d"), heard=("b", "c"))
    assert found(net) == {"b": True, "c": True, "d": False}
