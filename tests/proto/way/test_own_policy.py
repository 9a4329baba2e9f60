"""The product's own rules as what kills a burst."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from preflight.model.product_policy import OutPolicy, Permit
from preflight.proto.way.observation import Observation
from preflight.proto.way.own_policy import observe_inbound, observe_policy
from tests.proto.way.seeing import LENGTH, PROBE, B, inner, outer, peer, state, view

FILE = "/etc/nebula/config.yml"
BURST = tuple(inner(out=True) for _ in range(6))
LEFT = outer("data", out=True, product="nebula", inner_bytes=(LENGTH - 15, LENGTH))


def found(*permits: Permit, left: bool = False, taken: bool = True) -> Observation | None:
    """What is said of a burst to b."""
    packets = (*(BURST if taken else ()), *((LEFT,) if left else ()))
    tunnel = state(product="nebula", policy=OutPolicy(FILE, permits))
    return next(iter(observe_policy(view(*packets, before=tunnel))), None)


@pytest.mark.parametrize(
    "permit",
    [
        Permit(),
        Permit(protocol="udp"),
        Permit(ports=(800, 900)),
        Permit(to=(ip_network("10.66.0.0/24"),)),
        Permit(named=("host b",)),
    ],
)
def test_what_may_let_it_out(permit: Permit) -> None:
    """Nothing is said: a group may be the peer's."""
    assert found(Permit(protocol="tcp"), permit) is None


def test_a_rule_for_a_group() -> None:
    """The group may be the peer's: it is not where the product has a session with it and sends nothing in it."""
    group = Permit(named=("host c", "group workers"))
    said = found(group)
    assert said is not None
    assert said.death is not None
    assert "for host c or group workers" in said.death.message
    assert found(group, left=True) is None
    assert found(group, taken=False) is None
    tunnel = state(peer(endpoint=None), product="nebula", policy=OutPolicy(FILE, (group,)))
    assert observe_policy(view(*BURST, before=tunnel)) == ()
    asked = outer("initiation", out=True, product="nebula")
    tunnel = state(product="nebula", policy=OutPolicy(FILE, (group,)))
    assert observe_policy(view(*BURST, asked, before=tunnel)) == ()


@pytest.mark.parametrize(
    "permits",
    [
        (),
        (Permit(protocol="icmp"), Permit(protocol="tcp")),
        (Permit(ports=(1, 2)),),
        (Permit(to=(ip_network("10.66.0.3/32"), ip_network("fd66::/64"))),),
        (Permit(named=("host c",)),),
    ],
)
def test_what_does_not(permits: tuple[Permit, ...]) -> None:
    """The tunnel took the burst, and nothing left: the file is named, with what it lets out."""
    said = found(*permits)
    assert said is not None
    assert said.death is not None
    assert (said.death.code.slug, said.death.certain) == ("reach.no-forward", True)
    assert said.death.facts is not None
    assert said.death.facts.file == FILE
    assert all(word in said.death.message for word in (FILE, B))


def test_a_file_that_the_product_has_not_read() -> None:
    """What is seen to leave was not stopped by rules that the product has not read yet."""
    for said in (found(left=True), found(taken=False)):
        assert said is not None
        assert said.death is not None
        assert not said.death.certain


def asked(*permits: Permit, came: tuple[int, ...] = ()) -> Observation | None:
    """What a responder says of an asker's packets. came: when some came out of the tunnel, in ms of the burst."""
    answers = tuple(replace(inner(out=False), received_ns=BURST[0].received_ns + each * 1_000_000) for each in came)
    tunnel = state(product="nebula", policy=OutPolicy(FILE, (Permit(),), permits))
    return next(iter(observe_inbound(view(*BURST, *answers, before=tunnel))), None)


def test_what_does_not_let_an_asker_in() -> None:
    """Its packets come in as answers once this node has sent some: only what came before that shows an open way."""
    for came in ((), (5,)):
        said = asked(Permit(protocol="icmp"), Permit(ports=(1, 2)), came=came)
        assert said is not None
        assert said.death is not None
        assert (said.station.id, said.station.host, said.direction) == ("session", "receiver", "reverse")
        assert (said.death.code.slug, said.death.certain) == ("overlay.policy-drop", True)
        assert said.death.facts is not None
        assert said.death.facts.port == PROBE
    assert asked(Permit(protocol="icmp"), came=(-5,)) is None
    named = asked(Permit(named=("host c",)))
    assert named is not None
    assert named.death is not None
    assert not named.death.certain, "the asker may have that name"
    assert asked(Permit(protocol="udp")) is None
    assert asked(Permit(named=("group workers",))) is None


def test_rules_for_what_comes_in_that_nobody_could_read() -> None:
    """Nothing is said then, nor without any rules."""
    unread = state(product="nebula", policy=OutPolicy(FILE, (Permit(),)))
    assert observe_inbound(view(*BURST, before=unread)) == ()
    assert observe_inbound(view(*BURST)) == ()
