"""host.clock: reported only when nothing confirms the clock."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from preflight_checks import host_clock

from preflight.api import Peer, Status
from preflight.model.kernel import ClockState
from preflight.proto.control.clock import Offset

UNSYNCED = ClockState(False, 16000.0)
AGREES, OFF = Offset(-0.01, 0.01), Offset(-602.0, -600.0)


@pytest.mark.parametrize(
    ("state", "others", "control", "peers", "status"),
    [
        (ClockState(True, 3.0), {}, False, False, Status.PASS),
        (UNSYNCED, {"b": AGREES}, True, True, Status.PASS),
        (UNSYNCED, {"b": Offset(1.9, 3.9)}, True, True, Status.PASS),
        (UNSYNCED, {"b": Offset(2.1, 4.1)}, False, True, Status.WARN),
        (UNSYNCED, {"the control plane": OFF}, True, True, Status.WARN),
        # One clock that agrees is enough: then the other one is wrong, and that is not this node's fault.
        (UNSYNCED, {"the control plane": OFF, "b": AGREES}, True, True, Status.PASS),
        (UNSYNCED, {}, True, True, Status.INCONCLUSIVE),
        (UNSYNCED, {}, True, False, Status.INCONCLUSIVE),
        # A mesh without a control plane and without responders is healthy.
        (UNSYNCED, {}, False, True, Status.SKIP),
        (UNSYNCED, {}, False, False, Status.WARN),
    ],
)
def test_the_clock(state: ClockState, others: dict[str, Offset], control: bool, peers: bool, status: Status) -> None:
    """A clock that nothing synchronises is reported only when no other clock confirms it within 2 s."""
    assert host_clock.judge(state, others, control=control, peers=peers).status is status


@pytest.mark.parametrize(
    ("others", "control", "kind"), [({}, True, "next"), ({}, False, "next"), ({"b": OFF}, False, "fix")]
)
def test_only_another_clock_shows_that_this_one_needs_a_fix(
    others: dict[str, Offset], control: bool, kind: str
) -> None:
    """A clock that nobody could confirm may be right: synchronising it heals nothing that was seen."""
    found = host_clock.judge(UNSYNCED, others, control=control, peers=False)
    assert {each.kind for each in found.remedies} == {kind}


def test_a_clock_that_is_off_says_which_way() -> None:
    """The control plane 600 s behind means that this node is ahead."""
    assert "ahead of the clock of b" in host_clock.judge(UNSYNCED, {"b": OFF}, control=True, peers=True).message


@pytest.mark.parametrize(("agrees", "clocks"), [(True, {"the control plane"}), (False, {"the control plane", "b"})])
def test_one_clock_that_agrees_is_enough(agrees: bool, clocks: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent peer is not waited for; of clocks that differ, the nearest one decides."""

    async def control(ctx: Any) -> Offset:
        return Offset(-0.1, 0.1) if agrees else Offset(30.0, 31.0)

    async def peer(ctx: Any, asked: Peer) -> Offset:
        if agrees:
            await asyncio.Event().wait()  # it never answers
        return Offset(40.0, 41.0)

    monkeypatch.setattr(host_clock, "_control_clock", control)
    monkeypatch.setattr(host_clock, "_peer_clock", peer)
    ctx = SimpleNamespace(peers=(Peer("10.66.0.2", "b"),))
    assert set(asyncio.run(host_clock.other_clocks(cast("Any", ctx)))) == clocks


@pytest.mark.parametrize(
    ("others", "skew_ms", "status"),
    [
        ({"the control plane": OFF}, 5000.0, Status.INCONCLUSIVE),
        # control.clock takes so small a difference for none.
        ({"the control plane": Offset(2.5, 3.5)}, 5000.0, Status.WARN),
        # Two witnesses against one.
        ({"the control plane": OFF, "b": OFF}, 5000.0, Status.WARN),
        ({"b": OFF}, 5000.0, Status.WARN),
    ],
)
def test_one_difference_of_two_clocks_is_one_finding(others: dict[str, Offset], skew_ms: float, status: Status) -> None:
    """Protects a control plane whose clock is wrong: this node's was accused too, where no responder answered."""
    assert host_clock.judge(UNSYNCED, others, control=True, peers=True, skew_ms=skew_ms).status is status
