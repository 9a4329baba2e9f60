"""What traces say: one flow dead while another lives, and an endpoint that is elsewhere."""

from dataclasses import replace

import pytest

from preflight import codes
from preflight.model.icmp import Hop, Trace
from preflight.model.remedy import as_text
from preflight.proto.way.trace import observe_private, observe_traces
from tests.proto.way.test_routing import killed
from tests.proto.way.world import ENDPOINT, GATEWAY, OUTER, TUNNEL, state


def trace(*addresses: str | None, reached: bool = False) -> Trace:
    """Hops in their order; reached: the last is the destination."""
    last = len(addresses)
    return Trace(tuple(Hop(ttl, each, 1.0, reached and ttl == last) for ttl, each in enumerate(addresses, 1)))


SILENT = trace()
SHORT, LONG = trace(GATEWAY), trace(GATEWAY, "198.51.100.1", "198.51.100.9")


def test_only_the_tunnel_s_own_flow_vanishes() -> None:
    """A fresh port gets further: the old flow is held on to, and another port heals it."""
    death = killed(observe_traces(SHORT, LONG, LONG, OUTER, TUNNEL))
    assert (death.code, death.facts and death.facts.port) == (codes.REACH_NO_FORWARD, 51820)
    assert f"from UDP port 51820 vanish behind {GATEWAY}" in death.message
    assert "198.51.100.9" in death.message
    assert str(as_text(death.remedies)).startswith("wg set wg0 listen-port 51821")
    other = killed(observe_traces(SHORT, LONG, LONG, OUTER, replace(TUNNEL, product="nebula")))
    assert {remedy.kind for remedy in other.remedies} == {"next"}


@pytest.mark.parametrize(
    ("own", "fresh"),
    [
        (LONG, LONG),
        (LONG, SHORT),
        (SILENT, SILENT),
        # Two different ways: nothing of one is proven by the other.
        (trace("10.0.0.9"), LONG),
        (replace(SHORT, error="Operation not permitted"), LONG),
    ],
)
def test_silence_that_all_flows_share_proves_nothing(own: Trace, fresh: Trace) -> None:
    """No daemon answers a trace, so both may end at the last router of a way that is fine."""
    found = observe_traces(own, fresh, SILENT, OUTER, TUNNEL)
    assert (found.finding, found.death) == ("blind", None)


def test_the_last_that_answer_are_named() -> None:
    """Evidence for the reader, and no verdict."""
    assert (
        "UDP: 198.51.100.9, UDP from a fresh port: 198.51.100.9"
        in observe_traces(LONG, LONG, SILENT, OUTER, TUNNEL).reason
    )
    assert observe_traces(SILENT, SILENT, SILENT, OUTER, TUNNEL).reason.startswith("no router")
    reached = trace(GATEWAY, ENDPOINT, reached=True)
    assert "is alive" in observe_traces(SHORT, SHORT, reached, OUTER, TUNNEL).reason


PRIVATE = replace(OUTER, destination="192.168.77.2")
ELSEWHERE = replace(TUNNEL, endpoint="192.168.77.2:51820")


def test_a_private_endpoint_that_no_network_holds() -> None:
    """It fits, and is not certain: the endpoint stands in the sentence."""
    made = state(flows=(PRIVATE,))
    death = killed(observe_private(made, PRIVATE, ELSEWHERE, SHORT, SHORT, never=True))
    assert (death.certain, death.facts and death.facts.endpoint) == (False, "192.168.77.2:51820")
    assert "192.168.77.2:51820" in death.message


def test_a_private_endpoint_that_may_be_reached_is_not_suspected() -> None:
    """A company's routers lead to private addresses too; and a session, or an answer, is proof that it is there."""
    made = state(flows=(PRIVATE, OUTER))
    reached = trace(GATEWAY, "192.168.77.2", reached=True)
    for found in (
        observe_private(made, PRIVATE, ELSEWHERE, SHORT, SHORT, never=False),
        observe_private(made, PRIVATE, ELSEWHERE, SHORT, reached, never=True),
        observe_private(made, OUTER, TUNNEL, SHORT, SHORT, never=True),
        observe_private(state(), PRIVATE, ELSEWHERE, SHORT, SHORT, never=True),
    ):
        assert found.finding == "clear"
    inside = replace(made, lookups=tuple(replace(each, source="192.168.1.5") for each in made.lookups))
    assert observe_private(inside, PRIVATE, ELSEWHERE, SHORT, SHORT, never=True).finding == "clear"
