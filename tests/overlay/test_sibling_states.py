"""States next to those that were recorded: what a daemon says in them, and what this node lost or does not take."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from typing import Any

import pytest
from preflight_checks import overlay_interface, overlay_policy, overlay_route

from preflight.api import Peer, Result
from preflight.model.kernel import Link
from preflight.model.overlay import OverlayState
from preflight.overlay import zerotier
from tests.kernel_says import into
from tests.overlay.test_further_states import CLOCK_MS, TUN, path, tailnet
from tests.overlay.test_sample_causes import device, zerotier_sample

NETWORK = "cccccccc03cbed70"
PUBLIC = {"assignedAddresses": ["193.0.14.7/24"], "routes": [{"target": "193.0.14.0/24", "via": None}]}
BARE = [device("ztnbllj34q")]


def joined(links: list[Link], **change: Any) -> OverlayState:
    """The healthy network with these fields."""
    info, networks, peers = (zerotier_sample(f"live2/healthy.{w}") for w in ("info", "listnetworks", "listpeers"))
    networks[0] |= change
    (state,) = zerotier.parse(info, networks, peers, links)
    return state


@pytest.mark.parametrize(
    ("change", "words", "line"),
    [
        ({}, "something has taken that off it", "systemctl restart zerotier-one"),
        (PUBLIC, "gives it 193.0.14.7/24, and this node does not take that (allowGlobal is off)", "allowGlobal=1"),
        ({"allowManaged": False}, "does not take that (allowManaged is off)", f"set {NETWORK} allowManaged=1"),
        ({"assignedAddresses": []}, "has authorised this node and gives it none", "Give this node an address"),
    ],
)
def test_why_zerotier_has_no_address(change: Mapping[str, Any], words: str, line: str) -> None:
    """The controller is not said to give none where it does."""
    result = overlay_interface.judge(joined(BARE, **change), BARE, None)
    assert str(result.code) == "overlay.no-address"
    assert words in result.message
    assert line in (result.remedy or "")


@pytest.mark.parametrize(
    ("target", "change", "setting"),
    [
        ("193.0.14.0/24", {}, "allowGlobal"),
        ("193.0.14.0/24", {"allowGlobal": True}, None),
        ("0.0.0.0/0", {}, "allowDefault"),
        ("0.0.0.0/0", {"allowDefault": True}, None),
        # Private, or of an organisation that announces none of it: taken without being told.
        ("10.50.0.0/24", {}, None),
        ("25.0.0.0/8", {}, None),
        ("100.64.0.0/10", {}, None),
        ("193.0.14.0/24", {"allowManaged": False, "allowGlobal": True}, "allowManaged"),
    ],
)
def test_a_route_that_zerotier_does_not_take(target: str, change: Mapping[str, Any], setting: str | None) -> None:
    """The setting that lets this node take it is the lever; without such a route nothing of the kind is said."""
    links = [device("ztnbllj34q", "10.88.0.30/24")]
    routes = [{"target": "10.88.0.0/24", "via": None}, {"target": target, "via": "10.88.0.31"}]
    state = joined(links, routes=routes, **change)
    address = "193.0.14.9" if target == "0.0.0.0/0" else target.rpartition(".")[0] + ".9"
    result = leaking(state, address, links)
    assert (f"does not take that ({setting} is off)" in result.message) is (setting is not None)
    assert (f"zerotier-cli set {NETWORK} {setting}=1" in (result.remedy or "")) is (setting is not None)


def leaking(state: OverlayState, address: str, links: list[Link]) -> Result:
    """A peer's address that the kernel sends elsewhere."""
    result: Result = overlay_route.judge(Peer(address, "nb"), state, into(address, "eth0"), links)
    return result


@pytest.mark.parametrize(
    ("second", "copied"),
    [("10.233.2.1/9993", True), ("10.232.2.1/41234", False), ("fd00::2/9993", False), (None, False)],
)
def test_a_member_that_is_heard_at_two_places(second: str | None, copied: bool) -> None:
    """Two machines with one identity, or two uplinks: a possibility, named with both places, and no accusation."""
    info, networks, peers = (zerotier_sample(f"live2/healthy.{w}") for w in ("info", "listnetworks", "listpeers"))
    for each in peers:
        if each["role"] == "LEAF":
            each["paths"] = [path("10.232.2.1/9993", 700, 300), *([path(second, 900, 500)] if second else [])]
    (state,) = zerotier.parse(info, networks, peers, [device("ztnbllj34q", "10.88.0.30/24")])
    seen = overlay_policy.found(Peer("10.88.0.31", "nb"), state, (), CLOCK_MS / 1000)
    assert seen is not None
    assert str(seen.code) == "overlay.policy-drop"
    assert ("a copy of it answers, for it is heard at 10.232.2.1:9993 and at 10.233.2.1:9993" in seen.message) is copied
    assert any("second machine" in line for each in seen.remedies for line in each.lines) is copied


def test_tailscale_s_interface_lost_its_address() -> None:
    """`tailscale up` changes nothing then: the daemon takes the address for set."""
    links = [device("tailscale0")]
    state = replace(tailnet(), addresses=(), lost=("100.64.0.1",))
    result = overlay_interface.judge(state, links, None)
    assert "tailscale has given it 100.64.0.1, and something has taken that off it" in result.message
    assert result.remedy == "systemctl restart tailscaled"


@pytest.mark.parametrize("links", [[], [replace(TUN[0], up=False)]])
def test_tailscale_s_interface_was_deleted_or_set_down(links: list[Link]) -> None:
    """Its routes are in a table that the daemon fills when it starts; this is not userspace networking."""
    state = replace(tailnet(), up=False, mtu=1280 if links else None)
    result = overlay_interface.judge(state, links, None)
    assert (str(result.code), result.remedy) == ("overlay.down", "systemctl restart tailscaled")


def test_nebula_s_interface_was_set_down() -> None:
    """It makes its routes to networks behind members when it starts; else the interface is all."""
    alone = OverlayState("nebula", "neb0", up=False, mtu=1300)
    result = overlay_interface.judge(alone, [device("neb0")], None)
    assert result.remedy == "ip link set dev neb0 up"
    behind = replace(alone, routed=((ip_network("10.50.0.0/24"), "10.77.0.20"),))
    assert overlay_interface.judge(behind, [device("neb0")], None).remedy == "systemctl restart nebula"


def test_an_address_on_the_device_is_not_lost() -> None:
    """Nor is one that another version of the protocol has in addition."""
    links = [device("ztnbllj34q", "10.88.0.30/24")]
    assert joined(links).lost == ()
    assert tailnet().lost == ()
    assert joined([replace(BARE[0], addresses=(ip_interface("fe80::1/64"),))]).lost == ("10.88.0.30/24",)
