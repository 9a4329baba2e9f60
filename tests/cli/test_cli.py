"""The program as its user meets it: real processes, exit codes, one sentence per mistake."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from jsonschema import Draft202012Validator

from preflight.cli.group import COMMANDS, SUMMARIES, group

Preflight = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def preflight(tmp_path: Path) -> Preflight:
    """Run the program in an empty directory with an empty environment."""

    def run(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "preflight", *arguments],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("frobnicate",), "no command 'frobnicate'"),
        (("run", "mtu.pth"), "no check is called 'mtu.pth'; nearest: mtu.path"),
        (("all", "--only", "nosuch.*"), "no check is called 'nosuch.*'"),
        (("all", "--output", "jsn"), "no output format is called 'jsn'; nearest: json"),
        (("all", "--output", "json", "--output", "text"), "standard output takes one document"),
        (("all", "--output", "json=/nowhere/at/all/r.json"), "/nowhere/at/all is not a directory"),
        (("all", "--peer", "here"), "--peer here: 'here' is not an IP address"),
        (("all", "--config", "none.yaml"), "none.yaml: no such file"),
        (("all", "--bootstrap-token-file", "t"), "go with --enroll"),
        (("all", "--timeout", "0"), "--timeout"),
        (("explain", "mtu.blackhole"), "nearest: mtu.black-hole"),
        (("explain", "../pyproject"), "no finding code or check is called"),
        (("report", "render", "none.json"), "none.json: No such file"),
        (("report", "diff", "none.json", "none.json"), "none.json: No such file"),
        (("all", "--baseline", "none.json"), "none.json: No such file"),
        (("schema", "nothing"), "'nothing' is not one of"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_2(preflight: Preflight, arguments: tuple[str, ...], said: str) -> None:
    """Usage errors name the thing, run nothing, show no traceback and print nothing on standard output."""
    done = preflight(*arguments)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_broken_settings_file_is_named_with_its_line(preflight: Preflight, tmp_path: Path) -> None:
    """./preflight.yaml is found automatically, and its mistakes are reported by line."""
    (tmp_path / "preflight.yaml").write_text("node: {}\ncontrl: {}\n")
    done = preflight("all")
    assert done.returncode == 2
    assert "preflight.yaml:2: unknown key 'contrl'; did you mean 'control'?" in done.stderr


def test_version_help_and_list_import_nothing_heavy() -> None:
    """What a shell completes or a script asks must answer at once."""
    program = (
        "import sys\n"
        "from preflight.cli.main import build, main\n"
        "sys.argv = ['preflight', *sys.argv[1:]]\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'httpx', 'pydantic', 'yaml', 'rich', 'scapy', 'pyroute2', 'starlette', 'dns'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    for arguments in (["--version"], ["--help"], ["all", "--help"], ["list"], ["lab", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), arguments
        assert done.stdout


def test_help_imports_no_command() -> None:
    """It says of each what that command says of itself."""
    program = (
        "import sys\n"
        "from preflight.cli.main import main\n"
        "sys.argv = ['preflight', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "from preflight.cli.group import COMMANDS\n"
        "sys.exit(' '.join({place.partition(':')[0] for place in COMMANDS.values()} & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    commands = group()
    told = {name: commands.get_command(click.Context(commands), name) for name in COMMANDS}
    assert {name: each.get_short_help_str(1000) for name, each in told.items() if each} == SUMMARIES
    assert list(SUMMARIES) == list(COMMANDS)


def test_list_tells_every_check_in_json(preflight: Preflight) -> None:
    """The catalogue is complete: every module in checks/ has its entry."""
    rows = json.loads(preflight("list", "--json").stdout)
    modules = {path.stem for path in (Path(__file__).parents[2] / "checks").glob("*.py")} - {"__init__"}
    assert {row["id"].replace(".", "_").replace("-", "_") for row in rows} == modules
    assert all(row["codes"] and row["title"] and row["origin"] == "overlay-preflight" for row in rows)


def test_explain_prints_the_page(preflight: Preflight) -> None:
    """The page of a code is there offline."""
    done = preflight("explain", "mtu.black-hole")
    assert done.returncode == 0
    assert all(heading in done.stdout for heading in ("## Meaning", "## Likely causes", "## Confirm", "## Fix"))


@pytest.mark.parametrize("what", ["config", "report", "timeline"])
def test_schemas_are_schemas(preflight: Preflight, what: str) -> None:
    """What is published is JSON Schema 2020-12."""
    Draft202012Validator.check_schema(json.loads(preflight("schema", what).stdout))


def test_a_run_in_a_lab_writes_to_what_the_shell_opened(tmp_path: Path) -> None:
    """`--output json=/dev/fd/3 3>FILE` and `>(program)` reach the program within the lab."""
    with (tmp_path / "kept").open("w") as sink:
        os.set_inheritable(sink.fileno(), True)
        words = ["run", "host.clock", "-q", "--lab", "loopback", "--output", f"json=/dev/fd/{sink.fileno()}"]
        command = [sys.executable, "-P", "-m", "preflight", *words]
        done = subprocess.run(command, cwd=tmp_path, close_fds=False, capture_output=True, text=True, check=False)
    assert "cannot be written" not in done.stderr
    assert json.loads((tmp_path / "kept").read_text())["run"]["lab"] == "loopback"
