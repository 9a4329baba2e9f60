"""posture.exposed: which addresses are public, and what their answers mean."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest
from preflight_checks.posture_exposed import Origin, Place, is_public, judge, places

from preflight.model.overlay import PRIVILEGE, OverlayPeer, OverlayState
from preflight.proto.control.url import ControlUrl
from tests.kernel_says import routed

URL = ControlUrl("http", "10.66.0.3", 9847)


def overlay(endpoint: str | None) -> OverlayState:
    peer = OverlayPeer("key", endpoint, (ip_network("10.66.0.3/32"),))
    state = OverlayState("wireguard", "wg0", True, 1420, addresses=(ip_interface("10.66.0.1/24"),), peers=(peer,))
    return routed(state, inside=["10.66.0.3"], outside=["44.128.0.3", "2a00::3", "44.128.0.9"])


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("44.128.0.3", True),
        ("2a00::1", True),
        ("10.201.3.2", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("169.254.1.1", False),
        ("203.0.113.9", False),
        ("fd66::3", False),
        ("fe80::1", False),
        ("224.0.0.1", False),
        ("10.66.0.3", False),
        ("relay-7", False),
    ],
)
def test_what_is_public(address: str, public: bool) -> None:
    """Private, shared, link-local and documentation addresses are nobody's way in from the Internet."""
    assert is_public(address, overlay(None)) is public


def test_an_overlay_on_global_addresses_is_not_public() -> None:
    """Some overlays use a global prefix inside: what the tunnel carries is not exposed."""
    state = OverlayState("nebula", "n0", True, 1300, addresses=(ip_interface("44.128.0.1/16"),))
    assert not is_public("44.128.0.3", routed(state, inside=["44.128.0.3"]))
    assert not is_public("44.128.0.1", routed(state))
    assert is_public("44.128.0.3", routed(state, outside=["44.128.0.3"]))


@pytest.mark.parametrize(
    ("addresses", "endpoint", "expected"),
    [
        (["10.66.0.3"], None, []),
        (["10.66.0.3"], "10.201.3.2:51820", []),
        (["10.66.0.3"], "44.128.0.3:51820", [("44.128.0.3", "endpoint")]),
        (["10.66.0.3"], "[2a00::3]:51820", [("2a00::3", "endpoint")]),
        (["44.128.0.3", "10.66.0.3"], "44.128.0.3:51820", [("44.128.0.3", "url")]),
        ([], "44.128.0.3:51820", []),
    ],
)
def test_where_is_looked(addresses: list[str], endpoint: str | None, expected: list[tuple[str, Origin]]) -> None:
    """Only addresses of the control host itself: those of its URL, and where its own tunnel ends."""
    assert [(place.address, place.origin) for place in places(addresses, overlay(endpoint))] == expected


def test_on_the_control_host_its_own_addresses_count() -> None:
    """There a bind to all addresses is seen without a second machine; elsewhere this node's addresses are not meant."""
    own = ["127.0.0.1", "10.66.0.1", "44.128.0.9", "fe80::1"]
    assert places(["10.66.0.1"], overlay(None), own) == [Place("44.128.0.9", "own")]
    assert places(["10.66.0.3"], overlay(None), own) == []


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        ([], None),
        ([Place("44.128.0.3", "endpoint")], None),
        ([Place("44.128.0.4", "url"), Place("44.128.0.3", "endpoint", answers=True)], "posture.exposed"),
        ([Place("44.128.0.3", "url", answers=True)], "posture.exposed"),
    ],
)
def test_judge(seen: list[Place], code: str | None) -> None:
    """A known address that is silent is not a finding; one that answers is named."""
    result = judge(URL, seen)
    assert (result.code.slug if result.code else None) == code
    assert code is None or "44.128.0.3" in result.message


def test_the_line_to_paste_binds_to_the_overlay() -> None:
    """The overlay's address is in the URL, or it is that of the peer whose tunnel ends where it answers."""
    seen = [Place("44.128.0.3", "endpoint", True)]
    state = overlay("44.128.0.3:51820")
    bind = "preflight control-plane serve --bind 10.66.0.3:9847   # on the control host"
    assert judge(URL, seen, state).remedy == bind
    assert judge(ControlUrl("http", "44.128.0.3", 9847), seen, state).remedy == bind
    assert "OVERLAY-ADDRESS" in (judge(ControlUrl("http", "44.128.0.3", 9847), seen, overlay(None)).remedy or "")


def test_what_this_user_may_not_see_is_said() -> None:
    """An ordinary user does not know where a tunnel ends, so silence about it would look like a proof."""
    hidden = replace(overlay(None), peers=(), unreadable=PRIVILEGE)
    assert "may not read" in judge(URL, [], hidden).message
    assert "may not read" not in judge(URL, [], overlay(None)).message
