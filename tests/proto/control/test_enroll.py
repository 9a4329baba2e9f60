"""The enrolment's state machine against a simulated server and clock: no socket, no waiting."""

from collections.abc import Callable, Iterator

import pytest

from preflight.model.control import ControlError, NotHttpError
from preflight.model.event import Event, telling
from preflight.proto.control.enroll import LATER_S, SCOPE_TRIAL, TABLE, Row, Step
from preflight.proto.control.own_row import State
from tests.proto.control.simulated import GOOD, GOOD_WITH_LEASE, Run, Server, always, lost, status


def once(state: State, *errors: ControlError) -> Callable[[State, int], ControlError | None]:
    """The first calls of a state meet these errors, one each."""
    return lambda called, attempt: errors[attempt - 1] if called is state and attempt <= len(errors) else None


def test_all_well() -> None:
    """Bootstrap, join, two heartbeats, listed, a lease, leave: and nothing stays behind."""
    run = Run(Server(), node_id="node-a").drive()
    assert run.problems() == GOOD_WITH_LEASE
    assert run.server.leases == []
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
    if state is State.EXCHANGE and error.status == 503:
        error = status(503, "later", 0.1)  # without a time it is the last word
    run = Run(Server(once(state, error)), node_id="node-a").drive()
    assert run.problems() == GOOD_WITH_LEASE
    assert next(o for o in run.outcomes if o.step is TABLE[state].step).attempts == 2
    assert run.server.rows == {}


def test_a_server_without_a_token_to_give_is_asked_once() -> None:
    """A 503 that names no time is the control plane's word that it has no mesh token; a repeat may cost the token."""
    run = Run(Server(always(State.EXCHANGE, status(503, "no mesh token")))).drive()
    assert run.server.calls == [State.EXCHANGE]
    assert run.problems() == {"bootstrap": "refused"}


def test_the_last_real_answer_is_the_reason() -> None:
    """Our own time-out behind three real answers hides none of them."""
    errors = (status(503, "the database is not available", 1.0), ControlError("timeout", None, "we stopped waiting"))
    server = Server(lambda state, n: errors[min(n, 3) // 3] if state is State.JOIN else None)
    run = Run(server, bootstrap=False, call_s=9.0).drive()
    join = next(outcome for outcome in run.outcomes if outcome.step is Step.JOIN)
    assert join.error is not None
    assert (join.error.status, join.ended_by) == (503, "after that we stopped waiting")


def test_no_attempt_is_begun_without_its_time() -> None:
    """What would be cut off by our own deadline says nothing: it is not begun."""
    run = Run(Server(always(State.JOIN, lost())), bootstrap=False, call_s=19.2).drive()
    assert run.server.calls.count(State.JOIN) == 1


def test_retry_after_is_honoured() -> None:
    """The wait that the server asks for is respected, and never cut short."""
    run = Run(Server(once(State.JOIN, status(429, "later", 7.0), status(429, "later", 3.0)))).drive()
    assert run.problems() == GOOD
    assert [wait for wait in run.waits if wait > 1] == [pytest.approx(7.25), pytest.approx(3.5)]


def test_a_retry_after_beyond_the_deadline_ends_the_step_at_once() -> None:
    """No waiting for what can no longer come in time."""
    run = Run(Server(always(State.JOIN, status(503, "later", 3600.0)))).drive()
    assert run.problems() == {"bootstrap": None, "join": "ran-out-of-time"}
    assert run.waits == []


def test_endless_throttling_is_bounded_by_the_deadline() -> None:
    """A server that always says `later` costs a few seconds and a handful of requests."""
    run = Run(Server(always(State.JOIN, status(429)))).drive()
    assert run.problems()["join"] == "ran-out-of-time"
    assert run.now - 100.0 <= LATER_S + 1
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
    """A refusal is not repeated; it is reported for its step; whatever was joined is left again."""
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


def test_a_foreign_scope_stops_before_the_join() -> None:
    """The exchange gave another scope than the settings: the credential is kept, and nothing is joined."""
    run = Run(Server(scope="theirs"), scope_id="mine").drive()
    assert run.problems() == {"bootstrap": None, "join": "scope-mismatch"}
    assert run.server.calls == [State.EXCHANGE, State.STORE]
    assert run.machine.foreign_scope == "theirs"


def test_not_listed() -> None:
    """A node that joined and does not show is a finding, and is left."""
    run = Run(Server(hidden=frozenset({"spare"}))).drive()
    assert run.problems() == {**GOOD, "listed": "not-listed"}
    assert run.server.rows == {}


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


def test_each_call_is_reported_with_how_it_ended() -> None:
    """A timeline shows the attempts, the waits and the steps, but no word that a server said."""

    def busy(state: State, attempt: int) -> ControlError | None:
        return status(503, "s3cr3t words of a server") if (state, attempt) == (State.JOIN, 1) else None

    events: list[Event] = []
    run = Run(Server(mishap=busy), bootstrap=False, tell=telling(events.append, "control.enroll", "enrolment")).drive()
    assert [outcome.problem for outcome in run.outcomes] == [None] * 4
    joins = [(event.name, event.fields.get("attempt")) for event in events if event.fields.get("state") is State.JOIN]
    assert joins == [("call", 1), ("call-failed", 1), ("call", 2), ("call-succeeded", None)]
    (failed,) = (event.fields for event in events if event.name == "call-failed")
    assert (failed["kind"], failed["http_status"], failed["again_in_s"]) == ("status", 503, run.waits[0])
    assert [event.fields["step"] for event in events if event.name == "step-ended"] == [
        *(step for step in Step if step not in (Step.BOOTSTRAP, Step.LEASE))
    ]
    assert "s3cr3t" not in str(events)
