"""What each product's words say of the NAT before this node."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from preflight.model.own_nat import OwnNat
from preflight.model.stun import StunAnswer
from preflight.overlay.own_nat import known_nat, of_configuration, of_netcheck, of_servers, of_service

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


def answers(*ports: int, host: str = "192.0.2.7") -> tuple[StunAnswer, ...]:
    """One socket, as several servers see it."""
    return tuple(
        StunAnswer(f"s{number}", f"198.51.100.{number}", local="10.0.0.5:4000", mapped=f"{host}:{port}")
        for number, port in enumerate(ports)
    )


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (answers(5000, 5001), (True, True, True)),
        (answers(5000, 5000), (True, False, True)),
        (answers(5000), (True, None, True)),
        (answers(4000, 4000, host="10.0.0.5"), (True, False, False)),
        # A NAT on the way may keep the address of this node, and not the port.
        (answers(5000, host="10.0.0.5"), (True, None, True)),
    ],
)
def test_what_servers_see(seen: tuple[StunAnswer, ...], expected: tuple[bool, bool | None, bool]) -> None:
    """The ports that decide are in the words."""
    nat = of_servers(seen, OWN)
    assert nat is not None
    assert (nat.udp, nat.hard, nat.translated) == expected
    assert nat.by.startswith(f"s0 sees {seen[0].mapped}")


def test_servers_that_see_nothing() -> None:
    """They may be down: nothing is said about UDP."""
    assert of_servers((StunAnswer("s0", why="silent"),), OWN) is None


@pytest.mark.parametrize(("found", "asks"), [(None, True), (OwnNat(by="x", udp=False), False)])
def test_who_is_asked(monkeypatch: pytest.MonkeyPatch, found: OwnNat | None, asks: bool) -> None:
    """Servers only where the product does not know."""
    asked: list[bool] = []

    async def read(*_: Any) -> OwnNat | None:
        return found

    async def ask() -> tuple[StunAnswer, ...]:
        asked.append(True)
        return answers(5000, 5001)

    monkeypatch.setattr("preflight.overlay.own_nat.read_nat", read)
    nat = asyncio.run(known_nat("tailscale", (), ask))
    assert nat is not None
    assert (nat.hard is True, bool(asked)) == (asks, asks)
