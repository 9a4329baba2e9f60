"""`preflight fleet` on six real nodes: by sshd, with what Ansible really does, and nothing left afterwards.

Each test runs the whole program, so there are few, and each looks at much.
"""

import base64
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from preflight.lab import fleet, labs
from preflight.lab.names import LabNames
from preflight.lab.processes import all_pids, network_of, run

pytestmark = [pytest.mark.lab, pytest.mark.timeout(500), pytest.mark.xdist_group("fleet")]
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


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """Six nodes for all tests of this module."""
    name = f"fleet-{secrets.token_hex(3)}"
    labs.take_up(name, "fleet-6", None)
    try:
        yield Nodes(fleet.FleetPlan.of(LabNames.of(name), "fleet-6"))
    finally:
        labs.take_down(name)


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


def test_six_nodes_are_green_and_nothing_is_told_or_left(nodes: Nodes, tmp_path: Path) -> None:
    """Protects the whole way: all thirty directions measured, the key seen by nobody, and the nodes as they were."""
    before = nodes.daemons()
    page = tmp_path / "fleet.html"
    watcher = Watcher(nodes)
    watcher.start()
    done = preflight(nodes, "run", "-o", "json", "-o", f"html={page}")
    watcher.ended.set()
    watcher.join()
    matrix = matrix_of(done)
    bad = [way for way in matrix["ways"] if way["status"] != "pass"]
    assert (done.returncode, bad, matrix["findings"], matrix["holes"], matrix["left_out"]) == (0, [], [], [], []), (
        done.stderr
    )
    assert len(matrix["ways"]) == 30
    assert {node["name"] for node in matrix["nodes"]} == set(nodes.plan.nodes)
    assert watcher.key is not None
    assert watcher.seen == set()
    told = done.stdout.encode() + done.stderr.encode() + page.read_bytes()
    assert not any(text in told for text in texts_of(watcher.key)[1:])
    assert {node: nodes.files(node) for node in nodes.plan.nodes} == {node: set() for node in nodes.plan.nodes}
    assert nodes.daemons() == before


@contextmanager
def port_taken(nodes: Nodes, node: str) -> Iterator[None]:
    """Another program listens on the responder's port of a node."""
    taken = "import socket,time; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); "
    taken += f"s.bind(('{fleet.overlay_address(node)}',862)); print('bound',flush=True); time.sleep(400)"
    words = nodes.plan.command(node, ["python3", "-c", taken])
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "bound\n"
        try:
            yield
        finally:
            holder.kill()


def test_a_dead_direction_is_one_cause_beside_a_hole(nodes: Nodes) -> None:
    """Protects what a run is for: it names what is broken once, and a fault counts more than a hole."""
    fleet.stop_sshd(nodes.plan, "n3")
    drop = "nft add table inet cut; nft add chain inet cut input '{ type filter hook input priority 0; }'"
    nodes.shell("n5", f"{drop}; nft add rule inet cut input ip saddr {fleet.overlay_address('n2')} drop")
    try:
        done = preflight(nodes, "run", "-o", "json")
    finally:
        nodes.shell("n5", "nft delete table inet cut")
        fleet.start_sshd(nodes.plan, "n3")
    matrix = matrix_of(done)
    assert done.returncode == 1, done.stderr
    failed = {(way["source"], way["target"]) for way in matrix["ways"] if way["status"] == "fail"}
    assert failed == {("n2", "n5")}
    causes = [cause for cause in matrix["findings"] if cause["status"] == "fail"]
    assert [(cause["scope"], cause["nodes"], cause["code"]) for cause in causes] == [
        ("way", ["n2", "n5"], "reach.no-forward")
    ]
    assert {hole["node"]: hole["code"] for hole in matrix["holes"]} == {"n3": "fleet.unreachable"}
    assert {node: nodes.files(node) for node in nodes.plan.nodes} == {node: set() for node in nodes.plan.nodes}


