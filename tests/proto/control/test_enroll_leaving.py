"""The enrolment's rows: a living node's is never touched, and whatever was joined is left again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.model.control import ControlError
from preflight.proto.control.enroll import PATIENCE_S, TABLE, Step
from preflight.proto.control.own_row import LEAVE_S, State
from tests.proto.control.simulated import GOOD, Run, Server, always, lost, row, status


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
    run = Run(Server(), node_id="node-a").drive(stop_at=state)
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
    """Only the control plane's own answer proves it gone: 2xx, or that there is no such row."""
    assert Run(Server(always(State.LEAVE, error))).drive().machine.row.may_be_listed is listed
    assert not Run(Server()).drive().machine.row.may_be_listed


def test_leaving_has_time_of_its_own() -> None:
    """The steps before it used up the patience; the row is left anyway, within its own bound."""
    run = Run(Server(always(State.HEARTBEAT, lost())), call_s=12.0).drive()
    assert run.server.rows == {}
    run = Run(Server(always(State.LEAVE, lost())), call_s=1.0).drive()
    leave = run.outcomes[-1]
    assert leave.step is Step.LEAVE
    assert leave.ended - leave.began <= LEAVE_S + 1.0


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
