"""What shows that a cache on the way gave an answer."""

import pytest

from preflight.proto.control.request_names import REQUEST_NAME, RequestNames, says_kept


def test_an_answer_to_an_earlier_request() -> None:
    """The id of an earlier request to the same path, ours or another client's, comes from a cache."""
    names = RequestNames()
    assert names.judge("a", "/list", {REQUEST_NAME: "a"}) == (False, False)
    assert names.judge("b", "/list", {REQUEST_NAME: "a"}) == (True, True)
    assert names.judge("c", "/other", {REQUEST_NAME: "of another client"}) == (False, True)
    assert names.judge("d", "/other", {REQUEST_NAME: "of another client"}) == (True, True)


def test_ids_that_a_gateway_writes() -> None:
    """A new one for each request, one for all paths, or none: nothing was kept."""
    names = RequestNames()
    assert [names.judge(own, "/list", {REQUEST_NAME: f"gateway {own}"})[0] for own in "ab"] == [False, False]
    assert [names.judge(own, path, {REQUEST_NAME: "x"})[0] for own, path in ("c1", "d2", "e1")] == [False, False, False]
    assert names.judge("f", "/list", {}) == (False, False)


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({"age": "12"}, True),
        ({"age": "0"}, False),
        ({"age": "soon"}, False),
        ({"x-cache": "HIT from proxy.example"}, True),
        ({"x-cache": "MISS from proxy.example"}, False),
        ({"cf-cache-status": "DYNAMIC"}, False),
        ({"cache-status": "Edge; hit; ttl=30"}, True),
        ({"x-cache-status": "STALE"}, True),
        ({}, False),
    ],
)
def test_what_caches_say(headers: dict[str, str], kept: bool) -> None:
    """By an answer's age, or by their usual headers."""
    assert says_kept(headers) is kept
