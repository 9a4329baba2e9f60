"""Placement: facts in, advice out; the matrix of the runbook is never made looser."""

from dataclasses import replace
from typing import Any

import pytest

from preflight.api import CONTROL, Direction, Result, Status, codes
from preflight.engine.placement import BULK, place
from preflight.model.facts import EchoFacts, HealthFacts, LoadedDelayFacts, LossFacts, ThroughputFacts
from preflight.settings.schema import RttThresholds, Thresholds
from tests.sample_facts import sample

CLASSES = ("agent task", "GPU inference", "long GPU training", "distributed collectives")
LIMITS = Thresholds()


def result(check: str, target: str, status: Status = Status.PASS, **more: Any) -> Result:
    return Result(
        target=target,
        direction=Direction.FORWARD,
        status=status,
        message="",
        check=check,
        category=check.partition(".")[0],
        **more,
    )


def quality(peer: str = "b", rtt: float = 20.0, jitter: float = 2.0, loss: float = 0.0, **more: Any) -> Result:
    facts = sample(LossFacts, rtt_median_ms=rtt, jitter_p95_ms=jitter, loss_percent=loss)
    return result("udp.quality", peer, facts=facts, **more)


def health(rtt: float = 25.0, tail: float | None = None, **more: Any) -> Result:
    advice = {"advised_http_timeout_ms": 15000, "advised_heartbeat_s": 30, "advised_lease_ms": 120000}
    facts = sample(HealthFacts, rtt_ms=rtt, rtt_p95_ms=rtt if tail is None else tail, **advice)
    return result("control.health", CONTROL, facts=facts, **more)


def loaded(idle: float, during: float, peer: str = "b") -> Result:
    facts = sample(LoadedDelayFacts, idle_rtt_ms=idle, loaded_rtt_ms=during, added_ms=during - idle, grade="A")
    return result("perf.latency-under-load", peer, facts=facts)


def verdicts(*results: Result, limits: Thresholds = LIMITS) -> tuple[str, ...]:
    advice = place(results, limits)
    assert tuple(entry.work_class for entry in advice) == CLASSES
    return tuple(entry.verdict for entry in advice)


MATRIX = ("allowed", "allowed", "not-default", "out-of-scope")
RELAYED = result("overlay.session", "b", Status.WARN, code=codes.OVERLAY_RELAYED)
DEAD = result("reach.udp", "b", Status.FAIL, code=codes.REACH_UNREACHABLE)
NO_LIST = result("nodes.state", CONTROL, Status.FAIL, code=codes.CONTROL_UNHEALTHY)
NO_CONTROL = result("control.connect", CONTROL, Status.FAIL, code=codes.CONTROL_REFUSED)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ((health(), quality()), MATRIX),
        ((health(0.5), quality(rtt=0.4, jitter=0.1)), MATRIX),
        ((health(200), quality()), ("caution", *MATRIX[1:])),
        ((health(25, tail=400), quality()), ("caution", *MATRIX[1:])),
        ((health(), quality(rtt=200)), ("allowed", "caution", "out-of-scope", "out-of-scope")),
        ((health(), quality(rtt=80)), ("allowed", "allowed", "out-of-scope", "out-of-scope")),
        ((health(), quality(jitter=90)), ("caution", "caution", "not-default", "out-of-scope")),
        ((health(), quality(loss=5)), ("caution", "caution", "out-of-scope", "out-of-scope")),
        ((health(), quality(), RELAYED), ("caution", "caution", "out-of-scope", "out-of-scope")),
        ((health(), quality(), DEAD), ("allowed", "not-default", "out-of-scope", "out-of-scope")),
        ((health(), quality(), NO_LIST), ("not-default", "not-default", "not-default", "out-of-scope")),
        ((quality(), NO_CONTROL), ("not-default", "not-default", "not-default", "out-of-scope")),
        ((health(),), ("allowed", "caution", "not-default", "out-of-scope")),
        ((quality(),), ("caution", *MATRIX[1:])),
        ((result("reach.icmp", "b", facts=sample(EchoFacts, rtt_min_ms=3.0)),), ("caution", "caution", *MATRIX[2:])),
    ],
)
def test_the_matrix(results: tuple[Result, ...], expected: tuple[str, ...]) -> None:
    """Good numbers give the runbook's matrix, also in a LAN; bad or missing ones only ever make it stricter."""
    assert verdicts(*results) == expected


