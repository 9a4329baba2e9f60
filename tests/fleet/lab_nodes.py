"""The lab of a fleet, as the tests of fleets look at it: what is on its nodes, and who sees a run's key."""

import base64
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preflight.lab import fleet
from preflight.lab.processes import all_pids, network_of, run

PREFLIGHT = [sys.executable, "-P", "-m", "preflight", "fleet"]
OWN = {"/run/sshd", "/run/wireguard", "/root/.ssh", "/root/.ssh/authorized_keys"}
PLACES = ("run", "tmp", "root", "var/cache", "var/tmp")


@dataclass(frozen=True)
class Nodes:
    """The lab of this module, and what a test looks at on its nodes."""

    plan: fleet.FleetPlan
    own_inventory: Path | None = None

    @property
    def inventory(self) -> str:
        """For the command line."""
        return str(self.own_inventory or self.plan.inventory)

    def files(self, node: str) -> set[str]:
        """What is in the node's own folders, apart from what the lab has put there."""
        root = Path(f"/proc/{self.plan.holder(node)}/root")
        found = (path for place in PLACES for path in (root / place).rglob("*"))
        names = {str(Path("/") / path.relative_to(root)) for path in found if path.suffix != ".sock"}
        return names - OWN

    def processes(self, node: str) -> dict[int, str]:
        """What runs in the node's network, apart from the lab's own daemons and sessions that are ending."""
        network = self.plan.names.namespace_file(node).stat().st_ino
        lines = {pid: _command(pid) for pid in all_pids() if network_of(pid) == network}
        return {pid: line for pid, line in lines.items() if line and not line.startswith(("sleep ", "sshd"))}

    def read(self, node: str, path: str) -> str:
        """A file of a node."""
        return Path(f"/proc/{self.plan.holder(node)}/root", path).read_text(encoding="utf-8")

    def all_files(self) -> dict[str, set[str]]:
        """The files of every node that has any: none after a run."""
        return {node: files for node in self.plan.nodes if (files := self.files(node))}

    def daemons(self) -> dict[str, dict[int, str]]:
        """The processes of every node."""
        return {node: self.processes(node) for node in self.plan.nodes}

    def key(self) -> bytes | None:
        """The responder's key of a run that is under way."""
        for node in self.plan.nodes:
            for path in Path(f"/proc/{self.plan.holder(node)}/root/run").glob("preflight-fleet-*/key"):
                if (content := path.read_bytes()) and path.stat().st_mode & 0o777 == 0o600:
                    return content
        return None

    def shell(self, node: str, script: str) -> None:
        """Run a script on a node, not by SSH."""
        run(self.plan.command(node, ["sh", "-ec", script]))


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


@contextmanager
def controller() -> Iterator[dict[str, str]]:
    """The environment of a controller that has a folder for its runs alone, which must be empty in the end.

    Other tests have engines at the same time. The path is short, because ssh's sockets are in it.
    """
    own = Path(tempfile.mkdtemp(prefix="pf", dir="/tmp"))
    yield {**os.environ, "XDG_RUNTIME_DIR": str(own)}
    own.rmdir()


def preflight(nodes: Nodes, verb: str, *words: str) -> "subprocess.CompletedProcess[str]":
    argv = [*PREFLIGHT, verb, "-i", nodes.inventory, *words]
    with controller() as environment:
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=400, check=False)


def matrix_of(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class Watcher(threading.Thread):
    """Looks for the key of a run in every place where others could see it, for as long as the run lasts."""

    def __init__(self, nodes: Nodes) -> None:
        super().__init__(daemon=True)
        self.nodes, self.ended = nodes, threading.Event()
        self.key: bytes | None = None
        self.seen: set[str] = set()

    def run(self) -> None:
        """Until the run has ended."""
        while not self.ended.wait(0.1):
            self.key = self.key or self.nodes.key()
            if self.key is not None:
                self.seen |= places_of(self.key)


def texts_of(key: bytes) -> list[bytes]:
    """A key as it may be written."""
    return [key, base64.b64encode(key), base64.urlsafe_b64encode(key), key.hex().encode(), repr(key)[2:-1].encode()]


def places_of(key: bytes) -> set[str]:
    """Command lines and environments that show the key, and files of Ansible but those that only their owner reads."""
    found = set()
    for pid in all_pids():
        for name in ("cmdline", "environ"):
            try:
                content = Path(f"/proc/{pid}/{name}").read_bytes()
            except OSError:
                continue
            if any(text in content for text in texts_of(key)):
                found.add(f"{name} of {_command(pid)}")
    return found


@contextmanager
def told_nobody(nodes: Nodes) -> Iterator[list[bytes]]:
    """The key of the run in the body, which must be there, and nowhere that others can see it."""
    watcher, key = Watcher(nodes), list[bytes]()
    watcher.start()
    try:
        yield key
    finally:
        watcher.ended.set()
        watcher.join()
    assert watcher.key is not None
    assert watcher.seen == set()
    key.append(watcher.key)
