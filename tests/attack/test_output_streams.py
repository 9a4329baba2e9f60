"""Standard output and standard error: no result is lost, whatever happens to them."""

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from preflight.report.model import Report
from tests.attack.writers import PROGRAM, REPORT, render, run

# Descriptors by name.


def test_a_redirected_standard_output_is_written_on(tmp_path: Path) -> None:
    """/dev/stdout is what the shell opened: a file behind `>>` keeps what it holds, and its inode."""
    log, source = tmp_path / "log", tmp_path / "r.json"
    source.write_text(REPORT.model_dump_json())
    log.write_text("before\n")
    (tmp_path / "link").symlink_to("/dev/stdout")
    inode = log.stat().st_ino
    with log.open("a") as sink:
        done = run("report", "render", "r.json", "--output", "json=link", stdout=sink, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    before, _, document = log.read_text().partition("\n")
    assert (before, Report.model_validate_json(document)) == ("before", REPORT)
    assert log.stat().st_ino == inode


def test_a_descriptor_of_the_shell_is_written() -> None:
    """A descriptor that the shell opened, as for `>(program)`, is written, and is not closed."""
    end, beginning = os.pipe()
    render(Path(f"/dev/fd/{beginning}"))
    os.write(beginning, b"\n")
    os.close(beginning)
    with open(end, "rb") as pipe:  # noqa: PTH123 - a descriptor
        assert Report.model_validate_json(pipe.read()) == REPORT


# The result of a run is not lost.


STREAMS = ("full", "closed", "broken pipe")


SENTENCES = {
    "full": "preflight: standard output cannot be written: No space left on device\n",
    "closed": "preflight: standard output cannot be written: it is closed\n",
    "broken pipe": "",
}
"""What is said of each. Nothing where the reader has ended, as `head` does when it has enough."""


def run_into(stream: str, *words: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """The program with a standard output that takes nothing."""
    if stream == "closed":
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *PROGRAM, *words]
        return subprocess.run(command, cwd=folder, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    if stream == "full":
        with Path("/dev/full").open("w") as full:
            return run(*words, stdout=full, cwd=folder)
    end, beginning = os.pipe()
    os.close(end)
    try:
        return run(*words, stdout=beginning, cwd=folder)
    finally:
        os.close(beginning)


@pytest.mark.parametrize(
    ("command", "stream"),
    [
        *(("--version", stream) for stream in STREAMS),
        ("explain mtu.black-hole", "closed"),
        ("list --json", "full"),
        ("schema config", "broken pipe"),
        ("list", "broken pipe"),
        ("--help", "broken pipe"),
        ("report render r.json", "closed"),
        ("report diff r.json r.json", "full"),
        ("control-plane bootstrap-token", "closed"),
    ],
)
def test_a_document_that_nobody_takes_is_reported(command: str, stream: str, tmp_path: Path) -> None:
    """A command whose standard output takes nothing exits 2, and says so unless its reader has ended."""
    (tmp_path / "r.json").write_text(REPORT.model_dump_json())
    done = run_into(stream, *command.split(), folder=tmp_path)
    assert done.stderr == SENTENCES[stream]
    assert done.returncode == 2


@pytest.mark.parametrize("stream", ["closed", "broken pipe"])
def test_the_verdict_is_reported_where_the_report_cannot_be(stream: str, tmp_path: Path) -> None:
    """A run whose report nobody takes shows its verdict on standard error, and its files are written."""
    done = run_into(stream, "run", "host.clock", "-q", "--output", "text", "--output", "json=r.json", folder=tmp_path)
    verdict, _, sentence = done.stderr.partition("\n")
    report = Report.model_validate_json((tmp_path / "r.json").read_text())
    assert verdict.startswith(f"preflight: verdict {report.verdict} (exit would have been {report.run.exit_code}): ")
    assert sentence == SENTENCES[stream]
    assert done.returncode == 2


def test_one_output_that_fails_costs_no_other(tmp_path: Path) -> None:
    """A full device and a pipe without a reader are reported together; the other documents are written."""
    os.mkfifo(tmp_path / "pipe")
    outputs = ("json=/dev/full", "junit=pipe", "html=h.html", "markdown=m.md")
    done = run("run", "host.clock", "-q", *(f"--output={output}" for output in outputs), cwd=tmp_path)
    full, pipe = "/dev/full cannot be written: No space left on device", "pipe cannot be written: nothing reads from it"
    assert done.stderr.splitlines()[-1] == f"preflight: {full}; {pipe}"
    assert (done.returncode, done.stdout) == (2, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["h.html", "m.md", "pipe"]
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(
    ("words", "how", "code"),
    [("run host.clock --allow-inconclusive", "2>/dev/full", 0), ("explain nothing", "2>&-", 2)],
    ids=["progress into a full device", "a usage error into nothing"],
)
def test_messages_that_nobody_takes_cost_nothing(words: str, how: str, code: int, tmp_path: Path) -> None:
    """Without a standard error the program ends as with one, and standard output holds no message."""
    command = ["sh", "-c", f'exec "$@" {how}', "sh", *PROGRAM, *words.split()]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == code
    assert "Traceback" not in done.stdout
    assert "host.clock (" not in done.stdout


def test_a_pipe_that_does_not_block_gets_the_whole_document() -> None:
    """A standard output that is full for a moment gets the rest later."""
    end, beginning = os.pipe()
    fcntl.fcntl(beginning, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(beginning, False)
    with subprocess.Popen([*PROGRAM, "list", "--json"], stdout=beginning, stderr=subprocess.PIPE) as child:
        os.close(beginning)
        with open(end, "rb") as pipe:  # noqa: PTH123 - a descriptor
            document = pipe.read()
        assert child.stderr
        assert child.stderr.read() == b""
    assert child.returncode == 0
    assert len(document) > 3 * 4096
    assert document.endswith(b"]\n")


def test_a_terminal_without_our_signs_gets_escapes(tmp_path: Path) -> None:
    """A character set that lacks a sign of the report does not cost the report."""
    (tmp_path / "r.json").write_text(REPORT.model_dump_json())
    latin = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = run("report", "render", "r.json", cwd=tmp_path, env=latin, encoding="latin-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\u2717 mtu.black-hole" in done.stdout
