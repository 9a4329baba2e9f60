"""Who sends ICMP errors about a tunnel's own packets, and what that settles."""

from dataclasses import replace

import pytest

from preflight import codes
from preflight.model.outer_error import OuterError
from preflight.proto.way.errors import in_words, observe_errors, whose
from tests.proto.way.test_routing import killed
from tests.proto.way.world import ENDPOINT, GATEWAY, OUTER, TUNNEL, UPLINK, lookup, state

STATE = state()
LOOKUP = lookup(STATE, OUTER)
REFUSED = OuterError(
    offender=GATEWAY,
    kind=3,
    code=13,
    source=UPLINK,
    destination=ENDPOINT,
    protocol=17,
    source_port=51820,
    destination_port=51820,
)


@pytest.mark.parametrize(
    ("offender", "who", "words"),
    [
        (UPLINK, "this node", "this node itself (192.0.2.2) answers: administratively prohibited"),
        (GATEWAY, "own gateway", "this node's own gateway 192.0.2.1 answers"),
        (ENDPOINT, "endpoint", "the endpoint's host 203.0.113.7 answers"),
        ("198.51.100.1", "router", "198.51.100.1, a router on the way, answers"),
    ],
)
def test_the_offender_in_words(offender: str, who: str, words: str) -> None:
    """A reader must know whose machine to look at."""
    error = replace(REFUSED, offender=offender)
    assert whose(error, STATE, LOOKUP) == who
    assert in_words(error, whose(error, STATE, LOOKUP)).startswith(words)


def test_a_router_or_the_gateway_refuses() -> None:
    """The offender is in the sentence, and the place is the network; each offender once."""
    errors = (REFUSED, REFUSED, replace(REFUSED, offender="198.51.100.1"))
    found = observe_errors(errors, STATE, LOOKUP, TUNNEL)
    assert [(each.station.id, killed(each).facts and killed(each).facts.offender) for each in found] == [  # type: ignore[union-attr]
        ("network", GATEWAY),
        ("network", "198.51.100.1"),
    ]
    assert GATEWAY in killed(found[0]).message


def test_this_node_s_own_error_is_its_filter_s_or_a_silent_neighbour_s() -> None:
    """Linux sends itself `host unreachable` for a neighbour, and what a reject rule says for a rule."""
    own = replace(REFUSED, offender=UPLINK)
    (filtered,) = observe_errors((own,), STATE, LOOKUP, TUNNEL)
    assert (filtered.station.id, killed(filtered).code, killed(filtered).certain) == (
        "filter-outer",
        codes.HOST_FIREWALL_DROP,
        False,
    )
    (silent,) = observe_errors((replace(own, code=1),), STATE, LOOKUP, TUNNEL)
    assert (silent.station.id, killed(silent).code) == ("neighbour", codes.HOST_GATEWAY_DEAD)
    assert killed(silent).message.startswith(GATEWAY)
    (on_link,) = observe_errors((replace(own, code=1),), STATE, None, TUNNEL)
    assert killed(on_link).code == codes.REACH_NO_FORWARD


def test_errors_that_settle_nothing() -> None:
    """An expired TTL is a trace's, a link that is too narrow says nothing of small packets, and the endpoint's host is
    judged with the session.
    """
    errors = (replace(REFUSED, kind=11, code=0), replace(REFUSED, code=4), replace(REFUSED, offender=ENDPOINT))
    assert observe_errors(errors, STATE, LOOKUP, TUNNEL) == ()
