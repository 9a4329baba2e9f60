"""The driver of the enrolment machines, with machines that are data: no control plane, no waiting."""

import asyncio
from dataclasses import dataclass, field

import pytest

from preflight.model.control import ControlError, NodeList
from preflight.net.control.drive import leave, spare_id, step
from preflight.proto.control.own_row import Answer, Call, State, Wait

EMPTY = NodeList(1, ())


@dataclass
class Script:
    """A machine that asks for the given actions and keeps what the driver reports."""

    actions: list[Call | Wait]
    reported: list[object] = field(default_factory=list)

    def next_action(self, now: float) -> Call | Wait | None:
        """The next action, whatever the time."""
        return self.actions.pop(0) if self.actions else None

    def succeeded(self, now: float, answer: Answer) -> None:
        """Keep the answer."""
        self.reported.append(answer)

    def failed(self, now: float, error: ControlError, random: float) -> None:
        """Keep what kind of error it was."""
        assert 0 <= random < 1
        self.reported.append(error.kind)

    def leave(self, now: float) -> None:
        """Keep that leaving began."""
        self.reported.append("leave")


async def perform(state: State) -> Answer:
    """A good list, a refused join, a leave that nobody answers."""
    if state is State.JOIN:
        raise ControlError("refused", None, "refused")
    if state is State.LEAVE:
        await asyncio.Event().wait()
    return EMPTY


def test_each_outcome_reaches_the_machine() -> None:
    """An answer, an error and no answer in time: one report each, and a wait that has passed costs nothing."""
    script = Script([Wait(0.0), Call(State.LOOK, 1.0), Call(State.JOIN, 1.0), Call(State.LEAVE, 0.01)])

    async def run() -> int:
        steps = 0
        while await step(script, perform):
            steps += 1
        return steps

    assert asyncio.run(run()) == 4
    assert script.reported == [EMPTY, "refused", "timeout"]


def test_no_cancellation_stops_leaving() -> None:
    """Ctrl-C, twice, during the leave: the leave completes, and the cancellation goes on afterwards."""
    script = Script([Call(State.LEAVE, 60.0), Call(State.LOOK, 60.0)])
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(state: State) -> Answer:
        asked.set()
        await answer.wait()
        return None

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await leave(script, slow)

    async def run() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        await asked.wait()
        task.cancel()
        await asyncio.sleep(0)
        answer.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert script.reported == ["leave", None, None]


def test_spare_ids_differ() -> None:
    """Two runs of one host never take each other's row for theirs."""
    assert spare_id() != spare_id()
    assert spare_id().startswith("preflight-")
