"""Conditions: what the facts of a cause and of an effect must show before the one explains the other."""

import pytest

from preflight.api import CONTROL, Direction, codes, failed
from preflight.engine.conditions import sent_from_its_address
from preflight.model.facts import ControlTunnelFacts, DeathFacts
from tests.engine.test_diagnosis import at, named


@pytest.mark.parametrize(("source", "explained"), [("fd66::2", True), ("fd66::1", False)])
def test_what_is_sent_from_a_peers_own_address_brings_no_answer(source: str, explained: bool) -> None:
    """This node took the address of b as its own, and the kernel sends from it to others too, who answer b."""
    facts = DeathFacts(address="fd66::2")
    own = failed(codes.OVERLAY_DUPLICATE_ADDRESS, "b", Direction.FORWARD, "it is this node's", facts=facts)
    way = ControlTunnelFacts(addresses=1, addresses_open=0, tunnel_handshake_age_s=None, source=source)
    silent = failed(codes.CONTROL_TIMEOUT, CONTROL, Direction.ROUND_TRIP, "silent", facts=way)
    assert sent_from_its_address(own, silent) is explained
    assert len(named(at("overlay.route", own), at("control.connect", silent))) == (1 if explained else 2)