def test_the_worst_peer_counts_and_is_named() -> None:
    """A cluster is as good as its worst path, and the reader must know which it is."""
    advice = place((health(), quality("b"), quality("c", rtt=300, jitter=80)), LIMITS)
    assert advice[1].verdict == "caution"
    assert "c takes 300 ms" in advice[1].because
    assert "over 150 ms" in advice[1].because


def test_reasons_carry_numbers_and_what_was_not_measured() -> None:
    """A verdict without its reason is an opinion."""
    full = place((health(), quality()), LIMITS)
    assert "client 15 s, heartbeat 30 s, lease 120 s" in full[0].because
    assert "20 ms" in full[3].because
    partly = place((result("reach.icmp", "b", facts=sample(EchoFacts, rtt_min_ms=3.0)),), LIMITS)
    assert "not measured" in partly[0].because
    assert "not measured: jitter, loss" in partly[1].because


def test_bulk_data_is_never_recommended_over_the_control_path() -> None:
    """A reader who learns that agent tasks are allowed must not send checkpoints that way."""
    for results in ((health(), quality()), (quality(),), (health(),)):
        advice = place(results, LIMITS)
        assert BULK in advice[0].because
        assert BULK in advice[2].because


def test_limits_are_settings() -> None:
    """What is comfortable is the operator's decision."""
    strict = Thresholds(rtt_ms=RttThresholds(interactive=10, inference=10, training=10))
    assert verdicts(health(), quality(), limits=strict) == ("caution", "caution", "out-of-scope", "out-of-scope")


def test_a_run_that_measured_no_path_says_nothing() -> None:
    """`preflight run control.url` says nothing about work."""
    assert place((result("control.url", CONTROL),), LIMITS) == ()
    assert place((), LIMITS) == ()


def test_what_decides_comes_first() -> None:
    """A terminal shows the beginning of the reason only."""
    slow = place((health(400), quality(rtt=200)), LIMITS)
    assert slow[0].because.startswith("the control plane takes over 150 ms; the control plane answers in 400 ms; ")
    assert slow[1].because.startswith("the round trip to b is over 150 ms; ")
    broken = place((health(), DEAD, NO_CONTROL), LIMITS)
    assert broken[1].because.startswith("2 ways are broken: to b, the control plane; ")
    assert broken[2].because.startswith("the way to b is broken; ")
    mesh = place((health(), *(replace(DEAD, target=f"p{number}") for number in range(50))), LIMITS)
    assert mesh[1].because.startswith("50 ways are broken: to p0, p1, p2, p3, p4, p5 and 44 more; ")


@pytest.mark.parametrize(
    ("idle", "during", "agent", "inference"),
    [
        (0.6, 1.1, "allowed", "allowed"),
        (0.6, 14.9, "allowed", "caution"),  # 25 times as long, while somebody else uploads
        (20.0, 35.0, "allowed", "allowed"),
        (20.0, 90.0, "caution", "caution"),
        (140.0, 160.0, "allowed", "caution"),
    ],
)
def test_a_queue_that_a_transfer_fills_counts(idle: float, during: float, agent: str, inference: str) -> None:
    """A line that is quick only while nobody uses it is not simply allowed for work that waits for answers."""
    found = place((health(), quality(rtt=min(idle, 100.0)), loaded(idle, during)), LIMITS)
    assert [entry.verdict for entry in found][:2] == [agent, inference]
    assert "during one transfer" in found[1].because


def test_what_was_not_measured_under_load_is_said() -> None:
    """`allowed` is about an idle line then, and the reader knows how to see more."""
    (_, inference, *_) = place((health(), quality()), LIMITS)
    assert "not measured: the delay during a transfer (--tag load)" in inference.because
    (_, inference, *_) = place((health(), quality(), loaded(1.0, 2.0)), LIMITS)
    assert "not measured" not in inference.because


def test_the_slowest_direction_is_said_for_bulk_work() -> None:
    """Long training moves data: the reader sees what the path carries."""
    rates = [result("perf.throughput", "b", facts=sample(ThroughputFacts, tcp_mbit_s=rate)) for rate in (40.0, 4.0)]
    training = place((health(), quality(), *rates), LIMITS)[2]
    assert "TCP carries 4.0 Mbit/s" in training.because
