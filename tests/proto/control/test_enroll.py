"""The enrolment's state machine against a simulated server and clock: no socket, no waiting."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from preflight.model.control import ControlError, Credential, NodeList, NodeRecord, NotHttpError
from preflight.proto.control.backoff import AMBIGUOUS
from preflight.proto.control.enroll import PATIENCE_S, SCOPE_TRIAL, TABLE, Enrolment, Outcome, Row, Step
from preflight.proto.control.own_row import LEAVE_S, Answer, Call, OwnRow, State, Wait


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
        if state is State.LEAVE:
            self.touched.append(machine.row.identity)
            if self.rows.pop(machine.row.identity, None) is None:
                raise status(404)
        return None


@dataclass
class Run:
    """One enrolment driven to its end on a simulated clock; `stop_at` ends it from outside before that state."""

    server: Server
    node_id: str | None = None
    scope_id: str | None = None
    bootstrap: bool = True
    table: dict[State, Row] = field(default_factory=lambda: TABLE)
    random: Callable[[], float] = lambda: 0.5
    call_s: float = 0.01
    now: float = 100.0
    waits: list[float] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.machine = Enrolment(
            OwnRow(self.node_id, "spare", self.scope_id),
            self.table,
            start=State.EXCHANGE if self.bootstrap else State.LOOK,
            now=self.now,
            deadline=self.now + PATIENCE_S,
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


def once(state: State, *errors: ControlError) -> Callable[[State, int], ControlError | None]:
    """The first calls of a state meet these errors, one each."""
    return lambda called, attempt: errors[attempt - 1] if called is state and attempt <= len(errors) else None


def always(state: State, error: ControlError) -> Callable[[State, int], ControlError | None]:
    return lambda called, attempt: error if called is state else None


def test_all_well() -> None:
    """Bootstrap, join, two heartbeats, listed, leave: and nothing stays behind."""
    run = Run(Server()).drive()
    assert run.problems() == GOOD
    assert run.server.calls == [state for state in State if state is not State.DONE]
    assert run.server.rows == {}
    assert all(outcome.attempts == 1 for outcome in run.outcomes)
    assert run.machine.row.scope_id == "lab"


def test_without_a_bootstrap_token_nothing_is_exchanged() -> None:
    """A token is spent only where one was given."""
    run = Run(Server(), bootstrap=False).drive()
    assert State.EXCHANGE not in run.server.calls
    assert State.STORE not in run.server.calls
    assert run.problems() == {key: None for key in GOOD if key != "bootstrap"}


@pytest.mark.parametrize("state", [state for state in TABLE if state is not State.STORE])
@pytest.mark.parametrize(
    "error",
    [
        lost(),
        status(429),
        status(503),
        status(502),
        ControlError("protocol", None, "reset"),
        ControlError("dns", None, "x"),
    ],
    ids=lambda error: f"{error.kind}-{error.status}",
)
def test_one_mishap_anywhere_is_survived(state: State, error: ControlError) -> None:
    """Lost answers, `later` and broken connections are repeated, in every state; the step says how often it tried."""
    run = Run(Server(once(state, error))).drive()
    assert run.problems() == GOOD
    assert next(o for o in run.outcomes if o.step is TABLE[state].step).attempts == 2
    assert run.server.rows == {}


def test_retry_after_is_honoured() -> None:
    """The server's word is waited for, never hammered."""
    run = Run(Server(once(State.JOIN, status(429, "later", 7.0), status(429, "later", 3.0)))).drive()
    assert run.problems() == GOOD
    assert [wait for wait in run.waits if wait > 1] == [pytest.approx(7.25), pytest.approx(3.5)]


def test_a_retry_after_beyond_the_deadline_ends_the_step_at_once() -> None:
    """No waiting for what can no longer come in time."""
    run = Run(Server(always(State.JOIN, status(503, "later", 3600.0)))).drive()
    assert run.problems() == {"bootstrap": None, "join": "ran-out-of-time"}
    assert run.waits == []


def test_endless_throttling_is_bounded_by_the_deadline() -> None:
    """A server that always says `later` costs the patience and a handful of requests."""
    run = Run(Server(always(State.JOIN, status(429)))).drive()
    assert run.problems()["join"] == "ran-out-of-time"
    assert run.now - 100.0 <= PATIENCE_S
    assert run.server.calls.count(State.JOIN) <= 12


