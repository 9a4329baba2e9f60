"""What one answer shows about the bearer check."""

import pytest

from preflight.model.control import HttpAnswer
from preflight.proto.control.gate import Gate, gate

LIST = b'{"schema_version": 1, "nodes": [{"id": "a'


@pytest.mark.parametrize(
    ("status", "ours", "body", "get", "post"),
    [
        (401, True, b"unauthorized", Gate.REFUSED, Gate.REFUSED),
        (401, False, b"<html>log in", Gate.DENIED, Gate.DENIED),
        (200, True, LIST + b'"}]}', Gate.OPEN, Gate.OPEN),
        (200, True, LIST, Gate.OPEN, Gate.OPEN),
        (200, True, b'{"nodes": 5}', Gate.UNTOLD, Gate.OPEN),
        (200, True, b"<html>", Gate.UNTOLD, Gate.UNTOLD),
        (200, False, LIST + b'"}]}', Gate.STRANGER, Gate.STRANGER),
        (204, True, b"", Gate.UNTOLD, Gate.OPEN),
        (422, True, b"missing field", Gate.UNTOLD, Gate.OPEN),
        (400, True, b"no JSON", Gate.UNTOLD, Gate.OPEN),
        (415, True, b"content type", Gate.UNTOLD, Gate.OPEN),
        (422, False, b'{"detail": []}', Gate.DENIED, Gate.DENIED),
        (400, False, b"bad request", Gate.DENIED, Gate.DENIED),
        (403, True, b"no", Gate.UNTOLD, Gate.UNTOLD),
        (403, False, b"no", Gate.DENIED, Gate.DENIED),
        (404, True, b"no", Gate.UNTOLD, Gate.UNTOLD),
        (404, False, b"no", Gate.DENIED, Gate.DENIED),
        (405, False, b"no", Gate.DENIED, Gate.DENIED),
        (302, False, b"", Gate.REDIRECTED, Gate.REDIRECTED),
        (307, True, b"", Gate.REDIRECTED, Gate.REDIRECTED),
        (429, True, b"", Gate.UNTOLD, Gate.UNTOLD),
        (503, True, b"", Gate.UNTOLD, Gate.UNTOLD),
        (502, False, b"", Gate.UNTOLD, Gate.UNTOLD),
    ],
)
def test_every_kind_of_answer(status: int, ours: bool, body: bytes, get: Gate, post: Gate) -> None:
    """Only an answer that a control plane alone gives proves that the check was passed, or that it was not."""
    answer = HttpAnswer(status, {"x-populi-feature": "a"} if ours else {}, body, 1.0, 0.0, 0.0)
    assert (gate("GET", "/nodes", answer), gate("POST", "/join", answer)) == (get, post)
