"""The Prometheus endpoint as a process: what a scrape gets, and what no scrape can cause."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

SETTINGS = """
overlay: {interface: lo, prefixes: [127.0.0.0/8]}
peers:
  - {address: 127.0.0.9, name: b, responder: 1}
  - {address: 127.0.0.8, name: c, responder: 1}
checks: {skip: ["mtu.*", "udp.*", "control.*"]}
"""
TOKEN = "never-to-be-exported"


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


def scrape(url: str, **params: str) -> httpx.Response:
    """One scrape, with the patience of a scraper."""
    return httpx.get(f"{url}/probe", params=params, timeout=60, trust_env=False)


def targets(response: httpx.Response) -> set[str]:
    """What the results of a scrape are about."""
    read: Callable[[str], Iterable[Any]] = text_string_to_metric_families
    families = {family.name: family for family in read(response.text)}
    return {sample.labels["target"] for sample in families["preflight_result_status"].samples}


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
        response = scrape(url, target=target)
        assert (response.status_code, response.text) == (400, "the settings have no such peer; they have: b, c\n")


def test_without_a_target_it_is_about_the_node(endpoint: tuple[str, object]) -> None:
    """Node and control plane are one scrape; peers are not in it, and no secret is."""
    url, _ = endpoint
    response = scrape(url)
    assert "node" in targets(response)
    assert not {"b", "c"} & targets(response)
    assert TOKEN not in response.text


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
