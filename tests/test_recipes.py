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
    scripts = [step for step in action["runs"]["steps"] if "run" in step]
    assert all(step["shell"] == "bash" for step in scripts)
    assert scripts[-1]["run"].rstrip().endswith('exit "$code"')
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    for name in action["inputs"]:
        assert f"inputs.{name} " in text or f"inputs.{name} }}}}" in text, name
    # Inputs go through the environment: pasted into a script they would be code.
    assert not any("${{" in step["run"] for step in scripts)


def test_the_action_keeps_the_exit_code_2(tmp_path: Path) -> None:
    """Where nothing was run there is no report: the summary says so, and the job ends with 2 and not with another."""
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    (script,) = [step["run"] for step in action["runs"]["steps"] if step.get("id") == "run"]
    (tmp_path / "preflight" / "bin").mkdir(parents=True)
    (tmp_path / "preflight" / "bin" / "preflight").symlink_to(Path(sys.executable).parent / "preflight")
    said = {"GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary"}
    given = {"CONFIG": "missing.yaml", "ARGUMENTS": "", "WAIT": "0", "REPORTS": "reports", "RUNNER_TEMP": str(tmp_path)}
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)} | given | said
    shell = ["/bin/bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    done = subprocess.run(shell, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert (tmp_path / "output").read_text() == "exit-code=2\n"
    assert "exit code 2" in (tmp_path / "summary").read_text()


def test_workflows_use_the_action_as_it_is_and_reports_are_always_kept() -> None:
    """The reports of a failed run are the ones that people need."""
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    kept = [step for step in action["runs"]["steps"] if step.get("uses", "").startswith("actions/upload-artifact@")]
    assert [step["if"].split()[0] for step in kept] == ["always()"]
    for file in (CI / "github.yml", ROOT / ".github" / "workflows" / "action.yml"):
        (job,) = yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"].values()
        uses = [step for step in job["steps"] if step.get("uses", "").startswith("./")]
        assert uses
        assert all(set(step["with"]) <= set(action["inputs"]) for step in uses)


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
