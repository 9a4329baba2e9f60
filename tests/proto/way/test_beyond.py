"""What traces to several endpoints allow to say of the network behind this node's gateway."""

import pytest

from preflight.model.icmp import Hop, Trace
from preflight.proto.way.beyond import Beyond, dead_network

GATEWAY, ROUTER = "192.168.1.1", "203.0.113.2"
ONLY_IT = Trace((Hop(1, GATEWAY, 1.0),))
NOBODY = Trace(())


def end(address: str, *traces: Trace, gateway: str = GATEWAY) -> Beyond:
    """One endpoint, and what traces to it have brought."""
    return Beyond(endpoint=(address, 51820), gateway=gateway, device="eth0", traces=traces)


def test_several_silent_places_behind_a_gateway_that_answers() -> None:
    """One cause for all peers: the network, with the gateway and what was asked in the sentence."""
    death = dead_network([end("198.51.100.2", ONLY_IT, NOBODY), end("192.0.2.2", NOBODY, NOBODY)])
    assert death is not None
    assert death.code.slug == "host.network-dead"
    assert death.facts is not None
    assert (death.facts.gateway, death.facts.interface, death.facts.offender) == (GATEWAY, "eth0", None)
    assert "192.168.1.1 on eth0, answers, and nobody behind it does" in death.message
    assert "198.51.100.2:51820, 192.0.2.2:51820" in death.message
    assert [remedy.kind for remedy in death.remedies] == ["next"]


def test_a_gateway_that_says_itself_that_it_has_no_way_on() -> None:
    """It is who refuses, although its errors are too few for each endpoint."""
    refused = Trace(ONLY_IT.hops, stopped=True)
    death = dead_network([end("2001:db8:2::2", NOBODY), end("2001:db8:3::2", refused)])
    assert death is not None
    assert death.facts is not None
    assert death.facts.offender == GATEWAY
    assert "it says itself" in death.message


@pytest.mark.parametrize(
    "ends",
    [
        [end("198.51.100.2", ONLY_IT)],
        [end("198.51.100.2", ONLY_IT), end("198.51.100.9", ONLY_IT)],
        [end("198.51.100.2", ONLY_IT), end("192.0.2.2", Trace((*ONLY_IT.hops, Hop(2, ROUTER))))],
        [end("198.51.100.2", ONLY_IT), end("192.0.2.2", Trace((Hop(3, "192.0.2.2", 1.0, reached=True),)))],
        [end("198.51.100.2", NOBODY), end("192.0.2.2", NOBODY)],
        [end("198.51.100.2", ONLY_IT), end("192.0.2.2", NOBODY, gateway="192.168.1.9")],
        [end("198.51.100.2", ONLY_IT), end("192.0.2.2", Trace((), "Operation not permitted"))],
        [],
    ],
    ids=["one", "one place", "a router", "an endpoint", "no gateway", "two gateways", "not sent", "none"],
)
def test_what_else_may_be_silent(ends: list[Beyond]) -> None:
    """One host or one place may be off, a filter of this node may take what was asked, and somebody may answer."""
    assert dead_network(ends) is None
