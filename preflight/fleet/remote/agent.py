"""The steps of a run on one node: `python3 AGENT STEP RUN_FOLDER …`, as Ansible calls them.

unpack   unpacks the delivery that this is, and has its folder in place of the run's
start    takes key and settings from standard input, and starts the keeper
ready    prints the responder's place, or fails with its last words
go       takes the schedule as its last argument
collect  waits for the report and prints it, as JSON or packed

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
PACKED = "packed"
PREFIX = "preflight:"
"""Before what Ansible carries, so that it takes no text for a value of its own language."""
_GZIP = b"\x1f\x8b"
_START_WITHIN_S = 30.0
_LOOK_AGAIN_S = 0.05


def orders_of(text: str) -> dict[str, Any]:
    """Orders as the controller packs them. A playbook cannot compress."""
    content = base64.b64decode(text.strip().removeprefix(PREFIX))
    found: dict[str, Any] = json.loads(gzip.decompress(content) if content.startswith(_GZIP) else content)
    return found


def answer(value: object) -> None:
    """Print a value as Ansible may carry it."""
    packed = gzip.compress(json.dumps(value).encode(), mtime=0)
    sys.stdout.write(f"{PREFIX}{base64.b64encode(packed).decode()}\n")


def unpack(folder: Path) -> int:
    """Unpack the delivery into the folder named by its hash: complete, or not at all."""
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
    return 0


def write(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, completely or not at all."""
    draft = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    draft.rename(path)


def start(run_folder: Path, delivery: Path) -> int:
    """Write key and settings, and start the keeper; return when it has said how the responder does."""
    given = orders_of(sys.stdin.read())
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
    if "listening" not in state:
        sys.stderr.write(f"{state['error']}\n")
        return 1
    answer(state | {"monotonic": time.monotonic()})
    return 0


def go(run_folder: Path, number: str, orders: str) -> int:
    """Hand the schedule to the keeper."""
    given = orders_of(orders)
    write_settings(run_folder, given["settings"])
    write(run_folder / f"go-{number}", json.dumps(given).encode())
    return 0


def collect(run_folder: Path, number: str, form: str) -> int:
    """Print the report once it is complete; the orders say how long to wait for it."""
    within_s = float(json.loads((run_folder / f"go-{number}").read_bytes())["within_s"])
    if not appears(run_folder / f"done-{number}", within_s):
        sys.stderr.write(f"no report within {within_s:.0f} s: {last_words(run_folder / 'log')}\n")
        return 1
    report = run_folder / f"report-{number}"
    if not report.exists():
        sys.stderr.write(f"the measurement ended without a report: {last_words(run_folder / 'log')}\n")
        return 1
    if form == PACKED:
        sys.stdout.write(f"{PREFIX}{base64.b64encode(report.read_bytes()).decode()}\n")
    else:
        sys.stdout.write(f"{json.dumps(json.loads(gzip.decompress(report.read_bytes())))}\n")
    return 0


def loaded(number: object) -> str:
    """The file by which the process of a schedule says that it waits for it."""
    return f"loaded-{number}"


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
            responder, number = self.start_responder(), 1
            measuring = self.measure(number)
            state = self.state(responder)
            while not (self.folder / loaded(number)).exists() and measuring.poll() is None:
                time.sleep(_LOOK_AGAIN_S)
            write(self.folder / "state", json.dumps(state).encode())
            while measuring.wait() == 0 and time.monotonic() < self.deadline:
                write(self.folder / f"done-{number}", b"")
                number += 1
                measuring = self.measure(number)
            write(self.folder / f"done-{number}", b"")  # it failed; the responder still answers the others
            time.sleep(max(0.0, self.deadline - time.monotonic()))
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

    def measure(self, number: int) -> "subprocess.Popen[bytes]":
        """Start what follows a schedule: it loads its modules, and waits for its orders."""
        return self.start(["-m", "preflight.cli.fleet_node", str(self.folder), str(number)], None)

    def start_responder(self) -> "subprocess.Popen[bytes] | None":
        """A run that only compares needs none."""
        if self.given["bind"] is None:
            return None
        words = ["-m", "preflight", "responder", "--key-file", str(self.folder / "key")]
        words += [word for place in self.given["bind"] for word in ("--bind", place)]
        return self.start([*words, "--config", str(self.folder / "preflight.yaml")], subprocess.PIPE)

    def state(self, responder: "subprocess.Popen[bytes] | None") -> dict[str, str]:
        """Where the responder listens, or its last words."""
        if responder is None:
            return {"listening": ""}
        assert responder.stdout is not None
        line = responder.stdout.readline().decode(errors="replace").strip()
        return {"listening": line} if line else {"error": last_words(self.folder / "log") if responder.wait() else ""}


def main(step: str, run_folder: str, *more: str) -> int:
    """One step."""
    folder = Path(run_folder)
    if step == "unpack":
        return unpack(folder)
    if step == "keep":
        return Keeper(folder, Path(more[0])).run()
    if step == "start":
        return start(folder, Path(more[0]))
    if step == "ready":
        return ready(folder)
    return go(folder, *more) if step == "go" else collect(folder, *more)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
