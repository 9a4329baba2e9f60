"""A limit that delays requests in quick succession is separated from a slow server."""

import asyncio

import pytest

from preflight.model.control import ControlError, HttpAnswer
from preflight.net.control import held_back
from preflight.net.control.pace import Pace
from preflight.proto.control.gateways import holds_back


class Client:
    """Answers `/health` in the given times."""

    def __init__(self, *times_ms: float) -> None:
        self.times_ms, self.pace = list(times_ms), Pace()

    async def health(self, timeout_s: float) -> HttpAnswer:
        """The next answer, or none."""
        if not self.times_ms:
            raise ControlError("timeout", None, f"no answer within {timeout_s} s")
        return HttpAnswer(200, {}, b"ok", self.times_ms.pop(0), 0.0, 0.0, connected=False)


@pytest.mark.parametrize(
    ("times_ms", "limit"),
    [
        ((1.0, 490.0), True),
        ((490.0, 490.0), False),
        ((1.0, 1.0), False),
        ((300.0, 490.0), False),
        ((1.0,), False),
    ],
)
def test_quick_after_a_pause_and_slow_again(
    times_ms: tuple[float, ...], limit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is slow stays so after a pause, and one that has recovered is quick both times."""
    monkeypatch.setattr(held_back, "PAUSE_S", 0.0)
    client = Client(*times_ms)
    rested = asyncio.run(held_back.held_back(client, 490.0))  # type: ignore[arg-type]
    assert (rested is not None) is limit
    assert client.pace.limited is limit
    assert "2.0 a second" in holds_back(490.0)
