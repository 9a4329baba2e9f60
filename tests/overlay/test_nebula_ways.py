"""How Nebula finds members, from configurations and certificates of several versions."""

from ipaddress import ip_network
from typing import Any

import pytest

from preflight.model.overlay import OverlayState
from preflight.model.remedy import as_text
from preflight.overlay import nebula
from preflight.overlay.nebula_ways import asks_none, behind, lost, routed
from preflight.proto.tunnel.route_advice import into_the_overlay
from tests.overlay.test_sample_causes import NOW_UNIX_S, device

_MANY = [{"gateway": "10.77.0.9"}]
SUBNET = ip_network("10.50.0.0/24")
OLD: dict[str, Any] = {"details": {"name": "nb", "ips": ["10.77.0.20/24"], "subnets": ["10.50.0.0/24"]}}
NEW: dict[str, Any] = {
    "details": {"name": "nb", "networks": ["10.77.0.20/24"], "unsafeNetworks": ["10.50.0.0/24"]},
    "version": 2,
}
HOST: dict[str, Any] = {"vpnIp": "10.77.0.20", "currentRemote": {"ip": "192.0.2.2", "port": 4242}}


@pytest.mark.parametrize(
    ("lighthouse", "why"),
    [
        ({"hosts": ["10.77.0.1"]}, None),
        ({"am_lighthouse": False, "hosts": []}, "names no lighthouse"),
        ({"am_lighthouse": True, "hosts": ["10.77.0.1"]}, "is a lighthouse itself"),
        (None, "names no lighthouse"),
    ],
)
def test_whom_it_asks(lighthouse: Any, why: str | None) -> None:
    """A lighthouse asks nobody, even where its configuration names another one."""
    said = asks_none({"lighthouse": lighthouse})
    assert (said is None) if why is None else (why in (said or ""))


def test_where_its_routes_lead() -> None:
    """To one member, or to several from version 1.10 on."""
    entries = [
        {"route": "10.50.0.0/24", "via": "10.77.0.20"},
        {"route": "10.60.0.0/24", "via": [{"gateway": "10.77.0.9"}]},
    ]
    assert routed({"tun": {"unsafe_routes": entries}}) == (
        (SUBNET, "10.77.0.20"),
        (ip_network("10.60.0.0/24"), "10.77.0.9"),
    )
    assert routed({"tun": {"unsafe_routes": None}}) == ()


@pytest.mark.parametrize(("certificate", "networks"), [(OLD, (SUBNET,)), (NEW, (SUBNET,)), (None, None), ({}, None)])
def test_what_is_behind_a_member(certificate: Any, networks: Any) -> None:
    """A member that is only pending has shown no certificate."""
    assert behind(HOST | {"cert": certificate}) == networks


def test_a_member_has_what_is_behind_it() -> None:
    """So an address there is known to be its, and the lever is a line of the configuration."""
    config = {"tun": {"dev": "neb0"}, "lighthouse": {"hosts": []}}
    links = [device("neb0", "10.77.0.10/24")]
    own = {"details": {"ips": ["10.77.0.10/24"], "notAfter": "2027-11-23T07:44:59Z"}}
    state = nebula.state_from(config, own, nebula.parse_hostmap([HOST | {"cert": OLD}], []), links, NOW_UNIX_S)
    peer = state.peer_for("10.50.0.7")
    assert peer is not None
    assert peer.key == "10.77.0.20"
    line = as_text(into_the_overlay(state, "10.50.0.7", 254)) or ""
    assert line.startswith("unsafe_routes: [{route: 10.50.0.0/24, via: 10.77.0.20}]   # under tun in ")
    assert (as_text(into_the_overlay(state, "10.51.0.7", 254)) or "").endswith("ip rule; ip route get 10.51.0.7")
    assert as_text(into_the_overlay(state, "10.77.0.20", 254)) == "ip route replace 10.77.0.20/32 dev neb0"


def test_an_address_that_the_interface_lost() -> None:
    """Nebula sends nothing from another one than its certificate's."""
    assert lost(OLD["details"], device("neb0")) == ("10.77.0.20/24",)
    assert lost(NEW["details"], device("neb0", "10.77.0.20/24")) == ()
    assert lost({}, device("neb0")) == ()


def test_an_address_that_no_member_is_known_to_have() -> None:
    """What would lead there is asked for, next to the kernel's routes: nothing is called a fix."""
    remedies = into_the_overlay(OverlayState("nebula", "neb0", up=True, mtu=1300), "10.50.0.9", 254)
    assert {each.kind for each in remedies} == {"next"}
    assert "tun.unsafe_routes in its configuration" in remedies[0].lines[0]
