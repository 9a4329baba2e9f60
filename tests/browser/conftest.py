"""A real Chromium, and reports to show in it."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from preflight import codes
from preflight.api import Direction, Evidence, Result, failed, heal, inconclusive, passed, skipped, warned
from preflight.engine.diagnosis import diagnose
from preflight.model.facts import AnswerFacts, HealthFacts, LossFacts, MtuSearchFacts
from preflight.model.fix import LinkMtu
from preflight.model.pmtu import ProbeSizes, as_data
from preflight.report.build import build_report
from preflight.report.model import Gate, NodeInfo, OverlayInfo, Placement, Report
from tests.sample_facts import sample

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
FLAGS = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
_LOSSY = sample(LossFacts, loss_percent=30.0, jitter_p95_ms=4.0, rtt_median_ms=22.0)
_HEALTH = sample(HealthFacts, rtt_ms=3.5)
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'&"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; its own sandbox does not start for root.

    Playwright keeps an event loop running in this thread while it lives: no longer than this module's tests, which
    run behind one another, or `asyncio.run` would fail in the others.
    """
    program = shutil.which("chromium")
    assert program, "bin/test installs chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=[*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: PREFLIGHT_ARTEFACTS, so that CI can keep them."""
    wanted = os.environ.get("PREFLIGHT_ARTEFACTS")
    folder = Path(wanted) if wanted else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def stamp(check: str, result: Result) -> Result:
    """What the runner adds."""
    return replace(result, check=check, category=check.partition(".")[0], started_at=NOW, duration_ms=12.5)


def made_of(results: tuple[Result, ...], placement: tuple[Placement, ...] = ()) -> Report:
    """A report of one run with these results."""
    report = build_report(
        results,
        diagnose(results),
        node=NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11", privileges=("net_raw",)),
        overlay=OverlayInfo(product="wireguard", interface="wg0", mtu=1420, addresses=("10.66.0.1/24",)),
        started_at=NOW,
        duration_ms=1234,
        gate=Gate(),
        command=("preflight", "all"),
    )
    return report.model_copy(update={"placement": placement})


def of_peer(name: str, *, rtt_ms: float = 2.0, hole: bool = False) -> list[Result]:
    """What a run finds about one peer."""
    sizes = as_data(
        ProbeSizes(
            passed=(1280, 1312) if hole else (1280, 1420),
            fragmented=(),
            vanished=(1313, 1420) if hole else (),
            lost_once_but_arrived=(),
            icmp_too_big_from=(),
        )
    )
    mtu = sample(MtuSearchFacts, mtu_bytes=1312 if hole else 1420, interface_mtu_bytes=1420, rtt_ms=rtt_ms)
    evidence = (Evidence("path-mtu", "sizes of IP packets in bytes", sizes),)
    quality = sample(LossFacts, jitter_p95_ms=0.2, rtt_median_ms=rtt_ms)
    answers = AnswerFacts(sent=10, answered=10, rtt_min_ms=rtt_ms / 2)
    searched = (
        failed(
            codes.MTU_BLACK_HOLE,
            name,
            Direction.FORWARD,
            f"packets over 1312 bytes to {name} vanish",
            remedies=heal(lambda: LinkMtu(interface="wg0", mtu_bytes=1320)),
            facts=mtu,
            evidence=evidence,
        )
        if hole
        else passed(name, Direction.FORWARD, "1420-byte packets arrive whole", facts=mtu, evidence=evidence)
    )
    return [
        stamp("reach.udp", passed(name, Direction.FORWARD, "10 of 10", facts=answers)),
        stamp("reach.udp", passed(name, Direction.REVERSE, "its answers arrive")),
        stamp("mtu.path", searched),
        stamp("udp.quality", passed(name, Direction.FORWARD, "0 % lost", facts=quality)),
        stamp("udp.quality", passed(name, Direction.REVERSE, "0 % lost", facts=quality)),
    ]


@pytest.fixture(scope="session")
def hostile() -> str:
    """What a stranger's host name or banner may be."""
    return HOSTILE


@pytest.fixture(scope="session")
def broken() -> Report:
    """One result of each kind, a black hole, and text that a hostile host wrote."""
    return made_of(
        (
            stamp("overlay.interface", passed("node", Direction.LOCAL, "wg0 is up")),
            *of_peer("b", hole=True),
            *of_peer("c", rtt_ms=40),
            stamp("udp.quality", warned(codes.UDP_LOSS, "d", Direction.FORWARD, "30 % lost", facts=_LOSSY)),
            stamp("udp.quality", warned(codes.UDP_JITTER, "c", Direction.REVERSE, f"41 ms {HOSTILE}", aspect="jitter")),
            stamp("reach.udp", inconclusive(codes.RUN_NEEDS_RESPONDER, HOSTILE, Direction.ROUND_TRIP, "no responder")),
            stamp(
                "control.health",
                passed("control", Direction.ROUND_TRIP, "healthy", facts=_HEALTH),
            ),
            stamp("enroll.cycle", skipped(codes.RUN_NOT_ENROLLING, "control", Direction.ROUND_TRIP, "ask")),
        ),
        (Placement(work_class="GPU inference", verdict="caution", because="41 ms of jitter"),),
    )


@pytest.fixture(scope="session")
def healthy() -> Report:
    """Nothing is wrong."""
    return made_of(tuple(of_peer("b")))


@pytest.fixture(scope="session")
def mesh() -> Report:
    """Five hundred peers, three of them behind black holes."""
    results = [result for n in range(500) for result in of_peer(f"node-{n:03}", rtt_ms=1 + n / 50, hole=n % 200 == 7)]
    return made_of(tuple(results))


@pytest.fixture(scope="session")
def dead_mesh() -> Report:
    """Twenty peers behind the same black hole."""
    return made_of(tuple(result for n in range(20) for result in of_peer(f"node-{n:03}", hole=True)))