@pytest.mark.parametrize(
    ("state", "error", "step", "problem"),
    [
        (State.EXCHANGE, status(404), "bootstrap", "refused"),
        (State.EXCHANGE, status(401), "bootstrap", "refused"),
        (State.EXCHANGE, status(410), "bootstrap", "refused"),
        (State.EXCHANGE, status(403, "scope"), "bootstrap", "refused"),
        (State.STORE, ControlError("protocol", 200, "disk full"), "bootstrap", "refused"),
        (State.LOOK, status(401), "join", "refused"),
        (State.LOOK, status(403), "join", "refused"),
        (State.JOIN, status(403), "join", "scope-mismatch"),
        (State.JOIN, status(422), "join", "refused"),
        (State.JOIN, status(500), "join", "refused"),
        (State.JOIN, ControlError("tls", None, "expired"), "join", "refused"),
        (State.JOIN, NotHttpError("SSH"), "join", "refused"),
        (State.HEARTBEAT, status(500), "heartbeat", "refused"),
        (State.HEARTBEAT_AGAIN, status(500), "heartbeat", "refused"),
        (State.HEARTBEAT_AGAIN, status(403), "heartbeat", "scope-mismatch"),
        (State.LIST, status(500), "listed", "refused"),
        (State.LEAVE, status(500), "leave", "refused"),
    ],
)
def test_refusals(state: State, error: ControlError, step: str, problem: str) -> None:
    """A refusal is not repeated; it is told of its own step; whatever was joined is left again."""
    run = Run(Server(always(state, error))).drive()
    problems = run.problems()
    assert problems[step] == problem
    assert [name for name, found in problems.items() if found] == [step]
    assert run.server.calls.count(state) == 1
    assert run.server.rows == {} or state is State.LEAVE


def test_a_failing_step_is_followed_by_leaving_and_nothing_else() -> None:
    """After a failed heartbeat only the clean-up goes on."""
    run = Run(Server(always(State.HEARTBEAT, status(500)))).drive()
    assert [outcome.step for outcome in run.outcomes] == [Step.BOOTSTRAP, Step.JOIN, Step.HEARTBEAT, Step.LEAVE]


def test_a_join_that_was_never_heard_of_is_left_too() -> None:
    """All answers lost: the row may be there, so leaving is tried; it is."""
    run = Run(Server(always(State.JOIN, lost())), call_s=9.0).drive()
    assert run.problems() == {"bootstrap": None, "join": "ran-out-of-time", "leave": None}
    assert run.server.rows == {}


def test_a_refused_connection_leaves_nothing_to_leave() -> None:
    """A connection that was refused carried no join."""
    run = Run(Server(always(State.JOIN, ControlError("refused", None, "refused")))).drive()
    assert run.problems() == {"bootstrap": None, "join": "ran-out-of-time"}
    assert State.LEAVE not in run.server.calls


def test_a_row_that_is_gone_is_left() -> None:
    """A server that lost its memory has nothing left to remove."""
    run = Run(Server(always(State.LEAVE, status(404)))).drive()
    assert run.problems() == GOOD


def test_a_foreign_scope_stops_before_the_join() -> None:
    """The exchange told another scope than the settings: the credential is kept, and nothing is joined."""
    run = Run(Server(scope="theirs"), scope_id="mine").drive()
    assert run.problems() == {"bootstrap": None, "join": "scope-mismatch"}
    assert run.server.calls == [State.EXCHANGE, State.STORE]
    assert run.machine.foreign_scope == "theirs"


def test_not_listed() -> None:
    """A node that joined and does not show is a finding, and is left."""
    run = Run(Server(hidden=frozenset({"spare"}))).drive()
    assert run.problems() == {**GOOD, "listed": "not-listed"}
    assert run.server.rows == {}


def test_a_living_node_is_never_touched() -> None:
    """The id of the settings is listed: the random one is used, and the living row is as before."""
    alive = row("node-a", capabilities={"gpu": 8})
    run = Run(Server(rows={"node-a": alive}), node_id="node-a").drive()
    assert run.problems() == GOOD
    assert run.server.rows == {"node-a": alive}
    assert set(run.server.touched) == {"spare"}
    assert run.machine.row.identity_taken


def test_a_list_that_cannot_be_seen_leads_to_the_random_id() -> None:
    """Not knowing whether the id lives, the machine takes the one that cannot do harm."""
    run = Run(Server(always(State.LOOK, status(500))), node_id="node-a").drive()
    assert run.problems() == GOOD
    assert set(run.server.touched) == {"spare"}


def test_a_hidden_row_with_a_quarantine_is_not_removed() -> None:
    """Pruned from the list and quarantined: leaving would lift the quarantine."""
    kept = row("node-a", quarantined=True)
    run = Run(Server(rows={"node-a": kept}, hidden=frozenset({"node-a"})), node_id="node-a").drive()
    assert run.machine.row.existed_before
    assert run.server.rows == {"node-a": kept}
    assert State.LEAVE not in run.server.calls


