"""What each product's words say of the NAT before this node."""

import json
from pathlib import Path
from typing import Any

import pytest

from preflight.model.own_nat import OwnNat
from preflight.overlay.own_nat import of_configuration, of_netcheck, of_service

SAMPLES = Path(__file__).parent / "samples"
NETCHECK: dict[str, Any] = {
    "UDP": True, "IPv6": False, "IPv4": True, "MappingVariesByDestIP": False, "UPnP": False, "PMP": False, "PCP": False,
    "PreferredDERP": 900, "GlobalV4": "192.0.2.7:41641", "GlobalV6": "", "CaptivePortal": None,
}  # fmt: skip
OWN = ("127.0.0.1", "10.0.0.5")


@pytest.mark.parametrize(
    ("said", "own", "expected"),
    [
        ({}, OWN, (True, False, True, False)),
        ({}, (*OWN, "192.0.2.7"), (True, False, False, False)),
        ({"MappingVariesByDestIP": True, "UPnP": True}, OWN, (True, True, True, True)),
        # What netcheck does not know is null; without UDP nobody sees an address.
        (
            {"UDP": False, "MappingVariesByDestIP": None, "GlobalV4": "", "PMP": None},
            OWN,
            (False, None, None, None),
        ),
        ({"UPnP": None, "PCP": True}, OWN, (True, False, True, True)),
    ],
)
def test_netcheck(said: dict[str, Any], own: tuple[str, ...], expected: tuple[bool | None, ...]) -> None:
    """What is missing is not known, and one router that maps ports is enough."""
    found = of_netcheck({**NETCHECK, **said}, own)
    assert (found.udp, found.hard, found.translated, found.port_mapping) == expected
    assert found.by == "tailscale netcheck"


def test_an_empty_answer_says_nothing() -> None:
    """Another version may leave all of it out."""
    assert of_netcheck({}, OWN) == OwnNat(by="tailscale netcheck")


def service(**settings: Any) -> dict[str, Any]:
    """ZeroTier's state as it was recorded, with other settings."""
    info: dict[str, Any] = json.loads((SAMPLES / "zerotier/live2/relay.info.json").read_text(encoding="utf-8"))
    info["config"]["settings"] |= settings
    return info


def test_zerotier() -> None:
    """Roots that see different ports, one port that may be all that was seen, and nobody who sees it."""
    recorded = of_service(service(), ("10.232.1.1",))
    assert (recorded.udp, recorded.hard, recorded.translated, recorded.port_mapping) == (True, None, False, False)
    hard = of_service(service(surfaceAddresses=["192.0.2.7/4001", "192.0.2.7/4002"]), OWN)
    assert (hard.udp, hard.hard, hard.translated) == (True, True, True)
    assert of_service(service(surfaceAddresses=[]), OWN).udp is None
    assert of_service({**service(), "tcpFallbackActive": True}, OWN).udp is False
    forced = of_service({**service(forceTcpRelay=True), "tcpFallbackActive": True}, OWN)
    assert (forced.forced, forced.udp) == ("forceTcpRelay", None)
    # An older service tells none of it.
    assert of_service({"address": "aaaaaaaa01", "clock": 1}, OWN) == OwnNat(by="ZeroTier")


def test_nebula() -> None:
    """It punches only if its configuration says so."""
    assert of_configuration({}, "/etc/nebula/config.yml").punches is False
    assert of_configuration({"punchy": {"punch": True}}, "/etc/nebula/config.yml").punches is True
