"""Real tunnels, broken one at a time: what a tap and the tunnel's own state say of each."""

import pytest

from preflight.lab.axes.setup import Setup
from preflight.lab.draws import Draw
from preflight.lab.labs import fresh_lab
from preflight.lab.scenario_file import scenario_of
from preflight.lab.stations.catalogue import FAULTS
from preflight.lab.truth import Truth
from preflight.proto.way.observation import Observation
from preflight.proto.way.told import observe_told
from tests.lab.bare import bare
from tests.lab.tapping import BURSTS_S, ONE_QUESTION_S, PATIENT_S, WAIT_S, Looked, ask, look

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

HERE: dict[str, dict[str, str]] = {
    "session-stale-key-there": {},
    "session-preshared": {},
    "session-preshared-there": {},
    "session-not-allowed": {},
    "session-taken": {},
    "wire-two-tunnels": {},
    "route-outer-hairpin": {},
    "network-refused-prohibited": {},
    "network-refused-port": {"families": "ipv6", "outer": "ipv6"},
    "input-outer-reject-b": {},
    "socket-outer-gone-b": {},
    "network-answers-elsewhere": {"product": "openvpn"},
    "session-wrong-end": {"product": "vxlan"},
}
"""Faults that this node sees alone, and set-ups that can have them."""
BY_THE_PEER = ("session-stale-key", "session-unknown-there", "session-not-allowed-there", "session-taken-there")
"""Faults that only both ends together show."""


def _said(found: Observation, truth: Truth) -> None:
    """The code, the place and the value that decides are those of the fault."""
    assert found.death is not None
    # In a short look nothing may come from a port that refuses, and then a closed port looks the same.
    assert found.death.code.slug in (truth.code, *truth.vague)
    if truth.place is not None:
        assert (found.station.id, found.station.host) == (truth.place.station, truth.place.host)
    if truth.deciding is not None:
        assert str(getattr(found.death.facts, truth.deciding.field)) == str(truth.deciding.value)
        assert str(truth.deciding.value) in found.death.message


def _killed(looked: Looked) -> Observation:
    (found,) = [each for each in looked.found if each.finding == "killed"]
    return found


@pytest.mark.parametrize("name", HERE)
def test_what_this_node_sees_alone(name: str) -> None:
    """One station, with the value that decides in the sentence, and no other one."""
    setup = Setup.of(HERE[name])
    scenario = scenario_of(Draw(setup, (name,)))
    # A VXLAN says nothing by itself: there, what b's programs send shows where b sends it.
    with fresh_lab(scenario if setup.product == "vxlan" else bare(scenario)) as lab:
        truth = FAULTS[name].expected(setup).resolved(lab.network)
        _said(_killed(look(lab, wait_s=PATIENT_S)), truth)


@pytest.mark.parametrize("name", BY_THE_PEER)
def test_what_both_ends_show_together(name: str) -> None:
    """The peer's report names the key that is wrong; without it nothing certain is said."""
    setup = Setup(responder="observing")
    with fresh_lab(bare(scenario_of(Draw(setup, (name,))))) as lab:
        truth = FAULTS[name].expected(setup).resolved(lab.network)
        looked = look(lab, until_killed=False, wait_s=ONE_QUESTION_S)
        assert not any(each.death is not None and each.death.certain for each in looked.found)
        (found,) = observe_told(looked.view, ask(lab, looked), "b by mailbox")
        _said(found, truth)


HEALTHY: tuple[dict[str, str], ...] = (
    {},
    {"product": "vxlan"},
    {"product": "openvpn"},
    {"routes": "per-peer", "outer": "ipv6"},
)


@pytest.mark.parametrize("values", HEALTHY, ids=str)
def test_nothing_is_killed_on_a_healthy_network(values: dict[str, str]) -> None:
    """Also where nobody answers the burst, for no program listens there."""
    with fresh_lab(bare(scenario_of(Draw(Setup.of(values))))) as lab:
        looked = look(lab, wait_s=BURSTS_S if "product" in values else WAIT_S)
        assert looked.view.tapped.complete
        assert [each for each in looked.found if each.finding in ("killed", "absent")] == []
        seen = {(each.direction, each.station.id) for each in looked.found if each.finding == "seen"}
        assert {("forward", "tunnel"), ("forward", "wire")} <= seen
        if looked.view.product == "wireguard":
            assert observe_told(looked.view, ask(lab, looked), "b by mailbox") == ()
