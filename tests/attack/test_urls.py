"""No URL takes a secret into a report, an error or the command that a report repeats."""

import html
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attack import program
from tests.attack.program import CLOSED, SECRET, Preflight, is_refused

preflight = program.preflight


URLS_WITH_SECRETS = [
    f"http://{SECRET}@h",
    f"http://u:{SECRET}@h:9847",
    f"u:{SECRET}@h",
    f"{SECRET}@h",
    f"http://u:a/{SECRET}@h",
    f"http://u:a {SECRET}@h",
    f"u:a\t{SECRET}@h",
    f"http://u:{SECRET}%40h",
    f"http://u:{SECRET}\uff20h",
    f"http://h?token={SECRET}",
    f"h/populi?{SECRET}",
    f"http://h#{SECRET}",
    f"http://h/%3ftoken={SECRET}",
    f"HTTPS://u:{SECRET}@[fd66::3]:9847/",
    f"http:/u:{SECRET}@h",
]


INSTEAD = "a bearer token goes into control.token_file of the settings or into VOX_MESH_TOKEN, never into the URL"
VARIABLES = ("PREFLIGHT_CONTROL_URL", "VOX_ORCHESTRATOR_MESH_CONTROL_URL", "VOX_MESH_CONTROL_ADDR")


@pytest.mark.parametrize("url", URLS_WITH_SECRETS, ids=lambda url: ascii(url.replace(SECRET, "SECRET")))
@pytest.mark.parametrize("source", ["option", "variable", "file"])
def test_url(preflight: Preflight, url: str, source: str) -> None:
    """A control URL with a place for a secret is refused, or is a finding about this node, and never repeated."""
    if source == "option":
        is_refused(preflight("all", "--control-url", url), "--control-url", INSTEAD)
        return
    only = ("run", "control.url", "--output", "json")
    settings = json.dumps({"control": {"url": url}})
    done = preflight(*only, VOX_MESH_CONTROL_ADDR=url) if source == "variable" else preflight(*only, settings=settings)
    assert done.code == 1, done
    (cause,) = json.loads(done.out)["diagnosis"]
    assert cause["code"] == "control.url-invalid"
    assert INSTEAD in cause["message"]
    assert SECRET not in f"{done.out}{done.err}"


@pytest.mark.parametrize("command", ["watch", "responder", "exporter", "init", "bundle"])
@pytest.mark.parametrize("variable", VARIABLES)
def test_command(preflight: Preflight, tmp_path: Path, command: str, variable: str) -> None:
    """Every command refuses a URL with a secret in the environment, and writes no file that would hold it."""
    is_refused(preflight(command, **{variable: URLS_WITH_SECRETS[1]}), variable, INSTEAD)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        [f"http://{SECRET}@h"],
        ["all", f"http://{SECRET}@h"],
        ["run", f"http://u:{SECRET}@h"],
        ["run", f"h?token={SECRET}"],
        ["all", "--only", f"u:{SECRET}@h"],
        ["all", "--tag", f"{SECRET}@h"],
        ["all", "--peer", f"http://u:{SECRET}@h"],
        ["all", "--peer", f"u:{SECRET}@h=b"],
        ["all", "--config", f"http://u:{SECRET}@h/preflight.yaml"],
        ["all", "--baseline", f"http://u:{SECRET}@h/r.json"],
        ["all", "--output", f"json=http://u:{SECRET}@h/r.json"],
        ["all", "--output", f"http://u:{SECRET}@h"],
        ["all", "--timeout", f"http://u:{SECRET}@h"],
        ["all", "--fail-on", f"http://u:{SECRET}@h"],
        ["all", "--lab", f"http://u:{SECRET}@h"],
        ["explain", f"http://u:{SECRET}@h"],
        ["responder", "--config", f"http://u:{SECRET}@h/preflight.yaml"],
    ],
    ids=lambda arguments: " ".join(arguments).replace(SECRET, "SECRET"),
)
def test_misplaced_url(preflight: Preflight, arguments: list[str]) -> None:
    """A URL with a secret where none belongs is complained about without its secret."""
    is_refused(preflight(*arguments))


GIVEN = ["run", "--quiet", "control.url", "--peer=127.0.0.9=b c", "--timeout", "60", "--skip", "mtu.*", "--no-color"]
AGAIN = ["preflight", "run", "control.url", "--peer", "127.0.0.9=b c", "--skip", "mtu.*", "--timeout", "60.0"]


def test_command_of_a_report(preflight: Preflight, tmp_path: Path) -> None:
    """It is made of parsed options, never of this process's arguments, and quoted for a shell where it is shown."""
    outputs = ["--output", "json=r.json", "--output", "html=r.html"]
    assert preflight(*GIVEN, "--control-url", CLOSED, *outputs).code == 0
    command = json.loads((tmp_path / "r.json").read_text())["run"]["command"]
    again = [*AGAIN[:5], "--control-url", CLOSED, *AGAIN[5:], *outputs, "--quiet", "--no-color"]
    assert sorted(command) == sorted(again)
    assert command[:3] == AGAIN[:3]
    assert shlex.join(command) in html.unescape((tmp_path / "r.html").read_text())


def test_command_of_a_report_from_a_lab(tmp_path: Path) -> None:
    """It asks for the lab again, not for the lab's own files, which are gone with it."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = [sys.executable, "-P", "-m", "preflight", *GIVEN, "--lab=loopback", "--output", "json=r.json"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    recorded = json.loads((tmp_path / "r.json").read_text())["run"]["command"]
    assert recorded == [*AGAIN, "--output", "json=r.json", "--quiet", "--no-color", "--lab", "loopback"]
