"""Enrolment as a state machine without I/O: exchange, store, look, join, two heartbeats, list, a lease, leave.

`TABLE` is the machine: for each state its step, what an answer must hold, and the next states. The shell performs the
call that `next_action` names and reports how it ended. Times are seconds of any one monotonic clock.

Repeats are safe: join, heartbeat and leave are idempotent, and an exchange is repeated with the same idempotency key.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from preflight.model.control import ControlError, Credential, NodeList
from preflight.model.event import Tell, silent
from preflight.proto.control.answers import FORBIDDEN, NOT_FOUND, UNAUTHORIZED
from preflight.proto.control.backoff import delay_s, retriable, unheard
from preflight.proto.control.own_row import LEAVE_S, Answer, Call, OwnRow, State, Wait

PATIENCE_S = 40.0
"""How long all steps but leaving may take together, repeats included."""
CUT_S = 3.0
"""How long one call is repeated whose list is cut short."""
LATER_S = 12.0
"""How long one call is repeated to a server that answers each attempt with `later`: a restart takes no longer."""
ATTEMPT_S = 2.0
"""No call is repeated in less time than this: its end would be ours, and would hide what the server said."""
HEARTBEAT_GAP_S = 0.5
"""Between the sending of two heartbeats, so that the second refreshes a row instead of arriving with the first."""


class Step(StrEnum):
    """What is reported: one result for each step."""

    BOOTSTRAP = "bootstrap"
    JOIN = "join"
    HEARTBEAT = "heartbeat"
    LISTED = "listed"
    LEASE = "lease"
    LEAVE = "leave"


Problem = Literal["refused", "scope-mismatch", "not-listed", "ran-out-of-time"]


@dataclass(frozen=True, slots=True)
class Transition:
    """One event: when (seconds since the start), in which state, and what."""

    at_s: float
    state: State
    event: str


@dataclass(slots=True)
class Outcome:
    """How one step went.

    problem: None if it succeeded. error: the last real answer, or the last error if there was none. ended_by: what came
    after that answer, such as our own time limit. lost_answer: the server may have carried out an attempt whose answer
    was lost.
    """

    step: Step
    began: float
    ended: float = 0.0
    problem: Problem | None = None
    error: ControlError | None = None
    ended_by: str = ""
    attempts: int = 1
    lost_answer: bool = False
    transitions: list[Transition] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    verify: reads the answer and returns the problem with it, if any. fatal: an error here ends the enrolment.
    last: the step ends with this state. pause_s: how long to wait from the call before to this one.
    """

    step: Step
    good: State
    bad: State
    verify: "Callable[[Enrolment, Answer], Problem | None] | None" = None
    fatal: bool = True
    last: bool = True
    pause_s: float = 0.0


