"""Membership as a state machine without I/O: look, join, send heartbeats until `leave` is called, leave.

`enroll` proves a whole enrolment within a time limit; a membership lasts. It repeats what may succeed later for as long
as it takes (back-off with jitter, `Retry-After` honoured); a refusal ends it.
Times are seconds of any one monotonic clock.
"""

from dataclasses import dataclass

from preflight.model.control import ControlError
from preflight.proto.control.answers import FORBIDDEN, NOT_FOUND, SERVER_ERROR, UNAUTHORIZED
from preflight.proto.control.backoff import delay_s, retriable
from preflight.proto.control.own_row import LEAVE_S, Answer, Call, OwnRow, State, Wait

CALL_S = 15.0
"""How long one request may take."""
AFTER = {
    State.LOOK: State.JOIN,
    State.JOIN: State.HEARTBEAT,
    State.HEARTBEAT: State.HEARTBEAT,
    State.LEAVE: State.DONE,
}
"""The next state after success. A refusal leads to `LEAVE`, or to `DONE` if there is no row to remove."""


@dataclass(frozen=True, slots=True)
class News:
    """News for the operator: the state in which it happened, and what."""

    state: State
    text: str


class Membership:
    """One membership of one row. interval_s: between heartbeats; 0: join only."""

    def __init__(self, row: OwnRow, *, interval_s: float, now: float) -> None:
        self.row = row
        self.state = State.LOOK
        self._interval_s = interval_s
        self._not_before = now
        self._leave_by: float | None = None
        self._failures = 0
        self._news: list[News] = []

    @property
    def must_leave(self) -> bool:
        """Whether there may be such a row, and leaving has not ended."""
        return self.row.may_be_listed and self.state is not State.DONE

    def next_action(self, now: float) -> Call | Wait | None:
        """What to do now; None when all is done."""
        if self.state is State.DONE:
            return None
        if now < self._not_before:
            return Wait(self._not_before)
        if self.state is State.JOIN:
            self.row.joining()
        left = CALL_S if self._leave_by is None else self._leave_by - now
        return Call(self.state, max(0.1, min(CALL_S, left)))

    def news(self) -> list[News]:
        """What happened since the last call."""
        news, self._news = self._news, []
        return news

    def succeeded(self, now: float, answer: Answer = None) -> None:
        """The call was answered with success."""
        if self.state is State.LOOK:
            self.row.avoid(answer)
        elif self.state is State.JOIN:
            self.row.joined(answer)
        elif self.state is State.LEAVE:
            self.row.left()
        self._tell_success()
        self._enter(AFTER[self.state], now)

    def failed(self, now: float, error: ControlError, random: float) -> None:
        """The call failed; it is repeated later if that may help. `random` in [0, 1)."""
        self._failures += 1
        if self.state is State.LEAVE and error.status == NOT_FOUND:
            self.row.left()
            self._tell("its row is gone already")
            self._enter(State.DONE, now)
            return
        if self.state is State.JOIN:
            self.row.join_failed(error)
        wait = delay_s(self._failures, error.retry_after_s, random)
        if not _passing(error):
            self._refused(now, error)
        elif self._leave_by is not None and now + wait >= self._leave_by:
            self._tell(f"its row may still be listed: {error.message}")
            self._enter(State.DONE, now)
        else:
            self._not_before = now + wait
            if self._failures == 1:
                self._tell(f"{error.message}; repeated until it is taken")

    def leave(self, now: float) -> None:
        """Stop: remove the row, if there may be one, within `LEAVE_S`."""
        if self.state not in (State.LEAVE, State.DONE):
            self._enter(State.LEAVE, now)

    def _refused(self, now: float, error: ControlError) -> None:
        if self.state is State.LOOK and error.status not in (UNAUTHORIZED, FORBIDDEN):
            # Without the list, the given id might be a living node's: use the random one.
            self.row.take_spare_id()
            self._enter(State.JOIN, now)
            return
        left = self.state is State.LEAVE
        self._tell(f"its row may still be listed: {error.message}" if left else f"given up: {error.message}")
        self._enter(State.DONE if left else State.LEAVE, now)

    def _enter(self, state: State, now: float) -> None:
        beating = state is State.HEARTBEAT
        if beating and not self._interval_s:
            self._not_before = float("inf")
        else:
            self._not_before = now + self._interval_s if beating else now
        self._failures = 0
        if state is State.LEAVE:
            state = state if self.must_leave else State.DONE
            self._leave_by = now + LEAVE_S
        self.state = state

    def _tell_success(self) -> None:
        if self.state is State.JOIN:
            self._tell(f"joined as {self.row.identity}")
        elif self.state is State.LEAVE:
            self._tell(f"{self.row.identity} left again")
        elif self._failures:
            self._tell(f"taken again after {self._failures} failed attempts")

    def _tell(self, text: str) -> None:
        self._news.append(News(self.state, text))


def _passing(error: ControlError) -> bool:
    """Whether waiting may help. A server's own error counts too: a drill may cause one."""
    return retriable(error) or (error.status is not None and error.status >= SERVER_ERROR)
