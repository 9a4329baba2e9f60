"""The Prometheus endpoint as a process: what a scrape gets, and what no scrape can cause."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from preflight.cli.exporter import make_app
from preflight.cli.request import Request
from preflight.cli.rounds import Rounds
from preflight.cli.session import Session

SETTINGS = """
overlay: {interface: lo, prefixes: [127.0.0.0/8]}
peers:
  - {address: 127.0.0.9, name: b, responder: 1}
  - {address: 127.0.0.8, name: c, responder: 1}
checks: {skip: ["mtu.*", "udp.*", "control.*"]}
"""
TOKEN = "never-to-be-exported"
MEASURED_WITHIN_S = 120.0
LOOK_AGAIN_S = 0.2


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A running exporter; its URL and its process."""
    folder = tmp_path_factory.mktemp("exporter")
    (folder / "preflight.yaml").write_text(SETTINGS, encoding="utf-8")
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "VOX_MESH_TOKEN": TOKEN}
    command = [sys.executable, "-m", "preflight", "exporter", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), line
        yield line.removeprefix("listening on ").strip(), process
        process.kill()


def ask(url: str, path: str = "/probe", **params: str) -> httpx.Response:
    """One scrape."""
    return httpx.get(f"{url}{path}", params=params, timeout=60, trust_env=False)


def read(response: httpx.Response) -> dict[str, Any]:
    """The metrics of a scrape by name; every scrape is whole OpenMetrics."""
    parse: Callable[[str], Iterable[Any]] = text_string_to_metric_families
    return {family.name: family for family in parse(response.text)}


def value(response: httpx.Response, name: str) -> float | None:
    """The value of a metric without labels; None if it is not there."""
    family = read(response).get(name)
    return family.samples[0].value if family is not None else None


def scrape(url: str, **params: str) -> httpx.Response:
    """A scrape of a target that was measured at least once."""
    deadline = time.monotonic() + MEASURED_WITHIN_S
    while value(response := ask(url, **params), "preflight_pending") == 1:
        assert time.monotonic() < deadline, "never measured"
        time.sleep(LOOK_AGAIN_S)
    return response


def targets(response: httpx.Response) -> set[str]:
    """What the results of a scrape are about."""
    return {sample.labels["target"] for sample in read(response)["preflight_result_status"].samples}


def test_a_target_is_a_peer_of_the_settings_by_name_or_address(endpoint: tuple[str, object]) -> None:
    """A scrape of one peer says nothing about another, and comes as OpenMetrics."""
    url, _ = endpoint
    for target in ("b", "127.0.0.9"):
        response = scrape(url, target=target)
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("application/openmetrics-text")
        assert "b" in targets(response)
        assert "c" not in targets(response)


def test_nobody_can_have_this_node_probe_a_stranger(endpoint: tuple[str, object]) -> None:
    """Otherwise anyone who reaches the port has a scanner; and what was asked for is not echoed."""
    url, _ = endpoint
    for target in ("127.0.0.7", "192.0.2.1", "<script>", ""):
        response = ask(url, target=target)
        assert (response.status_code, response.text) == (400, "the settings have no such peer; they have: b, c\n")


def test_without_a_target_it_is_about_the_node(endpoint: tuple[str, object]) -> None:
    """Node and control plane are one scrape; peers are not in it, and no secret is."""
    url, _ = endpoint
    response = scrape(url)
    assert "node" in targets(response)
    assert not {"b", "c"} & targets(response)
    assert TOKEN not in response.text


def test_a_scrape_reports_success_and_age(endpoint: tuple[str, object]) -> None:
    """Nothing failed at b, and a reader sees how old that is."""
    response = scrape(endpoint[0], target="b")
    failed = [line for line in response.text.splitlines() if 'status="fail"' in line and line.endswith(" 1.0")]
    assert value(response, "probe_success") == 1, failed
    age_s, took_s = value(response, "preflight_result_age_seconds"), value(response, "probe_duration_seconds")
    assert age_s is not None
    assert took_s is not None
    assert min(age_s, took_s) >= 0


def test_a_dead_target_is_scraped_as_well_as_a_living_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`up` says that the exporter lives; `probe_success` says that the target does not."""
    (tmp_path / "preflight.yaml").write_text(SETTINGS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    async def measure(target: str) -> tuple[str, bool]:
        return "", target != "127.0.0.9"

    rounds = Rounds(("", "127.0.0.9", "127.0.0.8"), measure, 60, wait=once(3))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(rounds.run())
    app = make_app(Session.prepare(Request(quiet=True)), rounds)

    async def success(target: str) -> float | None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://exporter") as client:
            return value(await client.get("/probe", params={"target": target}), "probe_success")

    assert [asyncio.run(success(target)) for target in "bc"] == [0, 1]


def once(targets: int) -> Callable[[float], Awaitable[None]]:
    """A wait that ends the rounds after the first."""
    left = [None] * targets

    async def wait(seconds: float) -> None:
        if not left:
            raise asyncio.CancelledError
        left.pop()

    return wait


def test_the_exporter_tells_about_itself(endpoint: tuple[str, object]) -> None:
    """Its own metrics and its health do not depend on what it measures."""
    scrape(endpoint[0], target="c")
    own = ask(endpoint[0], "/metrics")
    assert value(own, "preflight_exporter_targets") == 3
    assert value(own, "preflight_exporter_pending_targets") == 0
    assert ask(endpoint[0], "/-/healthy").text == "preflight exporter is healthy\n"


def test_it_stops_cleanly(endpoint: tuple[str, "subprocess.Popen[str]"]) -> None:
    """A service manager's SIGTERM ends it with 0. The last test of this module."""
    _, process = endpoint
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_a_bad_place_is_one_sentence(tmp_path: Path) -> None:
    """A mistake on the command line is exit code 2 and no traceback."""
    command = [sys.executable, "-m", "preflight", "exporter", "--bind", "nowhere"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "'nowhere' is not ADDRESS:PORT" in done.stderr
