"""`preflight fleet` on real nodes: by sshd, with what Ansible really does, and nothing left afterwards.

Each test runs the whole program, so there are few, and each looks at much; what a run finds is in `test_page`.
"""

import json
import os
import random
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from preflight.lab import fleet, labs
from preflight.lab.names import LabNames
from preflight.lab.processes import run
from tests.fleet.lab_nodes import PREFLIGHT, Nodes, controller, matrix_of, preflight

pytestmark = [pytest.mark.lab, pytest.mark.timeout(500), pytest.mark.xdist_group("fleet")]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """Four nodes for all tests of this module."""
    name = f"fleet-{secrets.token_hex(3)}"
    labs.take_up(name, "fleet-4", None)
    try:
        yield Nodes(fleet.FleetPlan.of(LabNames.of(name), "fleet-4"))
    finally:
        labs.take_down(name)


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


def test_holes_alone_are_exit_code_3_and_each_has_its_reason(nodes: Nodes) -> None:
    """Protects scripts: nobody may take a run that did not see a node for a good one, nor for a fault."""
    before = nodes.daemons()
    fleet.stop_sshd(nodes.plan, "n2")
    nodes.shell("n4", "mount -n --bind /dev/null /usr/bin/python3")
    try:
        with port_taken(nodes, "n3"):
            done = preflight(nodes, "run", "--pairs", "sample:1", "-o", "json")
    finally:
        nodes.shell("n4", "umount -n /usr/bin/python3")
        fleet.start_sshd(nodes.plan, "n2")
    holes = {hole["node"]: (hole["code"], hole["message"]) for hole in matrix_of(done)["holes"]}
    assert {node: code for node, (code, _) in holes.items()} == {
        "n2": "fleet.unreachable",
        "n3": "fleet.responder",
        "n4": "fleet.python",
    }, done.stderr
    assert done.returncode == 3, done.stderr
    assert holes["n2"][1].startswith("Failed to connect to the host via ssh: ")
    assert "862" in holes["n3"][1]
    assert "python3" in holes["n4"][1]
    assert "not clean" not in done.stderr
    assert nodes.all_files() == {}
    assert nodes.daemons() == before


@pytest.mark.parametrize("seed", range(1, 1 + int(os.environ.get("PREFLIGHT_FLEET_INTERRUPTIONS", "1"))))
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
    assert nodes.all_files() == {}
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
    assert nodes.all_files() == {}
