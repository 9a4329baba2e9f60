"""From the measurements of a report back to facts: ours return whole, a stranger's are refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.model.facts import GIVEN_BY, DeathFacts, Facts, LossFacts, MtuEchoFacts, MtuFacts, NameFacts
from preflight.model.pmtu import EchoSizes, ProbeSizes, as_data
from preflight.report.facts import read_facts, read_sizes
from preflight.report.fields import plain
from tests.sample_facts import sample

NONE = ProbeSizes(passed=(), fragmented=(), vanished=(), lost_once_but_arrived=(), icmp_too_big_from=())
EVERY = [(check, kind) for check, kinds in GIVEN_BY.items() for kind in kinds]


@pytest.mark.parametrize(("check", "kind"), EVERY, ids=lambda value: getattr(value, "__name__", value))
def test_facts_return_from_the_measurements_that_were_made_from_them(check: str, kind: type[Facts]) -> None:
    """A report that was written and read again says the same as the run did: also which of two classes it was."""
    facts = DeathFacts(chain="inet filter output", rule_handle=7) if kind is DeathFacts else sample(kind)
    assert read_facts(check, plain(facts.measurements())) == facts
    assert read_facts(check, {**facts.measurements(), "more": 1}) == facts


@pytest.mark.parametrize(
    ("check", "measurements"),
    [
        ("site.kernel", sample(LossFacts).measurements()),
        ("mtu.path", sample(LossFacts).measurements()),
        ("udp.quality", {}),
        ("udp.quality", sample(LossFacts).measurements() | {"sent": "200"}),
        ("udp.quality", sample(LossFacts).measurements() | {"sent": True}),
        ("udp.quality", sample(LossFacts).measurements() | {"loss_percent": float("nan")}),
        ("udp.quality", sample(LossFacts).measurements() | {"loss_percent": [1]}),
        ("control.dns", sample(NameFacts).measurements() | {"addresses": "10.66.0.1"}),
        ("control.dns", sample(NameFacts).measurements() | {"addresses": [1]}),
    ],
)
def test_what_is_not_ours_is_no_fact(check: str, measurements: dict[str, Any]) -> None:
    """Another package's check, a field that is missing, or a value of another type: the page leaves it out."""
    assert read_facts(check, measurements) is None


@given(st.sampled_from(list(GIVEN_BY)), st.dictionaries(st.text(), st.recursive(st.integers(), st.lists)))
def test_no_measurements_break_the_reading(check: str, measurements: dict[str, Any]) -> None:
    """A stranger's report must not end the program that shows it."""
    read_facts(check, measurements)


def test_the_larger_class_is_read_first() -> None:
    """What a search by echoes found must not shrink to the two fields that it shares with a single packet."""
    assert isinstance(read_facts("mtu.echo", sample(MtuEchoFacts).measurements()), MtuEchoFacts)
    assert type(read_facts("mtu.echo", sample(MtuFacts).measurements())) is MtuFacts


def test_the_sizes_of_both_searches_are_read() -> None:
    """Each search has its words for what happened to a size; the picture needs what they have in common."""
    probes = ProbeSizes(
        passed=(1280,),
        fragmented=(1350,),
        vanished=(1420,),
        lost_once_but_arrived=(1300,),
        icmp_too_big_from=("10.66.0.9",),
    )
    echoes = EchoSizes(
        came_back=(1280,),
        in_fragments=(1350,),
        unanswered=(1420,),
        lost_once_but_came_back=(1300,),
        icmp_too_big_from=("10.66.0.9",),
    )
    fates = {"passed": (1280,), "fragmented": (1350,), "vanished": (1420,), "recovered": (1300,)}
    assert read_sizes(as_data(probes)) == read_sizes(as_data(echoes)) == fates


@pytest.mark.parametrize("data", [None, [], {}, {"passed": [1]}, as_data(NONE) | {"passed": ["x"]}])
def test_other_evidence_is_no_search(data: object) -> None:
    """Nothing is drawn from what another program put there."""
    assert read_sizes(data) is None
