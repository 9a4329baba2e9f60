"""CI recipes: their commands are ones that the program takes, and the shell recipe does what it says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from preflight.cli.main import build

ROOT = Path(__file__).parents[1]
CI = ROOT / "examples" / "ci"
SCRIPT = CI / "preflight.sh"


def parsed(line: str) -> click.Context:
    """Parse a call of `preflight` by its own commands, and run nothing."""
    words = shlex.split(line)
    group = build()
    _, command, rest = group.resolve_command(click.Context(group), words[1:])
    assert command is not None
    return command.make_context(command.name, list(rest))


def calls() -> list[str]:
    """Every `preflight` call of the recipes, with shell variables and folders filled in."""
    gitlab = yaml.safe_load((CI / "gitlab-ci.yml").read_text(encoding="utf-8"))["overlay"]["script"]
    jenkins = re.findall(r"sh '(preflight [^']+)'", (CI / "Jenkinsfile").read_text(encoding="utf-8"))
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    (run,) = [step["run"] for step in action["runs"]["steps"] if step.get("id") == "run"]
    call = run.replace("\\\n", " ").partition('/preflight" ')[2].partition("||")[0]
    call = re.sub(r"\$\{CONFIG:[^}]*\}|\$ARGUMENTS", "", call).replace("$WAIT", "120")
    return [line for line in gitlab if line.startswith("preflight")] + jenkins + [f"preflight {call}"]


@pytest.mark.parametrize("line", calls())
def test_recipes_call_the_program_as_it_is(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe that is copied works at once: options exist, formats too, and it waits and keeps reports."""
    monkeypatch.chdir(tmp_path)
    with parsed(line) as context:
        assert context.params["wait"] == 120
        assert any(output.startswith("junit=") for output in context.params["outputs"])


def test_the_action_gates_on_the_exit_code() -> None:
    """A composite action whose step ends with 0 whatever happened would be a green light for everything."""
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert action["runs"]["using"] == "composite"
    assert all(step["shell"] == "bash" for step in action["runs"]["steps"])
    assert action["runs"]["steps"][-1]["run"].rstrip().endswith('exit "$code"')
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    for name in action["inputs"]:
        assert f"inputs.{name} " in text, name
    # Inputs go through the environment: pasted into a script they would be code.
    assert not any("${{" in step["run"] for step in action["runs"]["steps"])


def test_the_workflow_is_yaml_and_keeps_reports_always() -> None:
    """The reports of a failed run are the ones that people need."""
    workflow = yaml.safe_load((CI / "github.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["preflight"]["steps"]
    assert steps[-1]["if"] == "always()"
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert set(steps[1]["with"]) <= set(action["inputs"])


def test_the_shell_recipe_passes_the_exit_code_on(tmp_path: Path) -> None:
    """On a node without overlay: exit code 1, one sentence, reports kept, and no baseline made of a bad run."""
    environ = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    script = SCRIPT.read_text(encoding="utf-8").replace(
        "--wait 120", "--wait 0 --only host.sockets --only overlay.interface"
    )
    (tmp_path / "preflight.sh").write_text(script, encoding="utf-8")
    (tmp_path / "preflight.yaml").write_text("overlay: {interface: nosuch0}\n", encoding="utf-8")
    command = ["sh", "preflight.sh", "kept"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert "something failed" in done.stderr
    kept = {path.name for path in (tmp_path / "kept").iterdir()}
    assert kept == {"report.html", "report.json", "junit.xml"}
