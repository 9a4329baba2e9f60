"""host.sockets: which kinds of socket this process may open."""

import pytest
from preflight_checks import host_sockets

from preflight.api import Status


@pytest.mark.parametrize(
    ("raw", "ping", "status"),
    [(True, True, Status.PASS), (True, False, Status.PASS), (False, True, Status.PASS), (False, False, Status.WARN)],
)
def test_either_kind_of_socket_will_do(raw: bool, ping: bool, status: Status) -> None:
    """Echoes go out by a raw or by a ping socket; only without both is there something to say."""
    assert host_sockets.judge(raw=raw, ping=ping).status is status
