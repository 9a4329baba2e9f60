"""Enrolment as a state machine without I/O: exchange, store, look, join, two heartbeats, list, leave.

`TABLE` is the machine: for each state the step that it belongs to, what an answer must hold, and where to go. The shell
performs the call that `next_action` names and tells how it ended; times are seconds of any one monotonic clock.

Repeats are safe: join, heartbeat and leave are idempotent, and an exchange is repeated with the same idempotency key.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from preflight.model.control import ControlError, Credential, NodeList, NodeRecord, NotHttpError
from preflight.model.event import Tell, silent
from preflight.proto.control.backoff import delay_s

UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 401, 403, 404
PATIENCE_S = 40.0
"""How long all steps but leaving may take together, repeats included."""
LEAVE_S = 10.0
"""How long leaving may take, whatever time the steps before it used up."""
HEARTBEAT_GAP_S = 0.5
"""Between the two heartbeats, so that the second refreshes a row instead of arriving with the first."""
RETRIABLE_STATUS = frozenset({429, 502, 503, 504})
"""`Later`, and what a reverse proxy says while the server behind it restarts."""
TRANSPORT = frozenset({"dns", "refused", "unreachable", "timeout", "protocol"})
AMBIGUOUS = frozenset({"unreachable", "timeout", "protocol"})
"""Errors after which the server may have done what it was asked to."""
GATEWAY_STATUS = frozenset({502, 504})
"""A proxy's word for the same: it lost the server behind it, or the server's answer."""


class Step(StrEnum):
    """What is reported: one result for each."""

    BOOTSTRAP = "bootstrap"
    JOIN = "join"
    HEARTBEAT = "heartbeat"
    LISTED = "listed"
    LEAVE = "leave"


class State(StrEnum):
    """What is done."""

    EXCHANGE = "exchange"
    STORE = "store"
    LOOK = "look"
    JOIN = "join"
    HEARTBEAT = "heartbeat"
    HEARTBEAT_AGAIN = "heartbeat-again"
    LIST = "list"
    LEAVE = "leave"
    DONE = "done"


Problem = Literal["refused", "scope-mismatch", "not-listed", "ran-out-of-time"]
Answer = Credential | NodeRecord | NodeList | None


@dataclass(frozen=True, slots=True)
class Call:
    """Perform `state` now, within `timeout_s`, then tell by `succeeded` or `failed`."""

    state: State
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until`."""

    until: float


@dataclass(frozen=True, slots=True)
class Transition:
    """One thing that happened: when (seconds since the start), in which state, and what."""

    at_s: float
    state: State
    event: str