class Enrolment:
    """One enrolment of one row, by `TABLE`, or another enrolment's table.

    row: the row to join. start: `EXCHANGE` to exchange a bootstrap token first, else `LOOK`.
    deadline: when everything except leaving must be done. `tell` hears each call and how it ended, never the answer's
    content.
    """

    def __init__(
        self,
        row: OwnRow,
        table: "Mapping[State, Row]",
        *,
        start: State,
        now: float,
        deadline: float,
        tell: Tell = silent,
    ) -> None:
        self.row = row
        self.state = start
        self.node_count = 0
        self.foreign_scope: str | None = None
        self.listed_scope: str | None = None
        self._table = table
        self._tell = tell
        self._may_list = False
        self._began = self._called = self._not_before = now
        self._deadline = self._ends = deadline
        self._attempt = 0
        self._answered: ControlError | None = None
        self._refused_since: float | None = None
        self._finished: list[Outcome] = []
        self._current = Outcome(table[start].step, began=now)

    def next_action(self, now: float) -> Call | Wait | None:
        """What to do now; None when all is done."""
        if self.state is State.DONE:
            return None
        if now < self._not_before:
            return Wait(self._not_before)
        if self.state is State.JOIN:
            self.row.joining()
        self._attempt += 1
        self._called = now
        call = Call(self.state, max(0.1, self._deadline - now))
        self._tell(now, "call", state=call.state, attempt=self._attempt, timeout_s=call.timeout_s)
        return call

    def finished(self) -> list[Outcome]:
        """The steps that have ended since the last call."""
        done, self._finished = self._finished, []
        return done

    @property
    def must_leave(self) -> bool:
        """Whether there may be such a row, and leaving has not ended."""
        return self.row.may_be_listed and self.state is not State.DONE

    def succeeded(self, now: float, answer: Answer = None) -> None:
        """The call was answered with success; the table says what the answer must hold."""
        row = self._table[self.state]
        self._answered = None
        if self.state is State.LEAVE:
            self.row.left()
        else:
            self._deadline = self._ends
        problem = row.verify(self, answer) if row.verify else None
        self._tell(now, "call-succeeded", state=self.state, problem=problem)
        self._note(now, problem or "done")
        if problem is not None:
            self._end_step(now, row.bad, problem)
        elif row.last:
            self._end_step(now, row.good)
        else:
            self._enter(now, row.good)

    def failed(self, now: float, error: ControlError, random: float) -> None:
        """The call failed; it is repeated later if that may help and there is time. `random` in [0, 1)."""
        if self.state in (State.LEAVE, State.RELEASE) and error.status == NOT_FOUND:
            self._gone(now)
            return
        self._remember(now, error)
        self._hurry(now, error)
        wait = delay_s(self._attempt, error.retry_after_s, random)
        self._tell_failure(now, error, wait)
        if not retriable(error) or self._is_final(error):
            self._note(now, error.message)
            self._give_up(now, error, self._kind_of(error))
        elif not self._in_time(now + wait):
            self._note(now, f"{error.message}; no time for another attempt")
            self._give_up(now, error, "ran-out-of-time")
        else:
            self._note(now, f"{error.message}; again in {wait:.2f} s")
            self._not_before = now + wait
            self._current.attempts += 1

    def hurry(self, now: float) -> None:
        """The present call is not worth another attempt."""
        self._deadline = min(self._deadline, now)

    def leave(self, now: float) -> None:
        """The run ends: only leaving is left to do."""
        self._tell(now, "ended-from-outside", state=self.state)
        self._note(now, "ended from outside")
        self._enter(now, State.LEAVE)

    def _tell_failure(self, now: float, error: ControlError, wait_s: float) -> None:
        again = retriable(error) and not self._is_final(error) and self._in_time(now + wait_s)
        self._tell(
            now,
            "call-failed",
            state=self.state,
            kind=error.kind,
            http_status=error.status,
            attempt=self._attempt,
            again_in_s=wait_s if again else None,
        )

    def _hurry(self, now: float, error: ControlError) -> None:
        """A list that is cut short is soon the reason; only silence, which a lossy path makes, gets all the time."""
        if error.status is None and error.decided.problem is not None and self.state in (State.LOOK, State.LIST):
            self._deadline = min(self._deadline, now + CUT_S)

    def _gone(self, now: float) -> None:
        """What the call gives back is gone already, such as by an attempt whose answer was lost."""
        leaving = self.state is State.LEAVE
        if leaving:
            self.row.left()
        self._note(now, "it is gone already")
        self._end_step(now, State.DONE if leaving else State.LEAVE)

    def _is_final(self, error: ControlError) -> bool:
        """Whether a 503 says that the control plane has no mesh token to give: then it names no time to come again.

        Some servers spend the one-time token on it, so the answer to a repeat would hide the reason.
        """
        spends = self.state is State.EXCHANGE and error.status == 503
        return spends and error.retry_after_s is None and error.by_control_plane

    def _in_time(self, moment: float) -> bool:
        """Whether an attempt that begins then has the time that it needs, and is worth it."""
        least_s = 0.0 if self.state is State.LEAVE else ATTEMPT_S
        since = moment if self._refused_since is None else self._refused_since
        return moment + least_s < self._deadline and moment - since <= LATER_S

    def _remember(self, now: float, error: ControlError) -> None:
        """Remember the last real answer, and what the server may have done although its answer was lost."""
        if error.status is not None:
            self._answered = error
            self._refused_since = now if self._refused_since is None else self._refused_since
        self._current.lost_answer |= unheard(error) and self.state is not State.STORE
        if self.state is State.JOIN:
            self.row.join_failed(error)

    def _kind_of(self, error: ControlError) -> Problem:
        """A role that may list nodes may also join, so a 403 after a good list is about the scope."""
        scoped = self.state in (State.JOIN, State.HEARTBEAT, State.HEARTBEAT_AGAIN)
        about_scope = self._may_list or "scope" in error.message.lower()
        return "scope-mismatch" if error.status == FORBIDDEN and scoped and about_scope else "refused"

    def _give_up(self, now: float, error: ControlError, problem: Problem) -> None:
        row = self._table[self.state]
        if row.fatal or error.status in (UNAUTHORIZED, FORBIDDEN):
            self._end_step(now, row.bad, problem, error)
            return
        # Without the list, the given id might be a living node's: use the random one.
        self.row.take_spare_id()
        self._enter(now, row.good)

    def _end_step(
        self, now: float, state: State, problem: Problem | None = None, error: ControlError | None = None
    ) -> None:
        outcome = self._current
        outcome.ended, outcome.problem, outcome.error = now, problem, error
        answered, self._answered = self._answered, None
        if error is not None and error.kind == "timeout" and answered is not None:
            outcome.error, outcome.ended_by = answered, f"after that {error.message}"
        self._finished.append(outcome)
        self._tell(now, "step-ended", step=outcome.step, problem=problem, attempts=outcome.attempts, next=state)
        self._enter(now, state)

    def _enter(self, now: float, state: State) -> None:
        if state is State.GRANT and (self.row.is_spare or self.row.existed_before):
            state = State.LEAVE  # a row in maintenance gets no lease, and one that was there may hold its own
        if state is State.LEAVE:
            self._deadline = now + LEAVE_S
            state = state if self.must_leave else State.DONE
        self.state, self._attempt, self._refused_since = state, 0, None
        if state is State.DONE:
            return
        if self._table[state].step is not self._current.step:
            self._current = Outcome(self._table[state].step, began=now)
        self._not_before = max(now, self._called + self._table[state].pause_s)
        if state is State.LOOK and self.foreign_scope is not None:
            self._note(now, f"the credential is for the scope {self.foreign_scope}")
            self._end_step(now, State.DONE, "scope-mismatch")

    def _note(self, now: float, event: str) -> None:
        self._current.transitions.append(Transition(round(now - self._began, 3), self.state, event))

    def _read_credential(self, answer: Answer) -> Problem | None:
        """The exchange returns the scope; if the settings differ, the join step fails before any join is sent."""
        offered = answer.scope_id if isinstance(answer, Credential) else None
        if offered and self.row.scope_id and offered != self.row.scope_id:
            self.foreign_scope = offered
        self.row.scope_id = self.row.scope_id or offered
        return None

    def _look_for_own_id(self, answer: Answer) -> Problem | None:
        self._may_list = True
        listed = {node.scope_id for node in answer.nodes} if isinstance(answer, NodeList) else set()
        self.listed_scope = next(iter(listed)) if len(listed) == 1 else None
        self.row.avoid(answer)
        return None

    def _read_own_row(self, answer: Answer) -> Problem | None:
        self.row.joined(answer)
        return None

    def _read_lease(self, answer: Answer) -> Problem | None:
        self.row.lease_id = answer if isinstance(answer, str) else ""
        return None

    def _find_own_row(self, answer: Answer) -> Problem | None:
        nodes = answer.nodes if isinstance(answer, NodeList) else ()
        self.node_count = len(nodes)
        return None if any(node.id == self.row.identity for node in nodes) else "not-listed"


