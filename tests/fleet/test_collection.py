"""The collection `overlay.preflight` in users' own hands: installed, and used by playbooks on real nodes."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from preflight import __version__
from preflight.fleet.packing import COLLECTION, write_all
from preflight.lab import fleet, labs
from preflight.lab.names import LabNames
from tests.fleet.lab_nodes import Nodes
from tests.lab.test_tutorial import blocks

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("fleet")]
README = COLLECTION / "README.md"
FOR_GOOD = """
- name: Watch
  hosts: n1
  gather_facts: false
  vars_files: [delivery/delivery.yml]
  vars:
    exporter_key_file: responder.key
    exporter_settings: {peers: [{address: 10.204.0.2, name: n2}]}
    exporter_started: false  # a node of the lab has no systemd
  tasks:
    - name: Export
      ansible.builtin.import_role:
        name: overlay.preflight.exporter
"""
OWN_FOLDERS = "mount -n -t tmpfs none /opt; cp -a /etc /run/etc; mount -n --bind /run/etc /etc"
"""A lab's node has the host's /etc and /opt otherwise."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `fleet pack` writes, and the collection installed from it as the README says."""
    folder = tmp_path_factory.mktemp("own")
    *_, archive = write_all(folder / "delivery")
    ansible(folder, "ansible-galaxy", "collection", "install", "--offline", "-p", "collections", str(archive))
    (folder / "responder.key").write_bytes(secrets.token_bytes(32))
    return folder


def ansible(folder: Path, program: str, *words: str) -> str:
    """Run a program of Ansible in a folder that has collections; return what it printed."""
    own = {"ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"), "ANSIBLE_NOCOLOR": "1", "NO_COLOR": "1"}
    own |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    argv = [str(Path(sys.executable).with_name(program)), *words]
    done = subprocess.run(argv, cwd=folder, env=os.environ | own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return done.stdout


def test_it_is_whole_without_the_checkout(installed: Path) -> None:
    """Protects who installs it: what is a link here is a file there, and its version is the program's."""
    (archive,) = (installed / "delivery").glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        links = [member.name for member in packed.getmembers() if not (member.isfile() or member.isdir())]
        names = set(packed.getnames())
    assert links == []
    assert {"roles/install/files/reach", "roles/clean/files/clean"} <= names
    assert yaml.safe_load((COLLECTION / "galaxy.yml").read_text())["version"] == __version__


@pytest.mark.parametrize("role", ["install", "responder", "run", "clean", "exporter"])
def test_every_variable_of_a_role_is_explained(role: str) -> None:
    """Protects users of `ansible-doc`: what may be set is what is documented, apart from what the roles pass on."""
    folder = COLLECTION / "roles" / role
    defaults = yaml.safe_load((folder / "defaults" / "main.yml").read_text())
    specs = yaml.safe_load((folder / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    told = {name for spec in specs.values() for name in spec["options"]}
    inner = {f"{role}_{word}" for word in ("place", "run", "orders", "interpreter", "settings", "bind")}
    assert set(defaults) - inner <= told <= set(defaults)


def test_ansible_lint_has_nothing_to_say(installed: Path, tmp_path: Path) -> None:
    """Protects from what Galaxy would refuse; only the address of a repository is missing."""
    place = tmp_path / "collections" / "ansible_collections" / "overlay" / "preflight"
    shutil.copytree(COLLECTION, place)
    words = ["--offline", "--profile", "production", "-x", "galaxy[no-repository]", "--project-dir", str(place)]
    ansible(tmp_path, "ansible-lint", *words, str(place))


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """Two nodes."""
    name = f"fleet-{secrets.token_hex(3)}"
    labs.take_up(name, "fleet-2", None)
    try:
        yield Nodes(fleet.FleetPlan.of(LabNames.of(name), "fleet-2"))
    finally:
        labs.take_down(name)


@pytest.mark.lab
def test_the_playbook_of_its_page_measures_and_leaves_nothing(installed: Path, nodes: Nodes) -> None:
    """Protects who runs the roles without `preflight fleet`: both nodes are measured, and only the program stays."""
    before = nodes.daemons()
    (installed / "own.yml").write_text(blocks(str(README), "yaml")[0])
    ansible(installed, "ansible-playbook", "-i", nodes.inventory, "own.yml")
    for node, peer in (("n1", "n2"), ("n2", "n1")):
        report = json.loads((installed / f"{node}.json").read_text())
        assert (report["verdict"], [each["target"] for each in report["run"]["peers"]]) == ("pass", [peer])
    assert nodes.daemons() == before
    (name,) = re.findall(r"^install_name: '?(\w+)", (installed / "delivery" / "delivery.yml").read_text(), re.MULTILINE)
    left = {path for node in nodes.plan.nodes for path in nodes.files(node)}
    assert {path for path in left if "preflight" in path and f"/{name}" not in path} == {"/var/cache/overlay-preflight"}


@pytest.mark.lab
def test_the_exporter_is_there_for_good(installed: Path, nodes: Nodes) -> None:
    """Protects who is woken by it: what the unit starts runs on the node, by the settings and the key of the play."""
    nodes.shell("n1", OWN_FOLDERS)
    (installed / "good.yml").write_text(FOR_GOOD)
    ansible(installed, "ansible-playbook", "-i", nodes.inventory, "good.yml")
    (line,) = re.findall(r"^ExecStart=(.*)$", nodes.read("n1", "etc/systemd/system/preflight-exporter.service"), re.M)
    words = line.replace("${CREDENTIALS_DIRECTORY}", "/etc/preflight").split()
    with subprocess.Popen(nodes.plan.command("n1", words), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        told = running.stdout.readline()
        running.terminate()
    assert told.startswith("listening on http://127.0.0.1:")
