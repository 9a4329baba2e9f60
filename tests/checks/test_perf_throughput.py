"""perf.throughput: what each direction carries, as its receiver counted it."""

import pytest
from preflight_checks.perf_throughput import perf_throughput

from preflight.api import Direction, Status
from preflight.model.facts import ThroughputFacts
from preflight.model.load import FailedFlow, Flow, FlowKind
from preflight.settings.load import Settings
from preflight.settings.responder import LoadSettings
from tests.checks.loading import Flows, flow, run

RATES: dict[FlowKind, float] = {"tcp-up": 4.0, "udp-up": 4.2, "tcp-down": 40.0, "udp-down": 42.0}


def shaped(kind: FlowKind) -> Flow:
    """A line that carries less than UDP sends."""
    return flow(kind, RATES[kind], sent=1.2 if kind.startswith("udp") else 1.0)


def test_each_direction_has_its_numbers() -> None:
    """Up and down are different lines."""
    up, down = run(perf_throughput, Flows(shaped))
    assert (up.direction, down.direction) == (Direction.FORWARD, Direction.REVERSE)
    assert up.message == "TCP carries 4.0 Mbit/s to b, UDP 4.2 of 5.0 that were sent"
    assert isinstance(up.facts, ThroughputFacts)
    assert (up.facts.tcp_mbit_s, up.facts.udp_mbit_s, up.facts.udp_at_least) == (4.0, 4.2, False)
    assert isinstance(down.facts, ThroughputFacts)
    assert down.facts.tcp_mbit_s == 40.0


def test_udp_is_sent_a_little_quicker_than_tcp_went() -> None:
    """Enough to fill the line, and no more than the settings allow."""
    flows = Flows(shaped)
    run(perf_throughput, flows, Settings(load=LoadSettings(udp_mbit=45.0)))
    assert {kind: amount.kbit for _, kind, amount in flows.asked if kind.startswith("udp")} == {
        "udp-up": 4_800,
        "udp-down": 45_000,
    }


@pytest.mark.parametrize(("sent", "overflowed"), [(1.0, 0), (1.2, 40)])
def test_what_the_path_did_not_limit_is_a_lower_bound(sent: float, overflowed: int) -> None:
    """All arrived, or the receiver was too busy: the path may carry more, and nobody says that it does not."""
    (up, _) = run(perf_throughput, Flows(lambda kind: flow(kind, 50.0, sent=sent, overflowed=overflowed)))
    assert "UDP at least 50.0" in up.message
    assert isinstance(up.facts, ThroughputFacts)
    assert up.facts.udp_at_least is True


def test_udp_alone_may_fail() -> None:
    """The TCP number stays."""
    (up, _) = run(
        perf_throughput,
        Flows(lambda kind: shaped(kind) if kind.startswith("tcp") else FailedFlow(kind, "broken", "nothing came")),
    )
    assert up.status is Status.PASS
    assert "and UDP gave no number (nothing came)" in up.message


@pytest.mark.parametrize(
    ("why", "code"),
    [("refused", "perf.responder-load-off"), ("busy", "perf.load-refused"), ("broken", "run.no-answer")],
)
def test_no_flow_is_no_number(why: str, code: str) -> None:
    """It is said once, and the other direction is not tried."""
    flows = Flows(lambda kind: FailedFlow(kind, why))  # type: ignore[arg-type]
    (result,) = run(perf_throughput, flows)
    assert (result.status, str(result.code)) == (Status.INCONCLUSIVE, code)
    assert len(flows.asked) == 1


def test_a_metered_line_is_left_alone() -> None:
    """The settings say so, and nothing is sent."""
    flows = Flows(shaped)
    (result,) = run(perf_throughput, flows, Settings(load=LoadSettings(metered=True)))
    assert result.status is Status.SKIP
    assert flows.asked == []
