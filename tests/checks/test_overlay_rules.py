"""When the rules are looked at, and what is known of peers then."""

import asyncio
from types import SimpleNamespace
from typing import Any

from preflight_checks.overlay_rules import overlay_rules

from preflight import codes
from preflight.api import NODE, Peer, Result, Status
from preflight.model.facts import DeathFacts, EchoFacts, HandshakeFacts
from preflight.model.overlay import OverlayState
from preflight.proto.way.observation import Death
from tests.sample_facts import sample

WIREGUARD = OverlayState("wireguard", "wg0", up=True, mtu=1420)
TAILNET = OverlayState("tailscale", "tailscale0", up=True, mtu=1280)
LEAK = Death(code=codes.OVERLAY_ROUTE_LEAK, message="the rule", facts=DeathFacts(interface="wg0"))


def asked(overlay: OverlayState | None, *found: Death, **facts: Any) -> tuple[list[Result], list[list[Peer]]]:
    """The results, and the peers that the kernel was asked about as silent ones. facts: of the only peer."""
    silent: list[list[Peer]] = []

    async def taken(state: OverlayState, peers: Any, mute: list[Peer], _: Any) -> tuple[Death, ...]:
        silent.append(list(mute))
        return found

    given = {EchoFacts: facts.get("echo"), HandshakeFacts: facts.get("session")}
    context: Any = SimpleNamespace(
        overlay=overlay,
        peers=(Peer("100.64.0.2", "nb"),),
        settings=SimpleNamespace(control=SimpleNamespace(usable_url=None)),
        facts=lambda kind, _: [each] if (each := given.get(kind)) else [],
        net=SimpleNamespace(taken_by_rules=taken),
    )

    async def results() -> list[Result]:
        return [each async for each in overlay_rules.function(context)]

    return asyncio.run(results()), silent


def test_one_tunnel_without_rules_of_its_own_is_not_asked_about() -> None:
    """A run of most nodes costs no snapshot of the kernel more."""
    for overlay in (None, WIREGUARD):
        (result,), silent = asked(overlay)
        assert (result.status, silent) == (Status.SKIP, [])


def test_what_a_rule_takes_is_about_the_node() -> None:
    """For one peer or for many, it is one finding, at its station."""
    (result,), _ = asked(TAILNET, LEAK)
    assert (result.target, result.code, result.status) == (NODE, codes.OVERLAY_ROUTE_LEAK, Status.FAIL)
    assert result.station is not None
    assert result.station.id == "route"
    assert [each.status for each in asked(TAILNET)[0]] == [Status.PASS]


def test_who_is_silent() -> None:
    """One that answered nothing, or with whom there never was a session; a dead one may have had its own end."""
    mute = sample(EchoFacts, sent=4)
    never = sample(HandshakeFacts, sent_bytes=296)
    alive = sample(HandshakeFacts, handshake_age_s=9.0, received_bytes=92)
    for facts, silent in (({"echo": mute}, 1), ({"session": never}, 1), ({"session": alive}, 0), ({}, 0)):
        assert [len(each) for each in asked(TAILNET, **facts)[1]] == [silent], facts
