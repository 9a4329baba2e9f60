"""The steps of a run on one node: `python3 AGENT STEP RUN_FOLDER …`, as Ansible calls them.

start    unpacks the delivery, takes key and settings from standard input, and starts the keeper
ready    prints whether the start worked
go       takes the schedule from standard input
collect  waits for the report and prints it

The keeper stays when `start` has ended. It runs the responder and each schedule, and ends with everything that it
started after its life limit, whether or not anyone comes back.
"""

import base64
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

PAYLOAD = "payload.tar.gz"
MARK = "PREFLIGHT_FLEET_RUN"
PREFIX = "preflight:"
"""Before what Ansible carries, so that it takes no text for a value of its own language."""
_START_WITHIN_S = 30.0
_LOOK_AGAIN_S = 0.05


def read_input() -> dict[str, Any]:
    """The JSON on standard input."""
    text = sys.stdin.read().strip()
    found: dict[str, Any] = json.loads(base64.b64decode(text.removeprefix(PREFIX)))
    return found


def answer(value: object) -> None:
    """Print a value as Ansible may carry it."""
    packed = gzip.compress(json.dumps(value).encode(), mtime=0)
    sys.stdout.write(f"{PREFIX}{base64.b64encode(packed).decode()}\n")


def unpack(folder: Path) -> None:
    """Unpack the delivery into the folder named by its hash: complete, or not at all."""
    if folder.exists():
        return
    draft = folder.with_name(f"{folder.name}.{os.getpid()}")
    with zipfile.ZipFile(sys.argv[0]) as delivery, delivery.open(PAYLOAD) as packed:
        with tarfile.open(fileobj=packed, mode="r|gz") as archive:
            archive.extraction_filter = staticmethod(lambda member, path: member)  # it is our own
            archive.extractall(draft)  # noqa: S202
        (draft / "agent.py").write_bytes(delivery.read("__main__.py"))
    try:
        draft.rename(folder)
    except OSError:  # another run was faster
        shutil.rmtree(draft)


def write(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, completely or not at all."""
    draft = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    draft.rename(path)


def start(run_folder: Path, delivery: Path) -> int:
    """Unpack, write key and settings, and start the keeper; return when it has said how the responder does."""
    given = read_input()
    unpack(delivery)
    run_folder.mkdir(mode=0o700)
    write(run_folder / "key", base64.b64decode(given["key"]))
    write_settings(run_folder, given["settings"])
    write(run_folder / "given", json.dumps({"bind": given["bind"], "life_s": given["life_s"]}).encode())
    with (run_folder / "log").open("ab") as log:
        words = [sys.executable, "-I", str(delivery / "agent.py"), "keep", str(run_folder), str(delivery)]
        subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/")
    return 0 if appears(run_folder / "state", _START_WITHIN_S) else 1


def write_settings(run_folder: Path, settings: dict[str, Any]) -> None:
    """Write the settings of this run, with the place of its key."""
    responder = settings.get("responder", {}) | {"key_file": str(run_folder / "key")}
    write(run_folder / "preflight.yaml", json.dumps(settings | {"responder": responder}).encode())


def appears(path: Path, within_s: float) -> bool:
    """Whether a file is there within a time."""
    deadline = time.monotonic() + within_s
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_AGAIN_S)
    return True


def ready(run_folder: Path) -> int:
    """Whether the start worked, with this node's clock."""
    state = json.loads((run_folder / "state").read_bytes())
    answer(state | {"monotonic": time.monotonic()})
    return 0


def go(run_folder: Path, number: str) -> int:
    """Hand the schedule to the keeper."""
    given = read_input()
    write_settings(run_folder, given["settings"])
    write(run_folder / f"go-{number}", json.dumps(given).encode())
    return 0


def collect(run_folder: Path, number: str, within_s: str) -> int:
    """Print the report once it is complete."""
    if not appears(run_folder / f"done-{number}", float(within_s)):
        sys.stderr.write(f"no report within {float(within_s):.0f} s: {last_words(run_folder / 'log')}\n")
        return 1
    report = run_folder / f"report-{number}"
    if not report.exists():
        sys.stderr.write(f"the measurement ended without a report: {last_words(run_folder / 'log')}\n")
        return 1
    sys.stdout.write(f"{PREFIX}{base64.b64encode(report.read_bytes()).decode()}\n")
    return 0


def last_words(log: Path) -> str:
    """The last line of a log."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it printed nothing"


class Keeper:
    """Runs the responder and the schedules of one run on this node."""

    def __init__(self, run_folder: Path, delivery: Path) -> None:
        self.folder, self.delivery = run_folder, delivery
        self.given = json.loads((run_folder / "given").read_bytes())
        self.deadline = time.monotonic() + self.given["life_s"]
        self.children: list[subprocess.Popen[bytes]] = []

    def run(self) -> int:
        """Until the life limit or a signal."""
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
        try:
            self.start_responder()
            number = 1
            while time.monotonic() < self.deadline:
                # It loads its modules meanwhile, and waits for its orders.
                words = ["-m", "preflight.cli.fleet_node", str(self.folder), str(number)]
                self.start(words, None).wait()
                write(self.folder / f"done-{number}", b"")
                number += 1
        finally:
            for child in self.children:
                child.kill()
            if time.monotonic() >= self.deadline:  # nobody came to clean
                shutil.rmtree(self.folder, ignore_errors=True)
        return 0

    def start(self, words: list[str], output: int | None) -> "subprocess.Popen[bytes]":
        """Start a Python with the delivery. The kernel's alarm ends it after the life limit, even if we are killed."""
        life_s = max(1, int(self.deadline - time.monotonic()))
        child = subprocess.Popen(
            [sys.executable, "-s", "-P", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            env=os.environ | {"PYTHONPATH": str(self.delivery / "lib"), "TMPDIR": str(self.folder)},
            cwd=self.folder,
            preexec_fn=lambda: signal.alarm(life_s),  # noqa: PLW1509 - this process has one thread
        )
        self.children.append(child)
        return child

    def start_responder(self) -> None:
        """Start it, and write down whether it listens, or its last words. A run that only compares needs none."""
        if self.given["bind"] is None:
            write(self.folder / "state", json.dumps({"listening": ""}).encode())
            return
        words = ["-m", "preflight", "responder", "--key-file", str(self.folder / "key")]
        words += [word for place in self.given["bind"] for word in ("--bind", place)]
        child = self.start([*words, "--config", str(self.folder / "preflight.yaml")], subprocess.PIPE)
        assert child.stdout is not None
        line = child.stdout.readline().decode(errors="replace").strip()
        state = {"listening": line} if line else {"error": last_words(self.folder / "log") if child.wait() else ""}
        write(self.folder / "state", json.dumps(state).encode())


def main(step: str, run_folder: str, *more: str) -> int:
    """One step."""
    folder = Path(run_folder)
    if step == "keep":
        return Keeper(folder, Path(more[0])).run()
    if step == "start":
        return start(folder, Path(more[0]))
    if step == "ready":
        return ready(folder)
    return go(folder, more[0]) if step == "go" else collect(folder, *more)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
