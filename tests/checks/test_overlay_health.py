"""Complaints of a daemon: a warning, until the run bears them out."""

from dataclasses import replace

import pytest
from preflight_checks.overlay_health import judge

from preflight.api import Status
from preflight.model.complaint import Complaint
from preflight.model.overlay import OverlayPeer, OverlayState

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


@pytest.mark.parametrize(("product", "name"), [("tailscale", "nb"), ("zerotier", "leaf")])
def test_a_direct_path_goes_on_without_the_servers(product: str, name: str) -> None:
    """Then something else stops the peers, and this node's way to its servers is a warning; a root is no such peer."""
    peer = OverlayPeer(key="k", name=name, endpoint="192.0.2.2:41641")
    state = replace(TAILNET, product=product, peers=(peer,))
    assert judge(state, OFFLINE, silent=True).status is Status.WARN
    assert judge(replace(state, peers=(replace(peer, endpoint=None),)), OFFLINE, silent=True).status is Status.FAIL
    root = replace(state, product="zerotier", peers=(replace(peer, name="planet"),))
    assert judge(root, OFFLINE, silent=True).status is Status.FAIL


def test_a_relay_that_is_the_only_path_fails_with_it() -> None:
    """Which paths carry nothing is in the sentence."""
    gone = Complaint("overlay.relay-unreachable", "could not connect to the relay server")
    state = replace(TAILNET, peers=(OverlayPeer(key="k", name="nb", relay="lab"),))
    result = judge(state, gone, silent=True)
    assert result.status is Status.FAIL
    assert result.message.endswith(
        "no peer answers in this run: there is no direct path, and the relay lab carries nothing"
    )


def test_the_products_lever() -> None:
    """Routes are accepted by the daemon's own command."""
    assert judge(TAILNET, ROUTES, silent=False).remedy == "tailscale set --accept-routes"
