"""overlay.translation: what the peer sees, against what was sent."""

import pytest
from preflight_checks.overlay_translation import judge

from preflight.api import Peer, Status
from preflight.model.stun import StunAnswer

PEER = Peer("10.66.0.2", "b")
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