TABLE: dict[State, Row] = {
    State.EXCHANGE: Row(Step.BOOTSTRAP, State.STORE, State.DONE, Enrolment._read_credential, last=False),
    State.STORE: Row(Step.BOOTSTRAP, State.LOOK, State.DONE),
    State.LOOK: Row(Step.JOIN, State.JOIN, State.DONE, Enrolment._look_for_own_id, fatal=False, last=False),
    State.JOIN: Row(Step.JOIN, State.HEARTBEAT, State.LEAVE, Enrolment._read_own_row),
    State.HEARTBEAT: Row(Step.HEARTBEAT, State.HEARTBEAT_AGAIN, State.LEAVE, last=False),
    State.HEARTBEAT_AGAIN: Row(Step.HEARTBEAT, State.LIST, State.LEAVE, pause_s=HEARTBEAT_GAP_S),
    State.LIST: Row(Step.LISTED, State.GRANT, State.LEAVE, Enrolment._find_own_row),
    State.GRANT: Row(Step.LEASE, State.RENEW, State.LEAVE, Enrolment._read_lease, last=False),
    State.RENEW: Row(Step.LEASE, State.RELEASE, State.LEAVE, last=False),
    State.RELEASE: Row(Step.LEASE, State.LEAVE, State.LEAVE),
    State.LEAVE: Row(Step.LEAVE, State.DONE, State.DONE),
}
"""A whole enrolment."""
SCOPE_TRIAL: dict[State, Row] = {
    State.LOOK: Row(Step.JOIN, State.JOIN, State.DONE, Enrolment._look_for_own_id, last=False),
    State.JOIN: Row(Step.JOIN, State.LEAVE, State.LEAVE),
    State.LEAVE: Row(Step.LEAVE, State.DONE, State.DONE),
}
"""Join and leave. A token that may not list nodes may not join either, so its 403 would say nothing of the scope."""
