"""What the lab's commands share: the same command line again, in the virtual machine."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from preflight.cli.lab import lab
from preflight.lab.vm import command

Asked = list[tuple[list[str], list[Path]]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What a machine would be asked to run, instead of booting one."""
    found: Asked = []

    def record(words: Sequence[str], files: Iterable[Path]) -> int:
        found.append((list(words), list(files)))
        return 7

    monkeypatch.setattr(command, "lab", record)
    return found


@pytest.mark.parametrize(
    ("words", "inside"),
    [
        (["run", "wrong-key", "--vm", "healthy", "--repeat", "2"], ["run", "wrong-key", "healthy", "--repeat", "2"]),
        (["run", "--all", "--heal", "--vm"], ["run", "--all", "--heal"]),
        (
            ["fuzz", "--vm", "--seed", "3", "--only", "a*", "--only", "b", "--output", "json=x.json"],
            ["fuzz", "--seed", "3", "--only", "a*", "--only", "b", "--output", "json=x.json", "--inside-vm"],
        ),
    ],
)
def test_the_machine_runs_the_same_command(asked: Asked, words: list[str], inside: list[str]) -> None:
    """Protects `--vm`: nothing that the user said is lost, nothing is added, and the exit code is the command's."""
    done = CliRunner().invoke(lab, words)
    assert done.exit_code == 7, done.output
    ((said, files),) = asked
    assert said == inside
    assert files == ([Path("x.json")] if "json=x.json" in words else [])


def test_draws_that_need_the_machine_come_only_there() -> None:
    """Protects hosts: `--inside-vm` is what the machine says, and no help shows it."""
    assert "--inside-vm" not in CliRunner().invoke(lab, ["fuzz", "--help"]).output