def test_holes_alone_are_exit_code_3_and_each_has_its_reason(nodes: Nodes) -> None:
    """Protects scripts: nobody may take a run that did not see a node for a good one, nor for a fault."""
    before = nodes.daemons()
    for node in ("n3", "n4"):
        fleet.stop_sshd(nodes.plan, node)
    nodes.shell("n6", "mount -n --bind /dev/null /usr/bin/python3")
    try:
        with port_taken(nodes, "n5"):
            done = preflight(nodes, "run", "-o", "json")
    finally:
        nodes.shell("n6", "umount -n /usr/bin/python3")
        for node in ("n3", "n4"):
            fleet.start_sshd(nodes.plan, node)
    matrix = matrix_of(done)
    holes = {hole["node"]: (hole["code"], hole["message"]) for hole in matrix["holes"]}
    assert {node: code for node, (code, _) in holes.items()} == {
        "n3": "fleet.unreachable",
        "n4": "fleet.unreachable",
        "n5": "fleet.responder",
        "n6": "fleet.python",
    }, done.stderr
    assert done.returncode == 3, done.stderr
    assert all(holes[node][1].startswith("Failed to connect to the host via ssh: ") for node in ("n3", "n4"))
    assert "862" in holes["n5"][1]
    assert "python3" in holes["n6"][1]
    assert "not clean" not in done.stderr
    assert {node: nodes.files(node) for node in nodes.plan.nodes} == {node: set() for node in nodes.plan.nodes}
    assert nodes.daemons() == before


@pytest.mark.parametrize("seed", range(1, 1 + int(os.environ.get("PREFLIGHT_FLEET_INTERRUPTIONS", "2"))))
def test_an_interrupted_run_leaves_nothing(nodes: Nodes, seed: int) -> None:
    """Protects nodes from what a Ctrl-C cuts off, whichever step it meets."""
    before = nodes.daemons()
    words = [*PREFLIGHT, "run", "-i", nodes.inventory, "--limit", "n1:n2:n3", "-o", f"json={os.devnull}"]
    with (
        controller() as environment,
        subprocess.Popen(
            words, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        ) as running,
    ):
        assert running.stderr is not None
        # The moment is drawn among the lines of its progress, up to the last that has a schedule: by the clock it
        # would depend on the machine.
        drawn = random.Random(seed)
        for _ in range(drawn.randint(1, 14)):
            running.stderr.readline()
        time.sleep(drawn.uniform(0, 5))
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=200)
    assert running.returncode == 130, told
    assert "not clean" not in told
    assert {node: nodes.files(node) for node in nodes.plan.nodes} == {node: set() for node in nodes.plan.nodes}
    assert nodes.daemons() == before


def test_lint_compares_the_nodes_as_they_are(nodes: Nodes) -> None:
    """Protects the way of the tunnels' state into the reports: a live disagreement is seen from both ends."""
    tunnel = {node: nodes.plan.names.tunnel(node) for node in ("n1", "n2", "n3")}
    key = run(nodes.plan.command("n1", ["wg", "show", tunnel["n1"], "public-key"])).strip()
    nodes.shell("n2", f"ip link set {tunnel['n2']} mtu 1380")
    nodes.shell("n3", f"wg set {tunnel['n3']} peer {key} remove")
    try:
        done = preflight(nodes, "lint", "--limit", "n1:n2:n3", "-o", "json")
    finally:
        nodes.shell("n2", f"ip link set {tunnel['n2']} mtu 1420")
        endpoint = f"endpoint {fleet.underlay_address('n1')}:51820 persistent-keepalive 25"
        nodes.shell("n3", f"wg set {tunnel['n3']} peer {key} allowed-ips {fleet.overlay_address('n1')}/32 {endpoint}")
    assert done.returncode == 1, done.stderr
    found = {(finding["kind"], *finding["nodes"]) for finding in json.loads(done.stdout)}
    assert found == {("mtu-differs", "n1", "n2"), ("mtu-differs", "n2", "n3"), ("peer-missing", "n3", "n1")}
    assert {node: nodes.files(node) for node in nodes.plan.nodes} == {node: set() for node in nodes.plan.nodes}
