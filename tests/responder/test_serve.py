"""What runs in parallel with the listeners."""

import asyncio

import pytest

from preflight.net.host_state import clock_estimate
from preflight.proto.stamp import wire as stamp
from preflight.proto.stamp.reflector import SessionReflector
from preflight.proto.stamp.wire import ErrorEstimate
from preflight.responder import serve


def test_the_clock_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A responder that runs for months says what the kernel thinks of the clock now."""
    monkeypatch.setattr(serve, "CLOCK_S", 0.0)
    reflector = SessionReflector(error=ErrorEstimate(seconds=4321.0))
    request = stamp.build_request(0, 1, 1, 7)

    def estimate() -> ErrorEstimate:
        answer = reflector.handle(request, ("127.0.0.1", 1), received_ns=1, transmitted_ns=1, ttl=64)
        return stamp.parse_answer(answer).error

    async def until_it_differs(before: ErrorEstimate) -> None:
        keeper = asyncio.create_task(serve.keep_clock(reflector))
        while estimate() == before:
            assert not keeper.done()
            await asyncio.sleep(0)
        keeper.cancel()

    asyncio.run(until_it_differs(estimate()))
    assert estimate().synchronised == clock_estimate().synchronised
