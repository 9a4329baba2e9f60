"""A lease that is asked for ahead: nothing is asked twice, nothing stays, and errors are those of the calls."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from preflight.model.control import ControlError
from preflight.net.control import early_lease
from preflight.net.control.early_lease import EarlyLease
from preflight.proto.control.own_row import State

Asked = list[tuple[str, str]]


def run(
    use: Callable[[EarlyLease], Awaitable[object]],
    *,
    fails: State | None = None,
    slow: tuple[State, float] = (State.DONE, 0.0),
) -> tuple[object, Asked]:
    """What comes of it, and what was asked. slow: a call, and how many seconds it takes."""
    asked: Asked = []

    async def ask(state: State, lease_id: str) -> str:
        asked.append((state.value, lease_id))
        await asyncio.sleep(slow[1] if state is slow[0] else 0)
        if state is fails:
            raise ControlError("status", 409, f"{state} is refused")
        return "17" if state is State.GRANT else ""

    async def whole() -> object:
        early = EarlyLease(ask)
        await asyncio.sleep(0.01)
        try:
            return await use(early)
        except ControlError as error:
            return error.message
        finally:
            await early.end()
            await early.end()

    return asyncio.run(whole()), asked


async def both(early: EarlyLease) -> str:
    lease_id = await early.granted()
    await early.renewed(lease_id)
    return lease_id


async def all_three(early: EarlyLease) -> str:
    lease_id = await both(early)
    await early.released(lease_id)
    return lease_id


@pytest.mark.parametrize("use", [both, all_three])
def test_each_answer_is_given_once_and_asked_for_once(use: Callable[[EarlyLease], Awaitable[object]]) -> None:
    """It is released once, whether the machine comes to that or leaves before."""
    assert run(use) == ("17", [("grant", ""), ("renew", "17"), ("release", "17")])


def test_a_release_under_way_is_waited_for() -> None:
    """Who leaves meanwhile must not release it twice, and the server must hear of the release first."""
    whole = [("grant", ""), ("renew", "17"), ("release", "17")]
    assert run(both, slow=(State.RELEASE, 0.1)) == ("17", whole)
    assert run(unused, slow=(State.RELEASE, 0.1)) == (None, whole)


def test_a_refused_release_is_told_once_and_then_asked_again() -> None:
    """The machine repeats what a repeat can fix."""

    async def repeated(early: EarlyLease) -> str:
        with pytest.raises(ControlError):
            await all_three(early)
        with pytest.raises(ControlError):
            await early.released("17")
        return "asked twice"

    whole = [("grant", ""), ("renew", "17"), ("release", "17"), ("release", "17")]
    assert run(repeated, fails=State.RELEASE) == ("asked twice", whole)


def test_a_renewal_that_is_repeated_is_released_after_that() -> None:
    """A lease of which the renewal failed is not released ahead."""

    async def again(early: EarlyLease) -> str:
        lease_id = await early.granted()
        with pytest.raises(ControlError):
            await early.renewed(lease_id)
        return await early.released(lease_id)

    whole = [("grant", ""), ("renew", "17"), ("release", "17")]
    assert run(again, fails=State.RENEW) == ("", whole)


async def unused(early: EarlyLease) -> None:
    """The heartbeats failed, or the run ended."""


def test_what_nobody_took_is_given_back_once() -> None:
    """An enrolment whose heartbeats fail leaves at once, and its lease does not stay."""
    assert run(unused) == (None, [("grant", ""), ("renew", "17"), ("release", "17")])


def test_a_grant_under_way_is_waited_for_and_a_renewal_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server carries out what it was asked: without its answer nobody could give the lease back."""
    monkeypatch.setattr(early_lease, "GIVE_BACK_S", 0.2)
    assert run(unused, slow=(State.GRANT, 0.1)) == (None, [("grant", ""), ("release", "17")])
    assert run(unused, slow=(State.GRANT, 60.0)) == (None, [("grant", "")])
    assert run(unused, slow=(State.RENEW, 60.0)) == (None, [("grant", ""), ("renew", "17"), ("release", "17")])


@pytest.mark.parametrize(
    ("fails", "asked"),
    [(State.GRANT, [("grant", "")]), (State.RENEW, [("grant", ""), ("renew", "17")])],
)
def test_an_error_is_that_of_its_call(fails: State, asked: Asked) -> None:
    """A refused grant is not renewed, and nothing is released that was not granted or is the machine's."""
    assert run(both, fails=fails) == (f"{fails} is refused", asked)


def test_a_repeated_grant_has_a_renewal_of_its_own() -> None:
    """The first grant failed, and so its renewal."""

    async def repeated(early: EarlyLease) -> str:
        with pytest.raises(ControlError):
            await early.granted()
        return await early.renewed("18")

    assert run(repeated, fails=State.GRANT) == ("", [("grant", ""), ("renew", "18")])


def test_a_repeat_asks_again() -> None:
    """The machine repeats a call after an error that a repeat can fix."""

    async def repeated(early: EarlyLease) -> str:
        with pytest.raises(ControlError):
            await early.granted()
        with pytest.raises(ControlError):
            await early.granted()
        return "asked twice"

    assert run(repeated, fails=State.GRANT) == ("asked twice", [("grant", ""), ("grant", "")])
