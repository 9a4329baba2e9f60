"""Complaints of a daemon: a warning, until the run bears them out."""

import pytest
from preflight_checks.overlay_health import judge

from preflight.api import Status
from preflight.model.complaint import Complaint
from preflight.model.overlay import OverlayState

TAILNET = OverlayState("tailscale", "tailscale0", up=True, mtu=1280)
OFFLINE = Complaint("overlay.offline", "the control server does not see this node", cuts=True)
OVERWRITTEN = Complaint("overlay.dns-overwritten", "/etc/resolv.conf overwritten")
ROUTES = Complaint("overlay.routes-not-accepted", "some peers are advertising routes")


@pytest.mark.parametrize(
    ("complaint", "silent", "nameless", "status", "words"),
    [
        (OFFLINE, False, False, Status.WARN, "tailscale on tailscale0: the control server does not see this node"),
        (OFFLINE, True, False, Status.FAIL, "; no peer answers in this run"),
        (OVERWRITTEN, True, False, Status.WARN, "/etc/resolv.conf overwritten"),
        (OVERWRITTEN, False, True, Status.FAIL, "; the control plane's name is not found"),
        (ROUTES, True, True, Status.WARN, "advertising routes"),
    ],
)
def test_traffic_decides(complaint: Complaint, silent: bool, nameless: bool, status: Status, words: str) -> None:
    """What would account for the trouble of this run fails; what would not stays a warning at no station."""
    result = judge(TAILNET, complaint, silent=silent, nameless=nameless)
    assert (result.status, str(result.code)) == (status, complaint.code)
    assert result.message.endswith(words)
    assert (result.station is not None) is (status is Status.FAIL and silent)


def test_the_products_lever() -> None:
    """Routes are accepted by the daemon's own command."""
    assert judge(TAILNET, ROUTES, silent=False).remedy == "tailscale set --accept-routes"
