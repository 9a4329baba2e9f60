"""`--debug FILE`, with real runs in separate processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from preflight.report.timeline import Recorded, parse

PROGRAM = (sys.executable, "-P", "-m", "preflight")


def run(folder: Path, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*PROGRAM, *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def recorded(path: Path) -> Recorded:
    return parse(path.read_bytes())


def of(timeline: Recorded, source: str) -> list[tuple[str, str]]:
    """The subjects and names of one source's events."""
    return [(event.subject, event.name) for event in timeline.events if event.source == source]


def test_a_run_writes_what_it_did_in_order(tmp_path: Path) -> None:
    """From the first reading to the last cause: what a report cannot show."""
    done = run(
        tmp_path, "run", "host.clock", "control.connect", "-q", "--control-url", "http://127.0.0.1:9", "--debug", "t"
    )
    assert done.returncode == 1, done.stderr
    timeline = recorded(tmp_path / "t")
    assert ("", "overlay-chosen") in of(timeline, "overlay.read")
    assert ("", "clock-read") in of(timeline, "kernel")
    assert ("127.0.0.1", "connect-ended") in of(timeline, "tcp.connect")
    runner = of(timeline, "engine.runner")
    assert (runner[0][1], runner[-1][1]) == ("run-started", "run-ended")
    own = [name for subject, name in runner if subject == "host.clock"]
    assert (own[0], own[-1]) == ("check-started", "check-ended")
    assert [event.at_s for event in timeline.events] == sorted(event.at_s for event in timeline.events)
    assert timeline.events[-1].source == "engine.diagnosis"
    assert timeline.events[-1].fields["target"] == "control"


def test_standard_output_can_be_the_timeline(tmp_path: Path) -> None:
    """`--debug - --output json=FILE | jq`."""
    done = run(tmp_path, "run", "host.clock", "-q", "--debug", "-", "--output", "json=r.json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0]["timeline"] == "1"
    assert lines[-1]["name"] in ("run-ended", "cause")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--debug", "-"], "standard output takes one document, not text and timeline: give a FILE"),
        (["--debug", "x", "--output", "json=x"], "two outputs name one file"),
        (["--debug", "none/x"], "--debug: none/x cannot be written"),
        (["--debug", "."], "--debug: . cannot be written: it is a directory"),
    ],
)
def test_what_cannot_be_written_is_reported_before_anything_runs(
    words: list[str], complaint: str, tmp_path: Path
) -> None:
    """Exit code 2, and no file is touched."""
    done = run(tmp_path, "run", "host.clock", *words)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_killed_run_leaves_what_happened_so_far(tmp_path: Path) -> None:
    """The reader of a hung run needs to know what it did last."""
    path = tmp_path / "t"
    words = ["run", "control.connect", "--control-url", "http://127.0.0.1:9", "--wait", "100", "--debug", str(path)]
    child = subprocess.Popen([*PROGRAM, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 60
        while not path.exists() or b"run-ended" not in path.read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert ("control.connect", "check-ended") in of(recorded(path), "engine.runner")


def test_pseudonyms_are_those_of_the_report(tmp_path: Path) -> None:
    """`--redact addresses`: no place in any line, and an address is called as the report calls it."""
    words = ["--control-url", "http://127.4.5.6:9", "--peer", "10.77.1.2=alice-laptop", "--redact", "addresses"]
    run(tmp_path, "run", "control.connect", "reach.udp", "-q", *words, "--debug", "t", "--output", "json=r.json")
    text = (tmp_path / "t").read_text()
    for place in ("127.4.5.6", "10.77.1.2", "alice"):
        assert place not in text
    report = json.loads((tmp_path / "r.json").read_text())
    pseudonyms = {peer["target"] for peer in report["run"]["peers"]}
    results = [e for e in recorded(tmp_path / "t").events if e.name == "result" and e.subject == "reach.udp"]
    assert {event.fields["target"] for event in results} == pseudonyms
    connected = [e.subject for e in recorded(tmp_path / "t").events if e.name == "connect-ended"]
    assert connected
    assert all(address in json.dumps(report) for address in connected)


def test_off_it_imports_nothing() -> None:
    """A run without `--debug` does not pay for it."""
    program = (
        "import sys\nfrom preflight.cli.main import main\n"
        "sys.argv = ['preflight', 'run', 'host.clock', '-q', '--output', 'json=/proc/self/fd/2']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'preflight.evidence.timeline', 'preflight.report.timeline'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "[]\n", done.stderr
