"""What traces say: one flow dead while another lives, and an endpoint that is elsewhere."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from preflight import codes
from preflight.model.icmp import Hop, Trace
from preflight.model.remedy import as_text
from preflight.proto.way.trace import Traces, in_doubt, observe_private, observe_traces, only_echoes
from tests.proto.way.test_routing import killed
from tests.proto.way.world import ENDPOINT, GATEWAY, OUTER, TUNNEL, state


def trace(*addresses: str | None, reached: bool = False) -> Trace:
    """Hops in their order; reached: the last is the destination."""
    last = len(addresses)
    return Trace(tuple(Hop(ttl, each, 1.0, reached and ttl == last) for ttl, each in enumerate(addresses, 1)))


SILENT = trace()
SHORT, LONG = trace(GATEWAY), trace(GATEWAY, "198.51.100.1", "198.51.100.9")


def traces(own: Trace, fresh: Trace, echo: Trace = SILENT) -> Traces:
    """Three traces, and a second look that shows the same."""
    doubtful = in_doubt(own, fresh)
    if not doubtful:
        return Traces(own=own, fresh=fresh, echo=echo)
    again = [replace(each, hops=tuple(hop for hop in each.hops if hop.ttl in doubtful)) for each in (own, fresh)]
    return Traces(own=own, fresh=fresh, echo=echo, own_again=again[0], fresh_again=again[1])


def test_only_the_tunnel_s_own_flow_vanishes() -> None:
    """A fresh port gets further: the old flow is held on to, and another port heals it."""
    death = killed(observe_traces(traces(SHORT, LONG), OUTER, TUNNEL))
    assert (death.code, death.facts and death.facts.port) == (codes.REACH_NO_FORWARD, 51820)
    assert f"from UDP port 51820 vanish behind {GATEWAY}" in death.message
    assert "198.51.100.9" in death.message
    assert str(as_text(death.remedies)).startswith("wg set wg0 listen-port 51821")
    other = killed(observe_traces(traces(SHORT, LONG), OUTER, replace(TUNNEL, product="nebula")))
    assert {remedy.kind for remedy in other.remedies} == {"next"}


def test_a_missing_answer_counts_only_when_it_is_missing_twice() -> None:
    """Routers limit how many errors they send: the first look may have used them up."""
    first = traces(SHORT, LONG)
    for other in (
        replace(first, own_again=LONG),
        replace(first, fresh_again=SILENT),
        replace(first, own_again=replace(SILENT, error="Operation not permitted")),
        replace(first, own_again=None, fresh_again=None),
    ):
        assert observe_traces(other, OUTER, TUNNEL).finding == "blind"
    far = trace(*(f"10.0.{number}.1" for number in range(7)))
    assert (in_doubt(SILENT, far), in_doubt(SHORT, LONG)) == (range(5, 8), range(2, 4))


@pytest.mark.parametrize(
    ("own", "fresh"),
    [
        (LONG, LONG),
        (LONG, SHORT),
        (SILENT, SILENT),
        # Two different ways: nothing of one is proven by the other.
        (trace("10.0.0.9"), LONG),
        (replace(SHORT, error="Operation not permitted"), LONG),
        # The endpoint's firewall refuses what it does not know, and takes the tunnel's own packets in silence.
        (SHORT, trace(GATEWAY, ENDPOINT, reached=True)),
    ],
)
def test_silence_that_all_flows_share_proves_nothing(own: Trace, fresh: Trace) -> None:
    """No daemon answers a trace, so both may end at the last router of a way that is fine."""
    assert not in_doubt(own, fresh)
    found = observe_traces(traces(own, fresh), OUTER, TUNNEL)
    assert (found.finding, found.death) == ("blind", None)


def test_the_last_that_answer_are_named() -> None:
    """Evidence for the reader, and no verdict."""
    both = "UDP: 198.51.100.9, UDP from a fresh port: 198.51.100.9"
    assert both in observe_traces(traces(LONG, LONG), OUTER, TUNNEL).reason
    assert observe_traces(traces(SILENT, SILENT), OUTER, TUNNEL).reason.startswith("no router")
    reached = trace(GATEWAY, ENDPOINT, reached=True)
    assert "is alive" in observe_traces(traces(SHORT, SHORT, reached), OUTER, TUNNEL).reason


def test_routers_that_answer_echoes_and_no_udp() -> None:
    """UDP ends where its last router is, if those behind it answered echoes twice, and UDP neither time."""
    first = Traces(own=SHORT, fresh=SHORT, echo=LONG)
    assert only_echoes(SHORT, SHORT, LONG) == range(2, 4)
    twice = replace(first, fresh_again=SILENT, echo_again=Trace(LONG.hops[1:]))
    death = killed(observe_traces(twice, OUTER, TUNNEL))
    assert (death.code, death.facts and death.facts.offender) == (codes.REACH_NO_FORWARD, GATEWAY)
    assert f"vanishes behind {GATEWAY}" in death.message
    for other in (
        first,
        replace(twice, echo_again=SILENT),
        replace(twice, fresh_again=LONG),
        replace(twice, fresh_again=replace(SILENT, error="Operation not permitted")),
    ):
        assert observe_traces(other, OUTER, TUNNEL).finding == "blind"


@pytest.mark.parametrize(
    ("own", "fresh", "echo"),
    [
        (SHORT, SHORT, trace(GATEWAY, ENDPOINT, reached=True)),
        (SHORT, LONG, LONG),
        (SHORT, trace(GATEWAY, ENDPOINT, reached=True), LONG),
        (SHORT, SHORT, trace("10.0.0.9", "198.51.100.1")),
        (replace(SHORT, error="Operation not permitted"), SHORT, LONG),
    ],
    ids=["only-the-host", "as-far", "udp-gets-there", "another-way", "own-filter"],
)
def test_echoes_that_show_no_filter(own: Trace, fresh: Trace, echo: Trace) -> None:
    """No daemon answers a trace, so its host proves nothing; nor does another way."""
    assert not only_echoes(own, fresh, echo)


PRIVATE = replace(OUTER, destination="192.168.77.2")
ELSEWHERE = replace(TUNNEL, endpoint="192.168.77.2:51820")
OF_A_SITE, DEFAULT_V6 = replace(OUTER, destination="fd77:1:2::2"), ip_network("::/0")


def test_a_private_endpoint_that_no_network_holds() -> None:
    """It fits, and is not certain: the endpoint is in the sentence."""
    made = state(flows=(PRIVATE,))
    death = killed(observe_private(made, PRIVATE, ELSEWHERE, traces(SHORT, SHORT), never=True))
    assert (death.certain, death.facts and death.facts.endpoint) == (False, "192.168.77.2:51820")
    assert "192.168.77.2:51820" in death.message


def test_a_private_endpoint_that_no_gateway_passes_on_is_proven() -> None:
    """A gateway that has a way to it answers for what expires there: none answered on any flow."""
    made = state(flows=(PRIVATE,))
    death = killed(observe_private(made, PRIVATE, ELSEWHERE, traces(SILENT, SILENT, SILENT), never=True))
    assert (death.certain, death.later) == (True, True)


def test_a_private_endpoint_that_may_be_reached_is_not_suspected() -> None:
    """A company's routers lead to private addresses too; and a session, or an answer, is proof that it is there."""
    made = state(flows=(PRIVATE, OUTER))
    reached = trace(GATEWAY, "192.168.77.2", reached=True)
    for found in (
        observe_private(made, PRIVATE, ELSEWHERE, traces(SHORT, SHORT), never=False),
        observe_private(made, PRIVATE, ELSEWHERE, traces(SHORT, SHORT, reached), never=True),
        observe_private(made, OUTER, TUNNEL, traces(SHORT, SHORT), never=True),
        observe_private(state(), PRIVATE, ELSEWHERE, traces(SHORT, SHORT), never=True),
    ):
        assert found.finding == "clear"
    inside = replace(made, lookups=tuple(replace(each, source="192.168.1.5") for each in made.lookups))
    assert observe_private(inside, PRIVATE, ELSEWHERE, traces(SHORT, SHORT), never=True).finding == "clear"


