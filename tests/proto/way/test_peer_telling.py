"""What a responder reports of its observations: those of its host only, turned round, without a sentence."""

from dataclasses import replace

import pytest

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.model.fix import LinkUp
from preflight.model.remedy import by_hand, heal, look
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.peer_telling import told
from preflight.proto.way.stations import Station

FIX = LinkUp(interface="wg0")
DEATH = Death(
    code=codes.HOST_FIREWALL_DROP,
    message="this node's own firewall drops packets",
    facts=DeathFacts(rule_handle=7),
    remedies=heal(lambda: FIX),
    certain=False,
)


@pytest.mark.parametrize(
    ("station", "direction", "becomes"),
    [
        (Station("filter-out", "sender"), "forward", "reverse"),
        (Station("input", "receiver"), "reverse", "forward"),
        (Station("input", "receiver"), "forward", None),
        (Station("filter-out", "sender"), "reverse", None),
        (Station("network", "network"), "forward", None),
        (Station("forward", "forwarder"), "forward", None),
    ],
)
def test_only_of_its_own_host(station: Station, direction: str, becomes: str | None) -> None:
    """What leaves here is on the asker's reverse way, and what comes in here on its forward way."""
    found = list(told([Observation(station=station, finding="seen", direction=direction, sent=3, seen=2)]))  # type: ignore[arg-type]
    assert [(each.station, each.direction, each.sent, each.seen) for each in found] == (
        [(station.id, becomes, 3, 2)] if becomes else []
    )


def test_a_death_is_told_by_code_facts_and_fix() -> None:
    """The sentence stays here: the asker makes its own."""
    (said,) = told([Observation(station=Station("filter-out"), finding="killed", death=DEATH)])
    assert (said.code, said.facts, said.certain, said.fixes) == ("host.firewall-drop", DEATH.facts, False, (FIX,))
    assert "own firewall" not in str(said)


def test_a_death_without_a_cause_is_not_told() -> None:
    """Nobody could say what it means."""
    assert not list(told([Observation(station=Station("filter-out"), finding="killed")]))


@pytest.mark.parametrize(
    "remedies",
    [(*heal(lambda: FIX), *by_hand("restart it")), heal(lambda: FIX, where="peer", host="c"), look("ip link")],
)
def test_only_a_whole_change_of_this_host_is_told(remedies: tuple[object, ...]) -> None:
    """Half of what heals, or what heals elsewhere, heals nothing at the asker's peer."""
    death = Death(code=codes.HOST_FIREWALL_DROP, message="", remedies=remedies)  # type: ignore[arg-type]
    (said,) = told([Observation(station=Station("filter-out"), finding="killed", death=death)])
    assert not said.fixes


def test_changes_that_belong_together_are_told_together() -> None:
    """A rule in each of two chains needs a line for each."""
    more = LinkUp(interface="eth0")
    death = Death(code=codes.HOST_FIREWALL_DROP, message="", remedies=(*heal(lambda: FIX), *heal(lambda: more)))
    (said,) = told([Observation(station=Station("filter-out"), finding="killed", death=death)])
    assert said.fixes == (FIX, more)


def test_what_was_changed_was_not_seen() -> None:
    """A packet with another source is another packet: that one left says nothing of what was sent."""
    facts = DeathFacts(rule_handle=7, chain="guard source", source="10.66.0.27")
    rewrite = Death(code=codes.REACH_NO_FORWARD, message="", facts=facts)
    seen = [Observation(station=Station(id), finding="seen") for id in ("filter-out", "post-out", "tunnel", "wire")]
    came = Observation(station=Station("tunnel", "receiver"), finding="seen", direction="reverse")
    killed = Observation(station=Station("post-out"), finding="killed", death=rewrite)
    found = [(each.station, each.direction) for each in told([*seen, came, killed]) if each.finding == "seen"]
    assert found == [("filter-out", "reverse"), ("post-out", "reverse"), ("tunnel", "forward")]


def test_nothing_is_told_once() -> None:
    """Two observers that found nothing at one station say it once, and not at all where something is known."""
    words = [
        Observation(station=Station("egress"), finding="clear"),
        Observation(station=Station("egress"), finding="blind"),
        Observation(station=Station("tunnel"), finding="blind"),
        Observation(station=Station("tunnel"), finding="seen", seen=3),
    ]
    assert [(each.station, each.finding) for each in told(words)] == [("egress", "clear"), ("tunnel", "seen")]


def test_a_rule_for_all_is_told_once() -> None:
    """Large packets die of the rule that kills every packet; only a rule for them alone is reported."""
    every = DeathFacts(rule_handle=7, chain="guard output")
    words = [
        Observation(station=Station("filter-out"), finding="killed", death=replace(DEATH, facts=every)),
        *(
            Observation(
                station=Station("filter-out"), finding="killed", packets="large", death=replace(DEATH, facts=facts)
            )
            for facts in (every, replace(every, packet_class="large"), replace(every, rule_handle=8))
        ),
    ]
    found = [(each.packets, each.facts and each.facts.rule_handle) for each in told(words)]
    assert found == [("inner", 7), ("large", 8)]
