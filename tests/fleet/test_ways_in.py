"""`preflight fleet` by the ways in that operators have: another user, sudo with a password, a vault, a jump host."""

import contextlib
import fcntl
import json
import os
import pty
import secrets
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from preflight.lab import fleet, labs
from preflight.lab.names import MANAGEMENT, LabNames
from tests.fleet.lab_nodes import PREFLIGHT, Nodes, controller, matrix_of, preflight

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
Host {first} {third}
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
    n3:
      ansible_host: {third}
      ansible_user: {user}
      ansible_become: true
      ansible_become_password: !vault |
{secret}
"""


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """Three nodes."""
    name = f"fleet-{secrets.token_hex(3)}"
    labs.take_up(name, "fleet-3", None)
    try:
        yield Nodes(fleet.FleetPlan.of(LabNames.of(name), "fleet-3"))
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
    first, second, third = map(fleet.management_address, ("n1", "n2", "n3"))
    lab = nodes.plan.names.directory
    config = SSH_CONFIG.format(
        key=lab / "key",
        known=lab / "known_hosts",
        network=nodes.plan.names.namespace(MANAGEMENT),
        python=sys.executable,
        first=first,
        second=second,
        third=third,
    )
    (folder / "ssh_config").write_text(config)
    text = INVENTORY.format(
        config=folder / "ssh_config",
        user=USER,
        secret=sealed(folder),
        first=first,
        second=second,
        third=third,
        overlay_first=fleet.overlay_address("n1"),
        overlay_second=fleet.overlay_address("n2"),
    )
    (folder / "hosts.yml").write_text(text)
    return folder / "hosts.yml"


@pytest.mark.needs("openssl")
def test_sudo_with_a_password_from_a_vault_and_a_jump_host(nodes: Nodes, tmp_path: Path) -> None:
    """Protects operators' own ways in: what their inventory says is enough, and the password is shown nowhere.

    A wrong password is a hole that says so: no run waits for it for ever.
    """
    hashed = subprocess.run(["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True).stdout
    for node, known in (("n1", hashed.strip()), ("n3", "*")):
        subprocess.run(nodes.plan.command(node, ["sh", "-ec", SETUP, "sh", USER, str(UID), known]), check=True)
    place = replace(nodes, own_inventory=inventory(nodes, tmp_path))
    one_round = ("--pairs", "sample:1", "--seed", "5")  # of n1 and n2
    done = preflight(place, "run", *one_round, "--vault-password-file", str(tmp_path / "vault"), "-o", "json")
    matrix = matrix_of(done)
    holes = {hole["node"]: hole["code"] for hole in matrix["holes"]}
    assert (done.returncode, holes, matrix["left_out"]) == (3, {"n3": "fleet.auth"}, []), done.stderr
    good = {(way["source"], way["target"]) for way in matrix["ways"] if way["status"] == "pass"}
    assert good == {("n1", "n2"), ("n2", "n1")}
    assert PASSWORD not in done.stdout + done.stderr
    left = {path for node in nodes.plan.nodes for path in nodes.files(node)}
    assert not [path for path in left if "preflight" in path or "ansible" in path]


@pytest.mark.needs("openssl")
def test_the_password_of_become_is_asked_on_the_terminal(nodes: Nodes, tmp_path: Path) -> None:
    """Protects who keeps the password in the head: it is asked once, not shown, and opens the way."""
    hashed = subprocess.run(["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True).stdout
    subprocess.run(nodes.plan.command("n1", ["sh", "-ec", SETUP, "sh", USER, str(UID), hashed.strip()]), check=True)
    inventory(nodes, tmp_path)
    host = {"ansible_host": fleet.management_address("n1"), "ansible_user": USER, "ansible_become": True}
    host |= {"ansible_ssh_common_args": f"-F {tmp_path / 'ssh_config'}"}
    (tmp_path / "asking.json").write_text(json.dumps({"all": {"hosts": {"n1": host}}}))
    words = [*PREFLIGHT, "clean", "-i", str(tmp_path / "asking.json"), "--ask-become-pass"]
    with controller() as environment:
        code, shown = on_a_terminal(words, environment, "BECOME password: ", PASSWORD)
    assert (code, shown.count("BECOME")) == (0, 1), shown
    assert "n1: clean" in shown
    assert PASSWORD not in shown


def on_a_terminal(words: list[str], environment: dict[str, str], question: str, answer: str) -> tuple[int, str]:
    """Run a program on a terminal, and answer its question; the exit code, and what the terminal shows."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        words,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as running:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal's other end is closed
            while more := os.read(ours, 4096):
                if question.encode() not in shown and question.encode() in shown + more:
                    os.write(ours, f"{answer}\n".encode())
                shown += more
        os.close(ours)
    return running.returncode, shown.decode(errors="replace")
