"""What the report of a peer's kernel explains, and what it does not."""

from dataclasses import replace

import pytest

from preflight.model.path import AskResult, PeerReport
from preflight.model.remedy import as_text
from preflight.model.return_path import ReturnPath
from preflight.proto.responder.return_path import explain


def asked(way: ReturnPath | None, *, received: int = 0, arrived: int = 0, local: str = "10.66.0.1") -> AskResult:
    """An inquiry; received: by the peer, arrived: of its probes here."""
    return AskResult(
        sent=10, answered=0, report=PeerReport(received, 10, way=way), probes_received=arrived, local=(local, 40000)
    )


STRICT = ReturnPath("wg0.7", "eth0", "192.0.2.1", rp_filter=1, refuses=True, dropped=1)
NO_ROUTE = ReturnPath("wg0", None, rp_filter=2, refuses=True, dropped=4)
OTHER = ReturnPath("wg0", "eth0")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (asked(STRICT), ("host.rp-filter", "forward")),
        (asked(STRICT, arrived=10), ("host.rp-filter", "forward")),
        # Whatever the filter drops, this node's packets got through.
        (asked(STRICT, received=3), ("overlay.route-leak", "reverse")),
        (asked(NO_ROUTE), ("host.rp-filter", "forward")),
        (asked(OTHER), ("overlay.route-leak", "reverse")),
        (asked(OTHER, arrived=1), ("reach.asymmetric", "reverse")),
        (asked(ReturnPath("wg0", "wg0"), received=1), None),
        (asked(ReturnPath(None, "eth0")), None),
        (asked(ReturnPath("wg0", None)), None),
        (asked(None), None),
        (AskResult(sent=10, answered=0, unavailable="silent"), None),
    ],
)
def test_causes(asked: AskResult, found: tuple[str, str] | None) -> None:
    """A filter that is seen to drop, a route that leads elsewhere: nothing else is a cause."""
    cause = explain(asked, "b")
    assert (cause and (str(cause.code), cause.direction)) == found


def test_the_filter_s_route_is_put_right_and_the_filter_stays() -> None:
    """The filter is right to object: with a route back by the same interface it lets the packets in."""
    cause = explain(asked(STRICT), "b")
    assert cause is not None
    assert as_text(cause.remedies) == "ip route replace 10.66.0.1/32 dev wg0.7   # on b"
    assert "1 packet while" in cause.message
    assert "leaves by eth0 via 192.0.2.1" in cause.message


def test_where_there_is_no_route_the_filter_is_not_loosened() -> None:
    """A loose filter needs any route; there is nothing to loosen."""
    cause = explain(asked(NO_ROUTE), "b")
    assert cause is not None
    assert as_text(cause.remedies) == "ip route replace 10.66.0.1/32 dev wg0   # on b"
    assert "loose" in cause.message
    assert "no route back" in cause.message


def test_the_route_back_is_put_right_in_the_table_that_decides() -> None:
    """A rule may send only UDP to another table: a route in the main one would change nothing."""
    cause = explain(asked(replace(OTHER, table=177)), "b")
    assert cause is not None
    assert as_text(cause.remedies) == "ip route replace 10.66.0.1/32 dev wg0 table 177   # on b"


def test_an_ipv6_host_route_has_128_bits() -> None:
    """The line to paste fits the family."""
    cause = explain(asked(OTHER, local="fd66::1"), "b")
    assert cause is not None
    assert as_text(cause.remedies) == "ip route replace fd66::1/128 dev wg0   # on b"