@dataclass(slots=True)
class Outcome:
    """How one step went. `problem` None: well. `lost_answer`: an attempt may have been carried out unheard."""

    step: Step
    began: float
    ended: float = 0.0
    problem: Problem | None = None
    error: ControlError | None = None
    attempts: int = 1
    lost_answer: bool = False
    transitions: list[Transition] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    verify: reads the answer and gives the problem with it, if there is one. fatal: an error here ends the enrolment.
    last: the step ends with this state. pause_s: what is waited before the call.
    """

    step: Step
    good: State
    bad: State
    verify: "Callable[[Enrolment, Answer], Problem | None] | None" = None
    fatal: bool = True
    last: bool = True
    pause_s: float = 0.0


class Enrolment:
    """One enrolment of one identity.

    node_id: the id that the settings give, used only if no node of that id is listed: a join would replace a living
    node's row, and leaving would remove it. spare_id: a random id, used otherwise. scope_id: what the settings demand.
    bootstrap: whether a token is to be exchanged first. deadline: when all but leaving must be done. tell: hears each
    call and how it ended, never what an answer says.
    """

    def __init__(
        self,
        *,
        node_id: str | None,
        spare_id: str,
        scope_id: str | None,
        bootstrap: bool,
        now: float,
        deadline: float,
        tell: Tell = silent,
    ) -> None:
        self.identity = node_id or spare_id
        self.scope_id = scope_id
        self.state = State.EXCHANGE if bootstrap else State.LOOK
        self.identity_taken = False
        self.existed_before = False
        self.listed: NodeRecord | None = None
        self.node_count = 0
        self.foreign_scope: str | None = None
        self._tell = tell
        self._spare_id = spare_id
        self._may_list = False
        self._joined: Literal["no", "asked", "maybe", "yes", "left"] = "no"
        self._began = self._not_before = now
        self._deadline = deadline
        self._attempt = 0
        self._finished: list[Outcome] = []
        self._current = Outcome(TABLE[self.state].step, began=now)

    def next_action(self, now: float) -> Call | Wait | None:
        """What to do now; None when all is done."""
        if self.state is State.DONE:
            return None
        if now < self._not_before:
            return Wait(self._not_before)
        if self.state is State.JOIN and self._joined == "no":
            self._joined = "asked"
        self._attempt += 1
        call = Call(self.state, max(0.1, self._deadline - now))
        self._tell(now, "call", state=call.state, attempt=self._attempt, timeout_s=call.timeout_s)
        return call

    def finished(self) -> list[Outcome]:
        """The steps that have ended since the last call."""
        done, self._finished = self._finished, []
        return done

    @property
    def may_be_listed(self) -> bool:
        """Whether a row may be there that this enrolment put there."""
        return self._joined not in ("no", "left") and not self.existed_before

    @property
    def must_leave(self) -> bool:
        """Whether there is such a row, and leaving was not tried to its end."""
        return self.may_be_listed and self.state is not State.DONE

    def succeeded(self, now: float, answer: Answer = None) -> None:
        """The call was answered with success; whether the answer is a good one, the table knows."""
        row = TABLE[self.state]
        if self.state is State.JOIN:
            self._joined = "yes"
        elif self.state is State.LEAVE:
            self._joined = "left"
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
        """The call gave an error; it is repeated later if a repeat may help and there is time. `random` in [0, 1)."""
        if self.state is State.LEAVE and error.status == NOT_FOUND:
            self._joined = "left"
            self._note(now, "the row is gone already")
            self._end_step(now, State.DONE)
            return
        self._remember(error)
        wait = delay_s(self._attempt, error.retry_after_s, random)
        self._tell_failure(now, error, wait)
        if not retriable(error):
            self._note(now, error.message)
            self._give_up(now, error, self._kind_of(error))
        elif now + wait >= self._deadline:
            self._note(now, f"{error.message}; no time for another attempt")
            self._give_up(now, error, "ran-out-of-time")
        else:
            self._note(now, f"{error.message}; again in {wait:.2f} s")
            self._not_before = now + wait
            self._current.attempts += 1

    def abort(self, now: float) -> None:
        """The run ends here: all that is left to do is to leave."""
        self._tell(now, "ended-from-outside", state=self.state)
        self._note(now, "ended from outside")
        self._enter(now, State.LEAVE)

    def _tell_failure(self, now: float, error: ControlError, wait_s: float) -> None:
        again = retriable(error) and now + wait_s < self._deadline
        self._tell(
            now,
            "call-failed",
            state=self.state,
            kind=error.kind,
            http_status=error.status,
            attempt=self._attempt,
            again_in_s=wait_s if again else None,
        )

    def _remember(self, error: ControlError) -> None:
        """Keep in mind what the server may have done without our hearing of it."""
        self._current.lost_answer |= unheard(error) and self.state is not State.STORE
        if self.state is State.JOIN and self._joined != "yes":
            self._joined = "maybe" if unheard(error) or self._joined == "maybe" else "no"

    def _kind_of(self, error: ControlError) -> Problem:
        """Whose role may list nodes may join them, so a 403 behind a good list is about the scope."""
        scoped = self.state in (State.JOIN, State.HEARTBEAT, State.HEARTBEAT_AGAIN)
        about_scope = self._may_list or "scope" in error.message.lower()
        return "scope-mismatch" if error.status == FORBIDDEN and scoped and about_scope else "refused"

    def _give_up(self, now: float, error: ControlError, problem: Problem) -> None:
        row = TABLE[self.state]
        if row.fatal or error.status in (UNAUTHORIZED, FORBIDDEN):
            self._end_step(now, row.bad, problem, error)
            return
        # The list cannot be seen, so the given id might be a living node's: take one that is nobody's.
        self._take_spare_id()
        self._enter(now, row.good)

    def _end_step(
        self, now: float, state: State, problem: Problem | None = None, error: ControlError | None = None
    ) -> None:
        outcome = self._current
        outcome.ended, outcome.problem, outcome.error = now, problem, error
        self._finished.append(outcome)
        self._tell(now, "step-ended", step=outcome.step, problem=problem, attempts=outcome.attempts, next=state)
        self._enter(now, state)

    def _enter(self, now: float, state: State) -> None:
        if state is State.LEAVE:
            self._deadline = now + LEAVE_S
            state = state if self.must_leave else State.DONE
        self.state, self._attempt = state, 0
        if state is State.DONE:
            return
        if TABLE[state].step is not self._current.step:
            self._current = Outcome(TABLE[state].step, began=now)
        self._not_before = now + TABLE[state].pause_s
        if state is State.LOOK and self.foreign_scope is not None:
            self._note(now, f"the credential is for the scope {self.foreign_scope}")
            self._end_step(now, State.DONE, "scope-mismatch")

    def _note(self, now: float, event: str) -> None:
        self._current.transitions.append(Transition(round(now - self._began, 3), self.state, event))

    def _take_spare_id(self) -> None:
        self.identity_taken = self.identity_taken or self.identity != self._spare_id
        self.identity = self._spare_id

    def _read_credential(self, answer: Answer) -> Problem | None:
        """The exchange tells the scope; a difference to the settings fails the join, before anything is joined."""
        offered = answer.scope_id if isinstance(answer, Credential) else None
        if offered and self.scope_id and offered != self.scope_id:
            self.foreign_scope = offered
        self.scope_id = self.scope_id or offered
        return None

    def _look_for_own_id(self, answer: Answer) -> Problem | None:
        self._may_list = True
        if isinstance(answer, NodeList) and any(node.id == self.identity for node in answer.nodes):
            self._take_spare_id()
        return None

    def _read_own_row(self, answer: Answer) -> Problem | None:
        """A row that kept a quarantine or a drain was there before, hidden from the list: it must not be removed."""
        if isinstance(answer, NodeRecord) and self.identity != self._spare_id:
            self.existed_before = answer.quarantined or answer.draining
        return None

    def _find_own_row(self, answer: Answer) -> Problem | None:
        nodes = answer.nodes if isinstance(answer, NodeList) else ()
        self.node_count = len(nodes)
        self.listed = next((node for node in nodes if node.id == self.identity), None)
        return None if self.listed else "not-listed"


def retriable(error: ControlError) -> bool:
    """Whether a repeat may help: the server says `later`, or no answer came."""
    if error.status is not None:
        return error.status in RETRIABLE_STATUS
    return error.kind in TRANSPORT and not isinstance(error, NotHttpError)


def spare_prefix(host: str) -> str:
    """What the ids of rows that are only tried out begin with on this host: `preflight-<host>`."""
    return f"preflight-{re.sub(r'[^a-z0-9-]+', '-', host.lower()).strip('-')[:40] or 'node'}"


def unheard(error: ControlError) -> bool:
    """Whether the server may have done what it was asked to, and its answer was lost or cannot be read."""
    return error.kind in AMBIGUOUS or error.status in GATEWAY_STATUS


TABLE: dict[State, Row] = {
    State.EXCHANGE: Row(Step.BOOTSTRAP, State.STORE, State.DONE, Enrolment._read_credential, last=False),
    State.STORE: Row(Step.BOOTSTRAP, State.LOOK, State.DONE),
    State.LOOK: Row(Step.JOIN, State.JOIN, State.DONE, Enrolment._look_for_own_id, fatal=False, last=False),
    State.JOIN: Row(Step.JOIN, State.HEARTBEAT, State.LEAVE, Enrolment._read_own_row),
    State.HEARTBEAT: Row(Step.HEARTBEAT, State.HEARTBEAT_AGAIN, State.LEAVE, last=False),
    State.HEARTBEAT_AGAIN: Row(Step.HEARTBEAT, State.LIST, State.LEAVE, pause_s=HEARTBEAT_GAP_S),
    State.LIST: Row(Step.LISTED, State.LEAVE, State.LEAVE, Enrolment._find_own_row),
    State.LEAVE: Row(Step.LEAVE, State.DONE, State.DONE),
}
