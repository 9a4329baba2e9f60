"""Who refuses: the proxy, or what is behind it."""

import pytest

from preflight.model.control import ControlError, HttpAnswer
from preflight.model.facts import DeathFacts
from preflight.proto.control.http import Proxy
from preflight.proto.control.proxy_finding import refused_by_proxy

PROXY = Proxy("HTTPS_PROXY", "http://u:secret@192.0.2.1:3128", "192.0.2.1:3128")


def tunnel(status: int | None) -> ControlError:
    decided = DeathFacts(http_status=status)
    return ControlError("protocol", None, "does not connect", decided=decided, station="proxy")


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (tunnel(407), "fix"),
        (HttpAnswer(407, {}, b"", 1.0, 0.0, 0.0), "fix"),
        (tunnel(403), "next"),
        (tunnel(None), None),
        (HttpAnswer(403, {}, b"", 1.0, 0.0, 0.0), None),
        (ControlError("timeout", None, "silent"), None),
    ],
)
def test_what_the_proxy_refuses(bad: HttpAnswer | ControlError, kind: str | None) -> None:
    """The variable that names the proxy needs a password, and none is shown; other answers are not the proxy's."""
    found = refused_by_proxy(PROXY, bad)
    assert (found.remedies[0].kind if found else None) == kind
    assert found is None or (found.station, found.decided.variable) == ("proxy", "HTTPS_PROXY")
    assert "secret" not in str(found)
