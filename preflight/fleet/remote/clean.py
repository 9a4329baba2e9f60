"""The last step on a node: end what a run started there, and remove its files.

Arguments: the run's id, or `any`, and the names of deliveries to keep. It finds the processes by the run's id in their
environment or command line, in its own network namespace only: another container is another node.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

MARK = "PREFLIGHT_FLEET_RUN"
"""The environment variable with the run's id, in everything that a run starts."""
CONTROLLER = "preflight-controller-"
"""In the environment or command line of what the controller runs on its own machine."""
ANY = "any"
_RUN_FOLDER, _INCOMING = "preflight-fleet-", "run-"
_TEMPORARY = Path("/tmp")  # noqa: S108 - Ansible's own folder for a run, whose name nobody can guess
_GRACE_S = 1.0
_PATIENCE_S = 10.0
_LOOK_AGAIN_S = 0.05


def marks_of(run: str) -> "list[str]":
    """What shows in the environment or command line of each process that a run has started on a node."""
    return [
        place + ("" if run == ANY else run) for place in (_RUN_FOLDER, f"overlay-preflight/{_INCOMING}", f"{MARK}=")
    ]


def marked(marks: "list[str]", spare: str = CONTROLLER) -> "list[int]":
    """The processes with one of these marks in this network, without this one and its ancestors.

    spare: a mark of processes that are spared: a controller may be one of its own nodes.
    """
    own, spared = Path("/proc/self/ns/net").stat().st_ino, _ancestry()
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and int(entry.name) not in spared and _is_ours(entry, marks, spare, own)
    ]


def _is_ours(process: Path, marks: "list[str]", spare: str, network: int) -> bool:
    try:
        seen = (process / "environ").read_bytes() + b"\0" + (process / "cmdline").read_bytes()
        if (spare and spare.encode() in seen) or not any(mark.encode() in seen for mark in marks):
            return False
        return (process / "ns" / "net").stat().st_ino == network
    except OSError:
        return False


def _ancestry() -> "set[int]":
    found: set[int] = set()
    pid = os.getpid()
    while pid > 0:
        found.add(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
        except OSError:
            break
    return found


def end_processes(marks: "list[str]", spare: str = CONTROLLER) -> "list[int]":
    """End them, and whatever they still start meanwhile; return those that do not end."""
    deadline = time.monotonic() + _PATIENCE_S
    met: dict[int, float] = {}
    quiet = 0
    while quiet < 2 and time.monotonic() < deadline:
        left = marked(marks, spare)
        quiet = 0 if left else quiet + 1
        for pid in left:
            patient = time.monotonic() - met.setdefault(pid, time.monotonic()) < _GRACE_S
            try:
                os.kill(pid, signal.SIGTERM if patient else signal.SIGKILL)
            except OSError:
                pass
        time.sleep(_LOOK_AGAIN_S)
    return marked(marks, spare)


def folders() -> "tuple[list[Path], list[Path]]":
    """Where deliveries are, and where the other folders of a run may be."""
    bases = [Path("/var/cache/overlay-preflight"), Path.home() / ".cache" / "overlay-preflight"]
    runtimes = [_TEMPORARY, Path("/run"), Path(f"/run/user/{os.geteuid()}")]
    runtimes += [Path(os.environ["XDG_RUNTIME_DIR"])] if "XDG_RUNTIME_DIR" in os.environ else []
    return bases, runtimes


def remove_files(run: str, keep: "list[str]", places: "tuple[list[Path], list[Path]]") -> "list[str]":
    """Remove the folders of a run, and every delivery that is not kept; return what cannot be removed."""
    bases, runtimes = places
    if any(_of_another(path, run) for base in bases for path in _entries(base)):
        keep = [*keep, *(path.name for base in bases for path in _entries(base) if not path.name.startswith(_INCOMING))]
    doomed = [path for base in bases for path in _entries(base) if path.name not in keep and not _of_another(path, run)]
    doomed += [
        path
        for runtime in runtimes
        for path in _entries(runtime)
        if path.name.startswith(_RUN_FOLDER) and not _of_another(path, run)
    ]
    for path in doomed:
        shutil.rmtree(path, ignore_errors=True)
    for base in bases:
        if base.is_dir() and not _entries(base):
            base.rmdir()
    return [str(path) for path in doomed if path.exists()]


def _of_another(path: Path, run: str) -> bool:
    """Whether it is the folder of another run. A delivery belongs to all of them."""
    own = [prefix for prefix in (_RUN_FOLDER, _INCOMING) if path.name.startswith(prefix)]
    return bool(own) and run != ANY and path.name != own[0] + run


def _entries(folder: Path) -> "list[Path]":
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def main(run: str, *keep: str) -> int:
    """1 with what is left, if anything is."""
    left = [f"process {pid}" for pid in end_processes(marks_of(run))] + remove_files(run, list(keep), folders())
    if left:
        sys.stderr.write(f"not removed: {', '.join(left)}\n")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
