"""What is said of a limit that lets hardly one request a second through."""

from preflight import codes
from preflight.model.control import HttpAnswer
from preflight.proto.control.limits import narrow
from preflight.proto.control.populi import FEATURE_HEADER


def refusal(status: int, **headers: str) -> HttpAnswer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpAnswer(status, named, b"", 1.0, 0.0, 0.0, connected=False)


def test_who_limits_is_named_with_its_lever() -> None:
    """A gateway has another lever than the control plane, and one that holds requests back says nothing."""
    gateway = narrow(2.0, refusal(503, server="nginx/1.22"))
    assert gateway.code is codes.CONTROL_THROTTLED
    assert (gateway.decided.server, gateway.decided.http_status) == ("nginx", 503)
    assert "less than one request in 2.0 s" in gateway.message
    assert "gateway" in gateway.remedies[0].lines[0]
    own = narrow(0.8, HttpAnswer(429, {FEATURE_HEADER: "x"}, b"", 1.0, 0.0, 0.0, connected=False))
    assert "VOX_MESH" in own.remedies[0].lines[0]
    assert "fewer than 1.2 requests a second" in own.message
    assert "holds others back" in narrow(2.0, None).message