@pytest.mark.parametrize("state", [state for state in TABLE if state is not State.STORE])
def test_ended_from_outside_anywhere(state: State) -> None:
    """Ctrl-C with any call in flight: what may have been joined is left, nothing else is done, in bounded time."""
    run = Run(Server()).drive(stop_at=state)
    assert run.server.rows == {}
    assert set(run.server.calls[run.server.calls.index(state) + 1 :]) <= {State.LEAVE}
    assert not run.machine.must_leave


@pytest.mark.parametrize(
    "error",
    [lost(), status(502), status(504), ControlError("protocol", 200, "no JSON")],
    ids=["lost", "502", "504", "200"],
)
def test_a_join_whose_answer_is_lost_is_taken_back(error: ControlError) -> None:
    """Also where a gateway lost it, or it cannot be read: the server may have joined, so the row is left."""
    run = Run(Server(always(State.JOIN, error))).drive()
    assert State.LEAVE in run.server.calls
    assert not run.machine.row.may_be_listed


@pytest.mark.parametrize(("error", "listed"), [(status(503), True), (status(403), True), (status(404), False)])
def test_whether_a_row_may_still_be_listed(error: ControlError, listed: bool) -> None:
    """Only the control plane's own word proves it gone: 2xx, or that there is no such row."""
    assert Run(Server(always(State.LEAVE, error))).drive().machine.row.may_be_listed is listed
    assert not Run(Server()).drive().machine.row.may_be_listed


def test_leaving_has_time_of_its_own() -> None:
    """The steps before it used up the patience; the row is left all the same, within its own bound."""
    run = Run(Server(always(State.HEARTBEAT, lost())), call_s=12.0).drive()
    assert run.server.rows == {}
    run = Run(Server(always(State.LEAVE, lost())), call_s=1.0).drive()
    leave = run.outcomes[-1]
    assert leave.step is Step.LEAVE
    assert leave.ended - leave.began <= LEAVE_S + 1.0


def test_transitions_are_recorded() -> None:
    """A report can show every state and every wait of the way."""
    run = Run(Server(once(State.JOIN, status(503, "later", 1.0)))).drive()
    join = next(outcome for outcome in run.outcomes if outcome.step is Step.JOIN)
    events = [(step.state, step.event) for step in join.transitions]
    assert events == [(State.LOOK, "done"), (State.JOIN, "later; again in 1.25 s"), (State.JOIN, "done")]


@pytest.mark.parametrize("table", [TABLE, SCOPE_TRIAL])
def test_the_tables_every_way_ends(table: dict[State, Row]) -> None:
    """From each state both ways lead on to DONE, whatever happens."""

    def ways(state: State) -> Iterator[State]:
        return iter(()) if state is State.DONE else iter((table[state].good, table[state].bad))

    def depth(state: State, seen: tuple[State, ...]) -> int:
        assert state not in seen
        return 1 + max((depth(following, (*seen, state)) for following in ways(state)), default=0)

    assert all(depth(state, ()) for state in table)


@pytest.mark.parametrize(
    ("mishap", "problem"),
    [
        (lambda state, attempt: None, None),
        (always(State.JOIN, status(403)), "scope-mismatch"),
        (always(State.LOOK, status(403)), "refused"),
        (always(State.LOOK, status(500)), "refused"),
        (always(State.JOIN, status(500)), "refused"),
        (always(State.JOIN, lost()), "ran-out-of-time"),
    ],
)
def test_a_scope_trial(mishap: Callable[[State, int], ControlError | None], problem: str | None) -> None:
    """Only a 403 to the join of a token that may list nodes is about the scope; the row is left each time."""
    run = Run(Server(mishap), bootstrap=False, table=SCOPE_TRIAL, call_s=9.0).drive()
    assert run.problems()["join"] == problem
    assert run.server.rows == {}
    assert State.HEARTBEAT not in run.server.calls


ERRORS = st.sampled_from(
    [None, None, None, lost(), status(429), status(503, "later", 5.0), status(500), status(401), status(403)]
)


@given(st.lists(ERRORS, max_size=60), st.floats(0, 0.999), st.floats(0.001, 16), st.sampled_from([*TABLE, None]))
def test_whatever_happens_nothing_stays_behind(
    mishaps: list[ControlError | None], random: float, call_s: float, stop_at: State | None
) -> None:
    """Any sequence of errors and an end from outside at any place: no row of ours is left."""
    queue = iter(mishaps)
    server = Server(lambda state, attempt: next(queue, None) if state is not State.LEAVE else None)
    run = Run(server, random=lambda: random, call_s=call_s)
    if stop_at is not None:
        server.mishap = lambda state, attempt: None
    run.drive(stop_at if stop_at is not State.STORE else None)
    assert server.rows == {}
    assert run.now - 100.0 <= PATIENCE_S + 2 * LEAVE_S
