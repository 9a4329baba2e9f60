"""What `tailscale up` asks for again, from a node's preferences."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from preflight.model.overlay import OverlayState
from preflight.model.remedy import as_text
from preflight.overlay.tailscale import with_preferences
from preflight.overlay.tailscale_options import options
from preflight.proto.tunnel import levers

SAMPLES = Path(__file__).parent / "samples/tailscale/live2"
TAILNET = OverlayState("tailscale", "tailscale0", up=False, mtu=None)


def preferences(name: str = "noroutes", **change: Any) -> Mapping[str, Any]:
    """Recorded ones with another value."""
    recorded: Mapping[str, Any] = json.loads((SAMPLES / f"prefs-{name}.json").read_text(encoding="utf-8"))
    return {**recorded, **change}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ("--hostname=na",)),
        ({"Hostname": "", "RouteAll": True, "CorpDNS": False}, ("--accept-dns=false", "--accept-routes")),
        (
            {"Hostname": "", "AdvertiseRoutes": ["10.50.0.0/24", "0.0.0.0/0", "::/0"]},
            ("--advertise-exit-node", "--advertise-routes=10.50.0.0/24"),
        ),
        (
            {"Hostname": "", "AdvertiseTags": ["tag:gpu", "tag:mesh"], "NoSNAT": True, "NetfilterMode": 0},
            ("--advertise-tags=tag:gpu,tag:mesh", "--netfilter-mode=off", "--snat-subnet-routes=false"),
        ),
        (
            {"Hostname": "", "ExitNodeIP": "100.64.0.9", "ExitNodeAllowLANAccess": True, "RunSSH": True},
            ("--exit-node=100.64.0.9", "--exit-node-allow-lan-access", "--ssh"),
        ),
        (
            {"Hostname": "", "AppConnector": {"Advertise": True}, "ShieldsUp": True},
            ("--advertise-connector", "--shields-up"),
        ),
        # What a shell would take apart is left to the command itself.
        ({"Hostname": "x; reboot", "AdvertiseTags": ["tag:a", "$(b)"]}, ()),
        # Nothing to keep before the first login, and what an older version does not have.
        ({"ControlURL": "", "RouteAll": True}, ()),
        ({"NoStatefulFiltering": None, "AppConnector": None, "NetfilterMode": 2, "Hostname": ""}, ()),
    ],
)
def test_options(change: Mapping[str, Any], said: tuple[str, ...]) -> None:
    """Each that differs from what the command takes without it."""
    assert options(preferences(**change)) == said


def test_a_log_in_says_all_of_them_again() -> None:
    """With one option and without the others the command only prints an error."""
    state = with_preferences(TAILNET, preferences(RouteAll=True), leaving=False)
    line = "--login-server=http://10.231.3.1:8080 --accept-routes --hostname=na"
    assert as_text(levers.tailscale(state, "overlay.key-expired")) == f"tailscale up --force-reauth {line}"
    assert as_text(levers.tailscale(state, "overlay.logged-out")) == f"tailscale up {line}"
    refused = replace(state, health=("You are logged out. The last login error was: invalid authkey",))
    assert f"--auth-key=file:FILE {line}" in (as_text(levers.tailscale(refused, "overlay.logged-out")) or "")


def test_an_older_version_changes_one_option_and_keeps_the_others() -> None:
    """The option in question is said once."""
    state = with_preferences(replace(TAILNET, version="1.32.3"), preferences(CorpDNS=False), leaving=False)
    line = as_text(levers.tailscale_takes(state, "accept-dns")) or ""
    assert line.startswith("tailscale up --accept-dns --login-server=http://10.231.3.1:8080 --hostname=na   # ")