def test_every_site_of_ipv6_has_a_private_block_of_its_own() -> None:
    """Its 40 bits are drawn at random, so an endpoint of another site is suspected though the uplink is private too."""
    made = state(flows=(PRIVATE,))
    for near, finding in (("fd77:1:2:3::9", "clear"), ("fd77:1:3::9", "killed")):
        lookups = tuple(replace(each, source=near, flow=OF_A_SITE, matched=DEFAULT_V6) for each in made.lookups)
        own = replace(made, lookups=lookups)
        assert observe_private(own, OF_A_SITE, ELSEWHERE, traces(SHORT, SHORT), never=True).finding == finding


def test_packets_that_come_to_one_router_again_circle() -> None:
    """A routing loop, or a TTL that something sets again: the trace of the tunnel's own flow shows who has it."""
    loop = trace(GATEWAY, "198.51.100.1", "198.51.100.9", "198.51.100.1", "198.51.100.9")
    death = killed(observe_traces(traces(loop, loop), OUTER, TUNNEL))
    assert (death.code, death.facts and death.facts.offender) == (codes.REACH_NO_FORWARD, "198.51.100.1")
    assert "circle between 198.51.100.1 and 198.51.100.9" in death.message
    again = trace(GATEWAY, None, GATEWAY, GATEWAY)
    death = killed(observe_traces(traces(again, again), OUTER, TUNNEL))
    assert f"has run out at {GATEWAY}" in death.message
    assert "iptables-save -t mangle" in str(as_text(death.remedies))


@pytest.mark.parametrize(
    "own", [trace(GATEWAY, GATEWAY, "198.51.100.9"), trace(GATEWAY, "198.51.100.1", GATEWAY, ENDPOINT, reached=True)]
)
def test_a_router_that_answers_twice_is_no_circle(own: Trace) -> None:
    """One that does not count a TTL answers for two in a row; and what arrives does not circle."""
    assert observe_traces(traces(own, own), OUTER, TUNNEL).finding == "blind"
