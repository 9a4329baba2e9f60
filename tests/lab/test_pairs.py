"""Two faults at once: what is drawn together can be seen together, and either truth stays what it is alone."""

from dataclasses import replace
from itertools import combinations

import pytest

from preflight.lab.axes.setup import Setup
from preflight.lab.draws import Draw, Wanted, draws
from preflight.lab.pairs import hidden, may_meet
from preflight.lab.stations.catalogue import FAULTS

PLAIN = Setup()


def why(first: str, second: str, setup: Setup = PLAIN) -> str | None:
    return hidden(setup, FAULTS[first], FAULTS[second])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("filter-out-drop", "filter-out-drop-answers"),
        ("filter-out-drop", "input-drop-answers"),
        ("input-drop", "input-outer-rule"),
        ("egress-policy", "post-outer-drop-b"),
        ("network-narrow-forward", "network-loss-reverse"),
        ("network-jitter-forward", "network-loss-reverse"),
        ("filter-out-drop", "network-slow-control"),
        ("filter-out-drop", "server-list-503"),
        ("filter-out-drop", "posture-secret-in-git"),
    ],
)
def test_both_are_seen(first: str, second: str) -> None:
    """Protects draws of two directions, of two peers, and of two ways from being left out."""
    assert why(first, second) is None
    assert why(second, first) is None
    assert may_meet(FAULTS[first], FAULTS[second])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("filter-out-drop", "input-drop"),  # one direction
        ("filter-out-drop", "network-silent-both"),
        ("filter-out-drop", "network-loss-reverse"),  # nothing comes back to be counted
        ("network-loss-forward", "network-loss-reverse"),  # one cause with two directions
        ("network-narrow-forward", "network-narrow-reverse"),
        ("network-policer-forward", "network-narrow-reverse"),
        ("filter-outer-rule", "input-outer-rule"),
        ("input-reject", "filter-out-drop-answers"),  # b's refusal does not come back
        ("input-udp", "filter-out-drop-answers"),  # echo requests are not answered either
        ("post-outer-snat", "filter-out-drop"),
        ("input-drop", "network-narrow-control-forward"),  # b's report comes by the control plane
        ("server-list-503", "token-spent"),
    ],
)
def test_one_hides_the_other(first: str, second: str) -> None:
    """Protects the truth of two faults: what nobody can see is not asked for."""
    assert why(first, second) is not None
    assert why(second, first) is not None


@pytest.mark.parametrize(
    "setup",
    [
        Setup(responder="absent"),
        Setup(responder="keyless", home="peer"),
        Setup(home="peer"),
        Setup(control="none"),
        Setup(user="ordinary"),
    ],
    ids=str,
)
def test_both_directions_dead_need_somebody_who_tells(setup: Setup) -> None:
    """Protects set-ups where b's report does not come: one side alone sees no direction there."""
    assert why("input-drop", "filter-out-drop-answers", setup) is not None


def test_the_hub_is_on_the_way_of_outer_packets_only() -> None:
    """Protects the hub: its own tunnel is the way to the mailbox, and rules inside the tunnel leave it alone."""
    hub = Setup(layout="hub")
    assert why("filter-out-drop", "input-drop-answers", hub) is None
    assert why("filter-out-drop", "input-outer-rule", hub) is not None


def test_what_cuts_a_off_is_alone() -> None:
    """Protects requests from being asked for where nothing of a gets anywhere."""
    for name in ("route-outer-no-default", "route-outer-uplink-down", "neighbour-static", "filter-outer-kill-switch"):
        assert FAULTS[name].alone, name
        assert not FAULTS[f"{name}-b"].alone, name
        assert not may_meet(FAULTS[name], FAULTS["server-list-503"])


def test_no_fault_meets_itself() -> None:
    """Protects against a draw with one fault twice."""
    assert not any(may_meet(fault, replace(fault)) for fault in FAULTS.values())


def test_truths_of_a_pair_are_distinct() -> None:
    """Protects the score: two truths that one cause could satisfy would count it twice."""
    rules = Wanted(("filter-*", "input-*", "egress-*", "network-loss-*", "network-narrow-*", "network-jitter-*"))
    two = [each for each in draws(1, 600, rules) if each.any_order]
    assert len(two) > 10
    for drawn in two:
        for one, other in combinations(drawn.truths(), 2):
            assert (one.target, one.direction) != (other.target, other.direction), drawn


def test_packets_alone_have_no_order() -> None:
    """Protects the order of repair where there is one: what carries requests is repaired before them."""
    assert Draw(PLAIN, ("filter-out-drop", "input-drop-answers")).any_order
    assert not Draw(PLAIN, ("filter-out-drop", "server-list-503")).any_order
    assert Draw(PLAIN, ("tunnel-older-file", "server-list-503")).any_order
    assert not Draw(PLAIN, ("filter-out-drop",)).any_order


@pytest.mark.parametrize("setup", [Setup(product="openvpn"), Setup(layout="hub")], ids=str)
def test_one_tunnel_is_the_way_to_the_control_plane_too(setup: Setup) -> None:
    """Protects faults of the control plane from a tunnel whose death hides them: all goes to one member first."""
    assert why("network-silent-reverse", "posture-scope-open", setup) is not None
    assert why("posture-scope-open", "network-silent-reverse", setup) is not None
    assert why("filter-out-drop", "posture-scope-open", setup) is None
    assert why("network-silent-reverse", "posture-scope-open") is None
