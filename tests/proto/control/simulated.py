"""A registry without sockets and an enrolment on a simulated clock, for the tests of the machine."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from preflight.model.control import ControlError, Credential, NodeList, NodeRecord
from preflight.model.event import Tell, silent
from preflight.proto.control.backoff import AMBIGUOUS
from preflight.proto.control.enroll import PATIENCE_S, TABLE, Enrolment, Outcome, Row
from preflight.proto.control.own_row import Answer, Call, OwnRow, State, Wait


def status(code: int, text: str = "", retry_after_s: float | None = None) -> ControlError:
    return ControlError("status", code, text or f"answered {code}", retry_after_s)


def lost() -> ControlError:
    return ControlError("timeout", None, "no answer")


def row(node_id: str, **fields: Any) -> NodeRecord:
    return NodeRecord(node_id, "1", 5, {"id": node_id, **fields})


@dataclass
class Server:
    """A registry that does what the contract says, except where `mishap` says what a call meets instead.

    An error with a status comes instead of the effect; one without is a lost answer: the effect is there.
    """

    mishap: Callable[[State, int], ControlError | None] = lambda state, attempt: None
    rows: dict[str, NodeRecord] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    scope: str = "lab"
    calls: list[State] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)
    leases: list[str] = field(default_factory=list)

    def perform(self, state: State, machine: Enrolment) -> Answer:
        """Do what a call asks for, unless something happens to it."""
        self.calls.append(state)
        error = self.mishap(state, self.calls.count(state))
        if error is not None and (error.status is not None or error.kind not in AMBIGUOUS):
            raise error
        answer = self._effect(state, machine)
        if error is not None:
            raise error
        return answer

    def _effect(self, state: State, machine: Enrolment) -> Answer:
        if state is State.EXCHANGE:
            return Credential(SecretStr("bought"), self.scope)
        if state in (State.LOOK, State.LIST):
            return NodeList(1, tuple(node for id, node in self.rows.items() if id not in self.hidden))
        if state in (State.JOIN, State.HEARTBEAT, State.HEARTBEAT_AGAIN):
            self.touched.append(machine.row.identity)
            kept = self.rows.get(machine.row.identity)
            return self.rows.setdefault(machine.row.identity, kept or row(machine.row.identity))
        if state is State.GRANT:
            self.leases.append(machine.row.identity)
            return "7"
        if state is State.RELEASE:
            assert machine.row.lease_id == "7"
            if machine.row.identity not in self.leases:
                raise status(404)
            self.leases.remove(machine.row.identity)
        if state is State.LEAVE:
            self.touched.append(machine.row.identity)
            if self.rows.pop(machine.row.identity, None) is None:
                raise status(404)
        return None


@dataclass
class Run:
    """One whole enrolment on a simulated clock; `stop_at` ends it from outside before that state."""

    server: Server
    node_id: str | None = None
    scope_id: str | None = None
    bootstrap: bool = True
    table: dict[State, Row] = field(default_factory=lambda: TABLE)
    random: Callable[[], float] = lambda: 0.5
    call_s: float = 0.01
    now: float = 100.0
    tell: Tell = silent
    waits: list[float] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.machine = Enrolment(
            OwnRow(self.node_id, "spare", self.scope_id),
            self.table,
            start=State.EXCHANGE if self.bootstrap else State.LOOK,
            now=self.now,
            deadline=self.now + PATIENCE_S,
            tell=self.tell,
        )

    def drive(self, stop_at: State | None = None) -> "Run":
        """Until all is done."""
        for _ in range(1000):
            action = self.machine.next_action(self.now)
            if action is None:
                return self
            if isinstance(action, Wait):
                self.waits.append(action.until - self.now)
                self.now = action.until
                continue
            if stop_at is not None and action.state is stop_at:
                self.server.perform(action.state, self.machine)  # sent, and nobody hears the answer
                self.machine.leave(self.now)
                stop_at = None
                continue
            self._call(action)
            self.outcomes += self.machine.finished()
        raise AssertionError("the enrolment does not end")

    def _call(self, call: Call) -> None:
        """As the shell does it: an answer that takes longer than the call may is not heard."""
        self.now += min(self.call_s, call.timeout_s)
        try:
            answer = self.server.perform(call.state, self.machine)
            if self.call_s > call.timeout_s:
                raise lost()
        except ControlError as error:
            self.machine.failed(self.now, error, self.random())
        else:
            self.machine.succeeded(self.now, answer)

    def problems(self) -> dict[str, str | None]:
        """The steps that ended, and what was wrong with them."""
        return {outcome.step.value: outcome.problem for outcome in self.outcomes}


GOOD = dict.fromkeys(["bootstrap", "join", "heartbeat", "listed", "leave"])
"""All steps of a row under the random id, which is in maintenance and gets no lease."""
GOOD_WITH_LEASE = dict.fromkeys([*list(GOOD)[:-1], "lease", "leave"])
"""All steps of a row under the id of the settings."""


def always(state: State, error: ControlError) -> Callable[[State, int], ControlError | None]:
    return lambda called, attempt: error if called is state else None
