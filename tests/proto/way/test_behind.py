"""A peer behind another one: what a trace inside the tunnel says of the machine that has to forward."""

from ipaddress import ip_interface

import pytest

from preflight.model.icmp import Hop, Trace
from preflight.model.overlay import PRIVILEGE
from preflight.proto.way.behind import may_be_behind, observe_behind
from tests.proto.way.seeing import KEY_B, B, C, peer, state

LAN = "192.168.7.5"
ROUTED = state(peer(address="192.168.7.0/24"))
BY_B = Trace((Hop(1, B, interface="wg0"),))


def said(address: str, trace: Trace | None, alive: bool = True) -> str | None:
    found = observe_behind(ROUTED, address, "lan", trace, alive=alive)
    assert found is None or (found.death is not None and not found.death.certain), "a trace proves no place"
    return found.death.message if found is not None and found.death is not None else None


@pytest.mark.parametrize(
    ("tunnel", "address", "behind"),
    [
        (ROUTED, LAN, True),
        (state(peer(address="10.66.0.0/24")), C, True),
        (state(peer(address=B)), B, False),
        (state(peer(address=B)), LAN, False),
        (state(unreadable=PRIVILEGE), LAN, True),
        (state(unreadable=PRIVILEGE), C, False),
    ],
)
def test_who_may_be_behind_a_peer(tunnel: object, address: str, behind: bool) -> None:
    """An address that one peer has for itself is handed on by nobody, so nothing is sent to find that out."""
    assert may_be_behind(tunnel, address) is behind  # type: ignore[arg-type]


def test_a_forwarder_that_answers_is_named() -> None:
    """It is alive and has a route: the sentence is about what is behind it, and the line leads back to it."""
    found = observe_behind(ROUTED, LAN, "lan", BY_B, alive=True)
    assert found is not None
    assert found.death is not None
    assert found.death.message.startswith(f"{B} gets packets for lan and has a route for them")
    assert found.death.facts is not None
    assert found.death.facts.offender == B
    (remedy,) = found.death.remedies
    assert (remedy.kind, remedy.host) == ("next", B)
    assert remedy.lines[1].endswith(f"it must lead back to {B}")


def test_a_peer_that_answers_no_probe_does_not_forward() -> None:
    """Only with a session that lives: else nothing comes to it anyway."""
    assert KEY_B in (said(LAN, Trace(())) or "")
    assert "net.ipv4.ip_forward" in (said(LAN, Trace(())) or "")
    assert said(LAN, Trace(()), alive=False) is None


def test_another_that_answers_through_the_same_peer_shows_who_should_hand_on() -> None:
    """A hub whose forwarding is off: its own address answers, and nothing behind it does."""
    hub = state(peer(address="10.66.0.0/24"))
    assert observe_behind(hub, C, "c", Trace(()), alive=True) is None
    found = observe_behind(hub, C, "c", Trace(()), alive=True, heard=(B,))
    assert found is not None
    assert found.death is not None
    assert (found.station.host, found.death.certain) == ("forwarder", False)
    assert f"as those for {B}, which answers" in found.death.message
    separate = state(peer(address="10.66.0.3/32"), peer("another", address=B))
    assert observe_behind(separate, C, "c", Trace(()), alive=True, heard=(B,)) is None


def test_an_address_without_a_network_shows_nobody_behind() -> None:
    """With a /32 of its own and everything routed to one peer, that peer may be the target itself."""
    alone = state(peer(address="10.66.0.0/24"), addresses=(ip_interface("10.66.0.1/32"),))
    assert observe_behind(alone, B, "b", Trace(()), alive=True) is None


@pytest.mark.parametrize(
    "trace",
    [None, Trace((Hop(1, LAN, reached=True, interface="wg0"),)), Trace((Hop(1, "192.0.2.254", interface="eth0"),))],
)
def test_what_says_nothing_of_a_forwarder(trace: Trace | None) -> None:
    """No trace, one that got there, or an answer from outside the tunnel while the session is dead."""
    assert said(LAN, trace, alive=False) is None
