"""perf.latency-under-load: what a transfer adds is graded by direction, and load runs only where it may."""

import pytest
from preflight_checks.perf_latency_under_load import perf_latency_under_load

from preflight.api import Direction, Peer, Status
from preflight.model.facts import LoadedDelayFacts
from preflight.model.load import AddedDelay, FailedFlow, FlowKind, LoadedDelay
from preflight.proto.control.url import parse_control_url
from preflight.proto.load.asking import MOST_PEERS
from preflight.settings.load import Settings
from preflight.settings.responder import LoadSettings
from preflight.settings.schema import ControlSettings, Thresholds
from tests.checks.loading import PEER, Flows, flow, run


def delay(kind: FlowKind, added_ms: float, lost: int = 0) -> LoadedDelay:
    """A transfer of 20 Mbit/s that adds this much."""
    way = AddedDelay(idle_ms=0.2, loaded_ms=0.2 + added_ms, loaded_p95_ms=1.5 * added_ms, packets=80)
    return LoadedDelay(flow(kind, 20.0), way, 0.6, 0.6 + added_ms, lost, 80)


@pytest.mark.parametrize(
    ("up_ms", "down_ms", "codes"),
    [
        (1.0, 2.0, [None, None]),
        (29.0, 2.0, [None, None]),
        (150.0, 2.0, ["perf.bufferbloat", None]),
        (1.0, 45.0, [None, "perf.bufferbloat"]),
        (400.0, 45.0, ["perf.bufferbloat", "perf.bufferbloat"]),
    ],
)
def test_each_direction_has_its_own_queue(up_ms: float, down_ms: float, codes: list[str | None]) -> None:
    """An upload's queue says nothing about a download."""
    flows = Flows(lambda kind: delay(kind, up_ms if kind == "tcp-up" else down_ms))
    results = run(perf_latency_under_load, flows)
    assert [each.direction for each in results] == [Direction.FORWARD, Direction.REVERSE]
    assert [each.code.slug if each.code else None for each in results] == codes
    assert all((each.status is Status.WARN) == bool(each.code) for each in results)


def test_the_numbers_are_said() -> None:
    """What a reader needs: added, round trip before and during, rate, grade, and what was lost."""
    (result, _) = run(perf_latency_under_load, Flows(lambda kind: delay(kind, 150.0, lost=3)))
    for words in ("150.0 ms longer", "150.6 ms instead of 0.6", "20.0 Mbit/s", "grade C", "3 of 80 small packets"):
        assert words in result.message
    assert isinstance(result.facts, LoadedDelayFacts)
    assert (result.facts.added_ms, result.facts.grade, result.facts.lost) == (150.0, "C", 3)
    assert "cake bandwidth 19.0mbit" in result.remedies[0].lines[0]
    assert result.remedies[0].kind == "next"


def test_the_limit_is_the_settings() -> None:
    """Who accepts a slow line is not warned about it."""
    settings = Settings(thresholds=Thresholds(added_delay_ms=200.0))
    assert {each.status for each in run(perf_latency_under_load, Flows(lambda kind: delay(kind, 150.0)), settings)} == {
        Status.PASS
    }


def test_too_little_is_no_number() -> None:
    """A transfer that was over at once is not called good."""
    results = run(perf_latency_under_load, Flows(lambda kind: None))
    assert {str(each.code) for each in results} == {"run.no-answer"}
    assert {each.status for each in results} == {Status.INCONCLUSIVE}


def test_a_responder_without_load_is_asked_once() -> None:
    """One answer is enough, and it has the line that turns it on."""
    flows = Flows(lambda kind: FailedFlow(kind, "refused"))
    (result,) = run(perf_latency_under_load, flows)
    assert str(result.code) == "perf.responder-load-off"
    assert result.status is Status.INCONCLUSIVE
    assert "preflight responder --load" in (result.remedy or "")
    assert len(flows.asked) == 1


@pytest.mark.parametrize(
    ("settings", "flows", "words"),
    [
        (Settings(load=LoadSettings(metered=True)), Flows(lambda kind: delay(kind, 1.0)), "metered"),
        (Settings(), Flows(lambda kind: delay(kind, 1.0), keyed=False), "no shared key"),
        (
            Settings(control=ControlSettings.model_construct(url=parse_control_url("http://control.mesh:9847"))),
            Flows(lambda kind: delay(kind, 1.0), control=[PEER.address]),
            "control plane",
        ),
    ],
)
def test_load_runs_only_where_it_may(settings: Settings, flows: Flows, words: str) -> None:
    """Nothing is sent on a metered line, without a key, or towards the control plane."""
    (result,) = run(perf_latency_under_load, flows, settings)
    assert result.status is Status.SKIP
    assert words in result.message
    assert flows.asked == []


def test_a_mesh_is_not_loaded_as_a_whole() -> None:
    """Minutes of load are not what somebody with a hundred peers wanted."""
    flows = Flows(lambda kind: delay(kind, 1.0))
    peers = [Peer(f"10.66.0.{number}", f"p{number}") for number in range(2, 20)]
    results = run(perf_latency_under_load, flows, peers=peers)
    assert len({target for target, _, _ in flows.asked}) == MOST_PEERS
    assert sum(each.status is Status.SKIP for each in results) == len(peers) - MOST_PEERS


def test_the_settings_bound_it() -> None:
    """Bytes and seconds of each flow are those of the settings."""
    flows = Flows(lambda kind: delay(kind, 1.0))
    run(perf_latency_under_load, flows, Settings(load=LoadSettings(seconds=3.0, megabytes=7)))
    assert {(amount.seconds, amount.bytes) for _, _, amount in flows.asked} == {(3.0, 7_000_000)}
