"""`preflight fleet` by the ways in that operators have: another user, sudo with a password, a vault, a jump host."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from preflight.lab import fleet, labs
from preflight.lab.names import MANAGEMENT, LabNames
from tests.fleet.test_fleet_run import Nodes, matrix_of, preflight

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300), pytest.mark.needs("sudo"), pytest.mark.xdist_group("fleet")]
PASSWORD = "for the lab only"
USER, UID = "operator", 4242
SETUP = """
for name in passwd shadow sudoers hosts; do cp -p /etc/$name /run/$name; done
echo "127.0.0.1 $(hostname)" >> /run/hosts
echo "$1:x:$2:0::/run/$1:/bin/sh" >> /run/passwd
echo "$1:$3:19000:0:99999:7:::" >> /run/shadow
echo "$1 ALL=(ALL) PASSWD: ALL" > /run/sudoers
for name in passwd shadow sudoers hosts; do mount -n --bind /run/$name /etc/$name; done
mkdir -p /run/$1/.ssh
cp /root/.ssh/authorized_keys /run/$1/.ssh/
chown -R $2 /run/$1
"""
"""A user of one node: its files of users are its own for as long as the lab lives."""
SSH_CONFIG = """
Host *
  IdentityFile {key}
  IdentitiesOnly yes
  UserKnownHostsFile {known}
  StrictHostKeyChecking yes
Host {first}
  ProxyCommand ip netns exec {network} {python} -m preflight.lab.dial %h %p
Host {second}
  ProxyJump root@{first}
"""
INVENTORY = """
all:
  vars:
    ansible_ssh_common_args: -F {config}
    ansible_python_interpreter: /usr/bin/python3
  hosts:
    n1:
      ansible_host: {first}
      ansible_user: {user}
      ansible_become: true
      ansible_become_password: !vault |
{secret}
      overlay_address: {overlay_first}
    n2:
      ansible_host: {second}
      ansible_user: root
      overlay_address: {overlay_second}
"""


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """Two nodes."""
    name = f"fleet-{secrets.token_hex(3)}"
    labs.take_up(name, "fleet-2", None)
    try:
        yield Nodes(fleet.FleetPlan.of(LabNames.of(name), "fleet-2"))
    finally:
        labs.take_down(name)


def sealed(folder: Path) -> str:
    """The password as an inventory holds it; the file `vault` opens it."""
    (folder / "vault").write_text("opens it\n")
    words = ["ansible-vault", "encrypt_string", "--vault-password-file", str(folder / "vault"), PASSWORD]
    done = subprocess.run(
        [str(Path(sys.executable).with_name(words[0])), *words[1:]], capture_output=True, text=True, check=True
    )
    return "\n".join(f"        {line.strip()}" for line in done.stdout.splitlines()[1:])


def inventory(nodes: Nodes, folder: Path) -> Path:
    """n1 by another user with sudo, and n2 through n1."""
    first, second = map(fleet.management_address, ("n1", "n2"))
    lab = nodes.plan.names.directory
    config = SSH_CONFIG.format(
        key=lab / "key",
        known=lab / "known_hosts",
        network=nodes.plan.names.namespace(MANAGEMENT),
        python=sys.executable,
        first=first,
        second=second,
    )
    (folder / "ssh_config").write_text(config)
    text = INVENTORY.format(
        config=folder / "ssh_config",
        user=USER,
        secret=sealed(folder),
        first=first,
        second=second,
        overlay_first=fleet.overlay_address("n1"),
        overlay_second=fleet.overlay_address("n2"),
    )
    (folder / "hosts.yml").write_text(text)
    return folder / "hosts.yml"


@pytest.mark.needs("openssl")
def test_sudo_with_a_password_from_a_vault_and_a_jump_host(nodes: Nodes, tmp_path: Path) -> None:
    """Protects operators' own ways in: what their inventory says is enough, and the password is shown nowhere."""
    hashed = subprocess.run(["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True).stdout
    script = ["sh", "-ec", SETUP, "sh", USER, str(UID), hashed.strip()]
    subprocess.run(nodes.plan.command("n1", script), check=True)
    place = replace(nodes, own_inventory=inventory(nodes, tmp_path))
    done = preflight(place, "run", "--vault-password-file", str(tmp_path / "vault"), "-o", "json")
    matrix = matrix_of(done)
    assert (done.returncode, matrix["holes"], matrix["left_out"]) == (0, [], []), done.stderr
    assert {(way["source"], way["target"]) for way in matrix["ways"]} == {("n1", "n2"), ("n2", "n1")}
    assert PASSWORD not in done.stdout + done.stderr
    left = {path for node in nodes.plan.nodes for path in nodes.files(node)}
    assert not [path for path in left if "preflight" in path or "ansible" in path]


@pytest.mark.needs("openssl")
def test_a_wrong_password_is_a_hole_that_says_so(nodes: Nodes, tmp_path: Path) -> None:
    """Protects from a run that waits for a password for ever, and from a reason that points elsewhere."""
    script = ["sh", "-ec", SETUP, "sh", USER, str(UID), "*"]
    subprocess.run(nodes.plan.command("n1", script), check=True)
    place = replace(nodes, own_inventory=inventory(nodes, tmp_path))
    done = preflight(place, "run", "--vault-password-file", str(tmp_path / "vault"), "-o", "json")
    holes = {hole["node"]: hole["code"] for hole in matrix_of(done)["holes"]}
    assert (done.returncode, holes) == (3, {"n1": "fleet.auth"}), done.stderr
