"""Numbers read from facts of whatever kind."""

import pytest

from preflight.model.facts import AnswerFacts, EchoFacts, Facts, InterfaceFacts, LossFacts
from preflight.model.readings import carried_bytes, median_ms, quickest_ms
from tests.sample_facts import sample

ECHOES = sample(EchoFacts, rtt_min_ms=2.0)
ANSWERS = sample(AnswerFacts, rtt_min_ms=3.0)
LOSS = sample(LossFacts, rtt_median_ms=4.0)
INTERFACE = sample(InterfaceFacts, mtu_bytes=1420)


@pytest.mark.parametrize(
    ("facts", "carried", "median", "quickest"),
    [
        (ECHOES, None, None, 2.0),
        (ANSWERS, None, None, 3.0),
        (LOSS, None, 4.0, None),
        (INTERFACE, 1420, None, None),
        (None, None, None, None),
    ],
)
def test_a_number_is_read_where_the_facts_have_it(
    facts: Facts | None, carried: int | None, median: float | None, quickest: float | None
) -> None:
    """Readers ask all results the same: facts of another kind must yield nothing, never another number."""
    assert (carried_bytes(facts), median_ms(facts), quickest_ms(facts)) == (carried, median, quickest)
