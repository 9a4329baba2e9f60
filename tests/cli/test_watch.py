"""`preflight watch` as a process: what is wrong at first, then what changed, and nothing else."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from preflight.cli.watch import DEFAULT_HEARTBEAT_S, Schedule, heartbeat_s
from preflight.lab.site import free_port

TOKEN = "mesh-token-of-the-tests"
WATCH = [sys.executable, "-m", "preflight", "watch"]


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VOX_", "PREFLIGHT_"))}
    return {**kept, **variables}


@contextmanager
def control_plane(folder: Path, port: int) -> Iterator[None]:
    """The bundled server, over a database that outlives it."""
    command = [sys.executable, "-m", "preflight", "control-plane", "serve", "--bind", f"127.0.0.1:{port}"]
    with subprocess.Popen(
        [*command, "--db", str(folder / "db")],
        env=environment(VOX_MESH_TOKEN=TOKEN),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout
        assert server.stdout.readline().startswith("listening on ")
        yield
        server.terminate()


class Watch:
    """The process, and its lines as they come."""

    def __init__(self, folder: Path, port: int, *options: str) -> None:
        url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [*WATCH, "control.health", "--control-url", url, "--interval", "1", *options],
            cwd=folder,
            env=environment(VOX_MESH_TOKEN=TOKEN, VOX_MESH_NODE_ID="a", VOX_MESH_HTTP_HEARTBEAT_SECS="1"),
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def until(self, pattern: str) -> str:
        """The line in which the pattern is found, read on to if it has not come yet."""
        assert self.process.stdout
        for line in self.lines:
            if re.search(pattern, line):
                return line
        for line in self.process.stdout:
            assert re.match(r"\d\d:\d\d:\d\dZ ", line)
            self.lines.append(line.partition(" ")[2].strip())
            if re.search(pattern, self.lines[-1]):
                return self.lines[-1]
        raise AssertionError(self.lines)

    def stop(self) -> int:
        """SIGTERM, the rest of its lines, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        rest, _ = self.process.communicate(timeout=60)
        self.lines += [line.partition(" ")[2] for line in rest.splitlines()]
        return self.process.returncode


def listed(port: int) -> list[str]:
    answer = httpx.get(f"http://127.0.0.1:{port}/v1/populi/nodes", headers={"authorization": f"Bearer {TOKEN}"})
    return [node["id"] for node in answer.json()["nodes"]]


def test_only_changes_are_reported(tmp_path: Path) -> None:
    """All well: one line. The server goes and comes back: worse and better, by name, and the node stays joined."""
    port = free_port("127.0.0.1", socket.SOCK_STREAM)
    with control_plane(tmp_path, port):
        watch = Watch(tmp_path, port, "--heartbeat")
        assert watch.until("^now ").startswith("now     pass: ")
        assert watch.lines[0].startswith("member  writes to the cluster at http://127.0.0.1")
        watch.until("^member  joined as a")
        assert listed(port) == ["a"]
    assert watch.until("^worse ").startswith("worse   control.refused control: ")
    with control_plane(tmp_path, port):
        watch.until("^better  control.refused control: not found any more")
        assert watch.stop() == 130
        assert watch.lines[-1] == "member  a left again"
        assert listed(port) == []
    assert sum(line.startswith("now") for line in watch.lines) == 1
    assert TOKEN not in "".join(watch.lines)


def test_it_ends_after_its_rounds_with_the_last_one_s_exit_code(tmp_path: Path) -> None:
    """Two rounds without a server: the cause is reported once, and the code is 1. Nothing was written anywhere."""
    port = free_port("127.0.0.1", socket.SOCK_STREAM)
    command = [*WATCH, "control.connect", "--control-url", f"http://127.0.0.1:{port}", "--interval", "1"]
    run = subprocess.run(
        [*command, "--count", "2"], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert [line.split()[1] for line in run.stdout.splitlines()][:2] == ["now", "now"]
    assert [line.split()[1] for line in run.stdout.splitlines()[2:]] in (["fix:"], ["next:"])
    assert "control.refused" in run.stdout
    assert run.stderr == ""


def test_a_command_gets_each_entry_by_its_environment(tmp_path: Path) -> None:
    """The text of the network is never a word of the command, and no shell reads it; what fails ends nothing."""
    port = free_port("127.0.0.1", socket.SOCK_STREAM)
    script = tmp_path / "note"
    script.write_text(
        '#!/bin/sh\nprintf "%s|%s\\n" "$1" "$PREFLIGHT_CHANGE_TREND $PREFLIGHT_CHANGE_CODE" >>seen\nexit 7\n'
    )
    script.chmod(0o755)
    command = [*WATCH, "control.connect", "--control-url", f"http://127.0.0.1:{port}", "--interval", "1"]
    run = subprocess.run(
        [*command, "--count", "2", "--exec", f"{script} 'two words; touch shell'"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert (tmp_path / "seen").read_text() == "two words; touch shell|now control.refused\n"
    assert not (tmp_path / "shell").exists()
    assert "--exec" in run.stderr
    assert "exit code 7" in run.stderr


def test_a_round_without_a_change_says_in_time_that_it_lives(tmp_path: Path) -> None:
    """Silence for hours could also be a process that hangs."""
    command = [*WATCH, "host.sockets", "--interval", "1", "--count", "2", "--alive", "0.1"]
    run = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert re.fullmatch(r"\S+ alive   \w+: 1 result, \d causes?, 2 rounds so far", run.stdout.splitlines()[-1])


def test_addresses_have_pseudonyms_if_asked(tmp_path: Path) -> None:
    """Also in what the membership reports; the same one in every round."""
    port = free_port("127.0.0.1", socket.SOCK_STREAM)
    (tmp_path / "preflight.yaml").write_text(json.dumps({"control": {"url": f"http://127.0.0.77:{port}"}}))
    command = [*WATCH, "control.url", "--interval", "1", "--count", "1", "--redact", "addresses", "--heartbeat"]
    run = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert "now " in run.stdout
    assert "127.0.0.77" not in run.stdout


def test_a_heartbeat_needs_a_control_plane(tmp_path: Path) -> None:
    """A usage error before anything is run."""
    run = subprocess.run(
        [*WATCH, "--heartbeat"], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert "--control-url" in run.stderr


@pytest.mark.parametrize(
    ("schedule", "rounds", "elapsed_s", "over"),
    [
        (Schedule(10, None, None), 1000, 1e6, False),
        (Schedule(10, 3, None), 2, 0, False),
        (Schedule(10, 3, None), 3, 0, True),
        (Schedule(10, None, 30), 2, 20, False),
        (Schedule(10, None, 30), 2, 20.1, True),
    ],
)
def test_when_it_is_over(schedule: Schedule, rounds: int, elapsed_s: float, over: bool) -> None:
    """After this many rounds, or where the next one would begin too late."""
    assert schedule.over(rounds, elapsed_s) == over


@pytest.mark.parametrize(("value", "seconds"), [(None, 30), ("", 30), (" 15 ", 15), ("0", 0), ("-1", 30), ("x", 30)])
def test_the_workers_interval_counts(value: str | None, seconds: float) -> None:
    """VOX_MESH_HTTP_HEARTBEAT_SECS as the workers read it; nonsense is the default."""
    assert heartbeat_s(lambda name: value if name == "VOX_MESH_HTTP_HEARTBEAT_SECS" else None) == seconds
    assert DEFAULT_HEARTBEAT_S == 30
