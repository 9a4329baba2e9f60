"""enroll.bootstrap's judge: the one-time token before it is sent."""

from pathlib import Path

from preflight_checks.enroll_bootstrap import judge
from pydantic import SecretStr

from preflight.api import Status
from preflight.model.token import HeldToken
from preflight.proto.control.token_text import read_token


def test_each_state_of_the_token() -> None:
    """None given, one that can be right, and one that cannot: this one is not spent, and the report says so."""
    assert judge(None).status is Status.SKIP
    assert judge(HeldToken("VOX_MESH_BOOTSTRAP_TOKEN", SecretStr("one-time"))).status is Status.PASS
    bad = HeldToken("--bootstrap-token-file", None, read_token(b"one-time\r\n")[1], Path("/n/boot"))
    result = judge(bad)
    assert result.code is not None
    assert (result.status, result.code.slug) == (Status.FAIL, "enroll.bootstrap-malformed")
    assert "CR LF" in result.message
    assert "not spent" in result.message
    assert result.measurements["problem"] == "CR LF"
    assert result.station is not None
    assert (result.station.id, result.station.kind) == ("token", "token")
