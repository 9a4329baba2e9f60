"""Daemons of a lab: started detached, identified by a mark in their environment, and killed without the risk of killing
another process.

A process id may be reused between check and kill; the mark is read through a process handle (pidfd), which cannot be.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from preflight.lab.names import LabError
from preflight.lab.signals import give_way
from preflight.programs import find, search_path

MARK = "PREFLIGHT_LAB_DAEMON"
PACKAGES = {
    "ip": "iproute2",
    "bridge": "iproute2",
    "conntrack": "conntrack",
    "nebula-cert": "nebula",
    "nft": "nftables",
    **{f"ip{six}tables-{variant}": "iptables" for six in ("", "6") for variant in ("nft", "legacy")},
    "tc": "iproute2",
    "dnsmasq": "dnsmasq-base",
    "nginx": "nginx-light",
    "setpriv": "util-linux",
    **{f"ip{six}tables-legacy-restore": "iptables" for six in ("", "6")},
    "wg": "wireguard-tools",
    "wg-quick": "wireguard-tools",
    "wireguard-go": "wireguard-go",
    "git": "git",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "sshd": "openssh-server",
    "ssh-keygen": "openssh-client",
}
_LOOK_AGAIN_MS = 5


@dataclass(frozen=True, slots=True)
class Daemon:
    """A process that this program started, and the file with its output."""

    name: str
    pid: int
    log: Path


def program(name: str) -> str:
    """Absolute path of a system program. Raises LabError naming the package that has it."""
    found = find(name)
    if found is None:
        raise LabError(f"{name} is missing; install it with: apt-get install {PACKAGES.get(name, name)}")
    return found


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without variables that would configure or divert a node: a lab is equal on every machine."""
    diverting = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    kept = {
        key: value
        for key, value in environ.items()
        if not key.startswith(("VOX_", "PREFLIGHT_")) and key.lower() not in diverting
    }
    return kept | {"PATH": search_path(environ)}


def run(argv: Sequence[str], *, text: str | None = None, timeout: float = 10.0) -> str:
    """Run a system program and return its output. Raises LabError with its error message."""
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise LabError(f"{_shown(argv)} did not end within {timeout:.0f} s") from None
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise LabError(f"{_shown(argv)} failed: {words[-1] if words else f'exit code {done.returncode}'}")
    return done.stdout


def _shown(argv: Sequence[str]) -> str:
    return " ".join([Path(argv[0]).name, *argv[1:]])


def start(
    name: str, argv: Sequence[str], *, mark: str, log: Path, environment: Mapping[str, str] | None = None
) -> Daemon:
    """Start a daemon in a new session, so that Ctrl-C at our terminal does not reach it.

    environment: variables added to the clean one.
    """
    with log.open("ab") as sink, Path(os.devnull).open("rb") as nothing:
        pid = os.posix_spawn(
            argv[0],
            list(argv),
            clean_environment(os.environ) | dict(environment or {}) | {MARK: mark},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, sink.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, sink.fileno(), 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE],
        )
    return Daemon(name, pid, log)


def wait_for_words(daemon: Daemon, words: str, times: int, deadline: float) -> None:
    """Return when `times` lines of the daemon's output contain `words`.

    deadline: on time.monotonic()'s clock. Raises LabError with the daemon's last line if it ends or stays silent.
    """
    handle = os.pidfd_open(daemon.pid)
    try:
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        while sum(words in line for line in _lines(daemon.log)) < times:
            give_way()
            if ended.poll(_LOOK_AGAIN_MS):
                raise LabError(f"the lab's {daemon.name} stopped while starting: {_last_line(daemon.log)}")
            if time.monotonic() > deadline:
                raise LabError(f"the lab's {daemon.name} is not ready in time: {_last_line(daemon.log)}")
    finally:
        os.close(handle)


def _lines(log: Path) -> list[str]:
    text = log.read_text(encoding="utf-8", errors="replace")
    return text[: text.rfind("\n") + 1].splitlines()  # an incomplete line does not count


def _last_line(log: Path) -> str:
    return next((line.strip() for line in reversed(_lines(log)) if line.strip()), "it printed nothing")


def mark_of(pid: int) -> str | None:
    """The mark of a process; None for a foreign process or one that has ended."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    prefix = f"{MARK}=".encode()
    found = next((item for item in environment.split(b"\0") if item.startswith(prefix)), None)
    return os.fsdecode(found.removeprefix(prefix)) if found is not None else None


def state_of(pid: int) -> str:
    """The state of a process as proc(5) has it, one letter; empty if it has ended."""
    try:
        # The command's name is in parentheses and may contain anything.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def network_of(pid: int) -> int | None:
    """The inode of a process's network namespace; None if it cannot be read."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino  # noqa: PTH116 - follows the magic link, once
    except OSError:
        return None


def all_pids() -> Iterator[int]:
    """Every visible process except this one and its ancestors."""
    spared = set(_ancestry())
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) not in spared:
            yield int(entry.name)


def _ancestry() -> Iterator[int]:
    pid = os.getpid()
    while pid > 0:
        yield pid
        try:
            # The command's name is in parentheses and may contain anything; the parent is the second field after it.
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return


def end(ours: Callable[[int], bool], *, grace: float = 0.0) -> None:
    """End every process that `ours` accepts, and wait until all have ended.

    grace: seconds between SIGTERM and SIGKILL; 0 kills at once. Raises LabError if one survives.
    """
    rounds = [(signal.SIGTERM, grace)] if grace > 0 else []
    # A process may fork during the search, so there are several rounds.
    rounds += [(signal.SIGKILL, 5.0)] * 3
    for sign, patience in rounds:
        if not _signal_all(ours, sign, time.monotonic() + patience):
            return
    survivors = [pid for pid in all_pids() if ours(pid)]
    if survivors:
        raise LabError(f"processes of the lab do not end: {', '.join(map(str, survivors))}")


def notify(ours: Callable[[int], bool], sign: signal.Signals) -> None:
    """Send a signal to every process that `ours` accepts, once, and wait for nothing."""
    with ExitStack() as stack:
        for pid in all_pids():
            if not ours(pid):
                continue
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            stack.callback(os.close, handle)
            if ours(pid):  # check again, now that the handle pins the process
                _send(handle, sign)


def _signal_all(ours: Callable[[int], bool], sign: signal.Signals, deadline: float) -> bool:
    """Signal all of ours and wait for them; False if there were none."""
    with ExitStack() as stack:
        handles = []
        for pid in all_pids():
            if not ours(pid):
                continue
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            stack.callback(os.close, handle)
            if ours(pid):  # check again, now that the handle pins the process
                handles.append(handle)
                _send(handle, sign)
        for handle in handles:
            if _wait_for_exit(handle, deadline):
                _reap(handle)
    return bool(handles)


def _send(handle: int, sign: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(handle, sign)
    except ProcessLookupError:
        pass


def _wait_for_exit(handle: int, deadline: float) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))


def _reap(handle: int) -> None:
    try:
        os.waitid(os.P_PIDFD, handle, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        pass  # not our child
