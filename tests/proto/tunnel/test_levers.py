"""The lever of each product for what is wrong with this node's membership."""

from dataclasses import replace
from typing import Any

import pytest

from preflight.model.complaint import Complaint
from preflight.model.overlay import OverlayState
from preflight.model.product_policy import OutPolicy
from preflight.model.remedy import as_text
from preflight.proto.tunnel import levers

TAILNET = OverlayState("tailscale", "tailscale0", up=False, mtu=None)
NETWORK = OverlayState("zerotier", "zt0", up=True, mtu=2800, network="cccccccc03cbed70")


def test_a_login_goes_to_the_control_server_of_the_tailnet() -> None:
    """`tailscale up` alone would log in at Tailscale's own server."""
    own = replace(TAILNET, control_server="http://10.231.3.1:8080")
    assert as_text(levers.tailscale(own, "overlay.logged-out")) == "tailscale up --login-server=http://10.231.3.1:8080"
    assert as_text(levers.tailscale(own, "overlay.key-expired")) == (
        "tailscale up --force-reauth --login-server=http://10.231.3.1:8080"
    )
    unknown = as_text(levers.tailscale(TAILNET, "overlay.logged-out"))
    assert unknown == "tailscale up   # if the control server is not Tailscale's: add --login-server=URL"


@pytest.mark.parametrize(
    ("more", "slug", "line"),
    [
        ({"withheld": ("10.88.0.30/24",)}, "overlay.no-address", "zerotier-cli set cccccccc03cbed70 allowManaged=1"),
        ({}, "overlay.no-address", "Give this node an address in the network cccccccc03cbed70 on its controller."),
        (
            {"complaints": (Complaint("overlay.offline", "x"),)},
            "overlay.no-address",
            "Does the controller of the network cccccccc03cbed70 run, and does it reach its roots?\n"
            "zerotier-cli listnetworks   # the status must become OK",
        ),
        ({}, "overlay.not-authorized", "Authorise this node in the network cccccccc03cbed70 on its controller."),
        ({"withheld": ("10.88.0.30/24",), "network": "x; reboot"}, "overlay.no-address", None),
        ({}, "overlay.relayed", None),
    ],
)
def test_zerotier(more: dict[str, Any], slug: str, line: str | None) -> None:
    """What this node withholds it gives itself; the rest is the controller's."""
    assert as_text(levers.zerotier(replace(NETWORK, **more), slug)) == line


def test_no_network_and_no_device() -> None:
    """Without a network one joins; without a device a restart alone may not help."""
    assert "zerotier-cli join NETWORK" in (as_text(levers.zerotier(NETWORK, "overlay.not-joined")) or "")
    device = levers.zerotier(NETWORK, "overlay.down")
    assert [each.kind for each in device] == ["next", "fix"]


def test_an_older_tailscale_has_no_set() -> None:
    """Its `up` wants all options again; what is not known is taken for a version of today."""
    older, newer = replace(TAILNET, version="1.32.3-t1"), replace(TAILNET, version="1.34.0")
    for state in (newer, TAILNET, replace(TAILNET, version="unstable")):
        assert as_text(levers.tailscale_takes(state, "accept-dns")) == "tailscale set --accept-dns"
        assert (as_text(levers.another_exit(state)) or "").startswith("tailscale set --exit-node= ")
    assert (as_text(levers.tailscale_takes(older, "accept-dns")) or "").startswith("tailscale up --accept-dns   # this")
    assert (as_text(levers.another_exit(older)) or "").startswith("tailscale up --exit-node= ")


def test_a_zerotier_that_is_too_old() -> None:
    """No controller can authorise it."""
    old = replace(NETWORK, health=("this version of ZeroTier is too old for the network (CLIENT_TOO_OLD)",))
    assert "Update ZeroTier" in (as_text(levers.zerotier(old, "overlay.not-authorized")) or "")


@pytest.mark.parametrize(
    ("slug", "said", "line"),
    [
        ("overlay.daemon-down", "nebula is not running", "systemctl restart nebula"),
        ("overlay.daemon-down", "`nebula -test` refuses its configuration: no key", "Correct its configuration"),
        ("overlay.key-expired", "the certificate expired at 2026-11-23", "nebula-cert sign"),
        ("overlay.key-expired", "the certificate of the authority that signed this node's expired", "nebula-cert ca"),
        ("overlay.key-expired", "valid from 2026-12-24 on, and this node's clock says 2026-11-28", "date -u"),
    ],
)
def test_nebula(slug: str, said: str, line: str) -> None:
    """A restart heals no configuration, and a new certificate no authority that has expired."""
    state = OverlayState("nebula", "neb0", up=False, mtu=None, health=(said,))
    assert line in (as_text(levers.nebula(state, slug)) or "")


def test_a_unit_that_is_named_by_its_network() -> None:
    """A restart of another unit heals nothing."""
    state = OverlayState("nebula", "neb0", up=False, mtu=None, policy=OutPolicy("/etc/nebula/lab.yml", ()))
    assert as_text(levers.nebula(state, "overlay.daemon-down")) == "systemctl restart nebula@lab"
