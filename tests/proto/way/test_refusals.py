"""Who refuses the tunnel's packets, in words that hold what was seen and no more."""

from dataclasses import replace

import pytest

from preflight.model.tapped import Refused
from preflight.proto.way.observation import Death
from preflight.proto.way.refusals import observe_refusals
from tests.proto.way.seeing import HERE, PORT, ROUTER, THERE, grown, outer, peer, refusal, state, view

NEVER = state(peer(last_handshake_unix_s=0.0, rx_bytes=0))


def _only(*packets: object, **values: object) -> tuple[str, str, Death]:
    (found,) = observe_refusals(view(*packets, **values))  # type: ignore[arg-type]
    assert found.death is not None
    assert found.finding == "killed"
    assert found.direction == "forward"
    return found.station.id, found.death.code.slug, found.death


@pytest.mark.parametrize(
    ("offender", "who"), [(ROUTER, "this node's own gateway"), ("203.0.113.9", "a router on the way")]
)
@pytest.mark.parametrize("reason", ["port", "prohibited"])
@pytest.mark.parametrize(
    ("before", "code"), [(state(), "reach.no-forward"), (NEVER, "overlay.no-handshake")], ids=["session", "never"]
)
def test_a_router_refuses(offender: str, who: str, reason: Refused, before: object, code: str) -> None:
    """The sentence names the router: its owner can change that, and nobody else."""
    station, slug, death = _only(refusal(offender, reason), refusal(offender, reason), before=before)
    assert (station, slug) == ("network", code)
    assert death.facts is not None
    assert death.facts.offender == offender
    assert f"{who}, {offender}, refuses" in death.message
    assert "2 ICMP errors" in death.message


def test_the_endpoint_s_host_refuses() -> None:
    """Without a packet from that port it may be closed or filtered, and both are said."""
    station, slug, death = _only(refusal(THERE))
    assert (station, slug) == ("socket-outer", "reach.unreachable")
    assert "closed, or refused by a filter" in death.message
    assert THERE in death.message


def test_the_endpoint_s_host_refuses_and_its_port_is_in_use() -> None:
    """Data comes from the very port: so it is open, and a filter refuses what goes to it."""
    after = grown(state(), rx_bytes=5000)
    station, slug, death = _only(refusal(THERE), outer("data", out=False), after=after)
    assert (station, slug) == ("input-outer", "reach.no-forward")
    assert "the port itself is in use" in death.message


def test_what_came_earlier_in_the_run_shows_that_the_port_is_in_use() -> None:
    """The peer's report or hello came through the tunnel, although the tap saw none of it."""
    station, slug, death = _only(refusal(THERE), arrived=True)
    assert (station, slug) == ("input-outer", "reach.no-forward")
    assert "the port itself is in use" in death.message


@pytest.mark.parametrize(("reason", "shown"), [("prohibited", "nft -a list ruleset"), ("port", "wg show all")])
def test_what_shows_more_fits_what_is_said(reason: Refused, shown: str) -> None:
    """A filter that says so is looked for; a port that may be closed, in the peer's tunnel."""
    (remedy,) = _only(refusal(THERE, reason=reason))[2].remedies
    assert remedy.lines[0].startswith(shown)


@pytest.mark.parametrize(("product", "shown"), [("nebula", "'nebula*'"), ("openvpn", "'openvpn*'")])
def test_what_shows_more_is_of_the_product(product: str, shown: str) -> None:
    """Its own daemon on the host that refuses, which for OpenVPN need not be the peer."""
    (remedy,) = _only(refusal(THERE), after=replace(state(), product=product))[2].remedies
    assert remedy.lines[0].startswith(f"systemctl status {shown}; ss -ulpn")
    assert (remedy.host is None) is (product == "openvpn")


def test_a_port_forward_to_a_host_that_is_gone() -> None:
    """The endpoint's own address says that a host is unreachable: it cannot mean itself."""
    station, slug, death = _only(refusal(THERE, reason="host"))
    assert (station, slug) == ("network", "reach.unreachable")
    assert "on to a host that it cannot find" in death.message
    assert "present address" in death.remedies[0].lines[0]


def test_the_own_router_s_public_address() -> None:
    """The error passed no router although the endpoint is behind one: the endpoint is that router itself."""
    at_router = state(peer(endpoint="44.128.0.9:51820", last_handshake_unix_s=0.0, rx_bytes=0))
    error = refusal("44.128.0.9", ttl=64, destination="44.128.0.9")
    station, slug, death = _only(error, before=at_router)
    assert (station, slug) == ("route-outer", "overlay.endpoint-hairpin")
    assert death.facts is not None
    assert death.facts.offender == "44.128.0.9"


@pytest.mark.parametrize(
    ("ttl", "gateway", "endpoint"),
    [(63, ROUTER, "44.128.0.9"), (64, None, "44.128.0.9"), (64, ROUTER, "10.201.2.2")],
    ids=["farther", "on the same link", "a private address"],
)
def test_what_is_not_the_own_router(ttl: int, gateway: str | None, endpoint: str) -> None:
    """Each is the endpoint's own host."""
    there = state(peer(endpoint=f"{endpoint}:51820"))
    error = refusal(endpoint, ttl=ttl, destination=endpoint)
    assert _only(error, before=there, gateway=gateway)[0] == "socket-outer"


def test_a_host_that_a_router_cannot_find() -> None:
    """The router is named, and that it searched: neither direction leads there, and its owner can do nothing."""
    found = _only(refusal("203.0.113.9", "host"))[2]
    assert "203.0.113.9, cannot find" in found.message
    assert found.code.slug == "reach.unreachable"
    assert "is its uplink up?" in found.remedies[0].lines[0]


def test_what_is_no_refusal() -> None:
    """Own errors, errors about others, too large packets, and a burst that was answered."""
    about_others = refusal(ROUTER, destination="203.0.113.50")
    another_port = refusal(ROUTER, source_port=9)
    for packet in (refusal(HERE), about_others, another_port, refusal(ROUTER, "too big"), refusal(ROUTER, "expired")):
        assert observe_refusals(view(packet)) == ()
    burst = view().burst
    answered = type(burst)(flow=burst.flow, sent=10, answered=3)
    assert observe_refusals(view(refusal(ROUTER), burst=answered)) == ()
    assert PORT
