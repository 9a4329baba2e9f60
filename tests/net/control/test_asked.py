"""One log of a run's questions: nothing is asked twice, and nothing that may have changed is taken from it."""

import asyncio

import pytest
from preflight_checks.control_health import measure
from pydantic import SecretStr

from preflight.model.control import HttpAnswer
from preflight.net.control import client as client_module
from preflight.net.control.asked import KNOWN_S, Question, RequestLog
from preflight.net.control.client import ControlClient
from preflight.net.control.exchange import Moments, Request
from preflight.proto.control.populi import EXCHANGE_ROUTE, FEATURE_HEADER
from preflight.proto.control.url import ControlUrl

LIST = "/v1/populi/nodes"
QUESTION = Question(LIST, "a token")


def answer(status: int = 200, body: bytes = b'{"schema_version": 1, "nodes": []}', *, cut: bool = False) -> HttpAnswer:
    headers = {FEATURE_HEADER: "exec-lease-v1", "content-type": "application/json"}
    return HttpAnswer(status, headers, body, 1.0, 0.0, 0.0, connected=False, cut=cut)


def test_an_answer_is_good_for_a_moment() -> None:
    """Protects from judging by what was true some time ago."""
    now = [100.0]
    log = RequestLog(lambda: now[0])
    log.note(QUESTION, answer())
    assert log.known(QUESTION, 10) == answer()
    now[0] += KNOWN_S + 1
    assert log.known(QUESTION, 10) is None


@pytest.mark.parametrize("status", [429, 500, 503])
def test_trouble_is_asked_about_again(status: int) -> None:
    """What says `later` or that something failed may be another answer now."""
    log = RequestLog()
    log.note(QUESTION, answer(status))
    assert log.known(QUESTION, 10) is None


def test_the_answer_is_that_of_one_bearer_and_as_long_as_wanted() -> None:
    """Protects from taking the rights of one token for those of another, and a part for the whole."""
    log = RequestLog()
    log.note(QUESTION, answer(body=b"12345678", cut=True))
    assert log.known(Question(LIST, None), 4) is None
    assert log.known(QUESTION, 8) is not None
    assert log.known(QUESTION, 9) is None
    assert "a token" not in repr(QUESTION)


def test_an_answer_is_as_old_as_its_question() -> None:
    """What was asked before a write and answered after it may not show the write."""
    log = RequestLog()
    before = log.writes
    log.written()
    log.note(QUESTION, answer(), before)
    assert log.known(QUESTION, 10) is None
    assert log.known(QUESTION, 10, "any") is not None
    log.note(QUESTION, answer(), log.writes)
    assert log.known(QUESTION, 10) is not None


def test_all_answers_of_a_moment_ago_are_known() -> None:
    """A clock is compared by several, and old ones say nothing about now."""
    now = [100.0]
    log = RequestLog(lambda: now[0])
    for body in (b"1", b"2", b"3"):
        log.note(QUESTION, answer(body=body))
        now[0] += KNOWN_S - 1
    assert [each.body for each in log.lately(QUESTION)] == [b"3"]
    log.note(QUESTION, answer(body=b"4"))
    assert [each.body for each in log.lately(QUESTION)] == [b"3", b"4"]


def test_a_client_asks_once_until_it_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two checks at the same time share one request; who does not recall, or comes after a write, gets a new answer."""
    asked: list[str] = []

    async def exchange(transport: object, asked_for: Request, moments: Moments) -> HttpAnswer:
        asked.append(f"{asked_for.method} {asked_for.url.rpartition('/')[2]}")
        await asyncio.sleep(0)
        return answer()

    monkeypatch.setattr(client_module, "exchange", exchange)

    async def questions() -> None:
        client = ControlClient(ControlUrl("http", "127.0.0.1", 9847), token=SecretStr("t" * 20), environment={})
        await asyncio.gather(client.nodes(recall="unchanged"), client.nodes(patient=True, recall="any"))
        assert asked == ["GET nodes"]
        await client.nodes()
        assert asked == ["GET nodes"] * 2
        await client.leave("a")
        await client.nodes(recall="any")
        assert asked == ["GET nodes", "GET nodes", "POST leave"]
        await client.nodes(recall="unchanged")
        assert asked == ["GET nodes", "GET nodes", "POST leave", "GET nodes"]
        await client.aclose()

    asyncio.run(questions())


@pytest.mark.parametrize(("enrols", "posts"), [(True, 1), (False, 0)])
def test_a_far_control_plane_is_asked_at_once_what_an_enrolment_asks_first(
    monkeypatch: pytest.MonkeyPatch, enrols: bool, posts: int
) -> None:
    """The route of the exchange is asked with the health, without a token and a body, and not again."""
    asked: list[Request] = []

    async def exchange(transport: object, asked_for: Request, moments: Moments) -> HttpAnswer:
        asked.append(asked_for)
        await asyncio.sleep(0)
        return answer(body=b"ok\n") if asked_for.url.endswith("/health") else answer(415)

    monkeypatch.setattr(client_module, "exchange", exchange)

    async def run() -> HttpAnswer:
        client = ControlClient(ControlUrl("http", "127.0.0.1", 9847), token=SecretStr("t" * 20), environment={})
        probe = await measure(client, far=True, enrols=enrols)
        assert probe.bad is None
        await asyncio.sleep(0.01)
        found = [each for each in asked if each.method == "POST"]
        assert len(found) == posts
        assert all(each.body is None and "authorization" not in each.headers for each in found)
        first = await client.send("POST", EXCHANGE_ROUTE, recall="any")
        await client.aclose()
        return first

    assert asyncio.run(run()).status == 415
    assert len([each for each in asked if each.method == "POST"]) == 1
