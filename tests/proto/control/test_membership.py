"""The membership's state machine against a simulated clock: no socket, no waiting."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.model.control import ControlError, NodeList, NodeRecord
from preflight.proto.control.membership import AFTER, CALL_S, Membership
from preflight.proto.control.own_row import LEAVE_S, Call, OwnRow, State, Wait

INTERVAL_S = 20.0


def status(code: int, retry_after_s: float | None = None) -> ControlError:
    return ControlError("status", code, f"answered {code}", retry_after_s)


LOST = ControlError("timeout", None, "no answer")
REFUSED = ControlError("refused", None, "refused the connection")


def row(node_id: str, **fields: Any) -> NodeRecord:
    return NodeRecord(node_id, "1", 5, {"id": node_id, **fields})


class World:
    """A machine and the time; `step` gives the next call an answer or an error, and waits before it if it must."""

    def __init__(self, node_id: str | None = None, interval_s: float = INTERVAL_S) -> None:
        self.now = 100.0
        self.machine = Membership(OwnRow(node_id, "spare", None), interval_s=interval_s, now=self.now)
        self.reported: list[str] = []

    def step(self, outcome: ControlError | NodeList | NodeRecord | None = None) -> State:
        """Perform the next call; which state it was for."""
        action = self.machine.next_action(self.now)
        if isinstance(action, Wait):
            self.now = action.until
            action = self.machine.next_action(self.now)
        assert isinstance(action, Call), action
        assert 0 < action.timeout_s <= CALL_S
        if isinstance(outcome, ControlError):
            self.machine.failed(self.now, outcome, 0.5)
        else:
            self.machine.succeeded(self.now, outcome)
        self.reported += [news.text for news in self.machine.news()]
        return action.state

    def joined(self, *listed: str) -> "World":
        """Past look and join."""
        assert self.step(NodeList(1, tuple(map(row, listed)))) is State.LOOK
        assert self.step(row(self.machine.row.identity)) is State.JOIN
        return self


def test_a_member_beats_until_it_leaves() -> None:
    """Look, join, heartbeats every interval, leave; nothing is left, and only what matters is reported."""
    world = World().joined()
    times = []
    for _ in range(3):
        assert world.step() is State.HEARTBEAT
        times.append(world.now)
    assert [later - earlier for earlier, later in pairwise(times)] == [INTERVAL_S] * 2
    assert world.machine.must_leave
    world.machine.leave(world.now)
    assert world.step() is State.LEAVE
    assert world.machine.next_action(world.now) is None
    assert world.reported == ["joined as spare", "spare left again"]


@pytest.mark.parametrize(("outcome", "listed"), [(None, False), (status(404), False), (status(403), True)])
def test_whether_a_row_may_still_be_listed(outcome: ControlError | None, listed: bool) -> None:
    """Only the control plane's own answer proves it gone: 2xx, or that there is no such row."""
    world = World().joined()
    world.machine.leave(world.now)
    assert world.machine.row.may_be_listed
    assert world.step(outcome) is State.LEAVE
    assert world.machine.row.may_be_listed is listed


def test_an_interval_of_zero_joins_only() -> None:
    """As VOX_MESH_HTTP_HEARTBEAT_SECS=0 means it; leaving is not held up by it."""
    world = World(interval_s=0).joined()
    assert world.machine.next_action(world.now + 1e9) == Wait(float("inf"))
    world.machine.leave(world.now)
    assert world.step() is State.LEAVE


def test_a_living_node_is_never_touched() -> None:
    """The id of the settings is listed, or the list cannot be seen: the random one is used. A free one is used."""
    assert World("a").joined("a").machine.row.identity == "spare"
    assert World("a").joined("b").machine.row.identity == "a"
    blind = World("a")
    assert blind.step(status(404)) is State.LOOK
    assert blind.machine.row.identity == "spare"


def test_a_hidden_row_with_a_quarantine_is_not_removed() -> None:
    """Pruned from the list and quarantined: leaving would lift the quarantine."""
    world = World("a")
    world.step(NodeList(1, ()))
    world.step(row("a", quarantined=True))
    world.machine.leave(world.now)
    assert world.machine.next_action(world.now) is None


@pytest.mark.parametrize("error", [LOST, REFUSED, status(429), status(503), status(500)])
@pytest.mark.parametrize("state", [State.LOOK, State.JOIN, State.HEARTBEAT])
def test_what_passes_is_waited_out(state: State, error: ControlError) -> None:
    """However long it takes; one line when it begins and one when it is over."""
    world = World()
    while world.machine.state is not state:
        world.step(row("spare") if world.machine.state is State.JOIN else NodeList(1, ()))
    for _ in range(50):
        assert world.step(error) is state
    assert world.step(row("spare") if state is State.JOIN else NodeList(1, ())) is state
    assert world.machine.state is AFTER[state]
    assert sum("repeated until it is taken" in text for text in world.reported) == 1


def test_the_servers_word_is_honoured() -> None:
    """Retry-After is a least; without it the waits grow up to their ceiling."""
    world = World().joined()
    world.step(status(429, retry_after_s=60))
    before = world.now
    world.step()
    assert 60 <= world.now - before <= 61


def test_a_refusal_ends_it_and_the_row_is_taken_back() -> None:
    """401 to a heartbeat: leaving is tried, and its failure is reported."""
    world = World().joined()
    world.step(status(401))
    assert world.step(status(401)) is State.LEAVE
    assert world.machine.next_action(world.now) is None
    assert world.reported[-2:] == ["given up: answered 401", "its row may still be listed: answered 401"]


def test_a_refused_join_leaves_nothing_to_leave() -> None:
    """403: no row. But where an earlier join's answer was lost there may be one."""
    world = World()
    world.step(NodeList(1, ()))
    world.step(status(403))
    assert world.machine.next_action(world.now) is None
    unsure = World()
    unsure.step(NodeList(1, ()))
    unsure.step(LOST)
    unsure.step(status(403))
    assert unsure.step() is State.LEAVE


def test_a_join_under_way_is_left_as_well() -> None:
    """Ended between the request and its answer: the row may be there."""
    world = World()
    world.step(NodeList(1, ()))
    assert isinstance(world.machine.next_action(world.now), Call)
    world.machine.leave(world.now)
    assert world.step(status(404)) is State.LEAVE
    assert world.reported[-1] == "its row is gone already"


@given(st.lists(st.sampled_from([None, LOST, REFUSED, status(429, 3.0), status(503), status(401)]), max_size=30))
def test_leaving_ends_in_bounded_time(outcomes: list[ControlError | None]) -> None:
    """Whatever happened before and happens meanwhile: at most LEAVE_S from the request to leave until all is done."""
    world = World()
    for outcome in outcomes:
        if world.machine.state is State.DONE:
            break
        world.step(outcome or row("spare"))
    world.machine.leave(world.now)
    began = world.now
    while world.machine.state is not State.DONE:
        world.step(LOST)
    assert world.now - began <= LEAVE_S
