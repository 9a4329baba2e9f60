"""A real sshd in a namespace of the lab, with its own keys, and the ssh_config by which a node reaches it."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from preflight import programs
from preflight.lab.network import inside

ADDRESS, PORT = "10.66.0.2", 22


@dataclass(frozen=True)
class SshServer:
    """What the tests change: the files of both sides. config: for `--ssh-config`."""

    folder: Path

    @property
    def config(self) -> Path:
        """The user's ssh_config."""
        return self.folder / "config"

    @property
    def known_hosts(self) -> Path:
        """The host keys that the user has accepted."""
        return self.folder / "known_hosts"


def key(path: Path) -> str:
    """Make a key pair; the public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text()


def wait_for_tcp(deadline: float) -> None:
    """Until the port takes connections. Raises OSError at the deadline."""
    while True:
        try:
            socket.create_connection((ADDRESS, PORT), 1.0).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def ssh_server(
    namespace: str, folder: Path, *, path: str = "/usr/bin:/bin", first: str = "", **options: str
) -> Iterator[SshServer]:
    """An sshd on b's overlay address that accepts one key.

    path: PATH of its sessions, whatever the shell of this machine's user makes of it. first: what it runs before the
    command that was asked for. options: further ones of sshd_config.
    """
    folder.mkdir()
    host, _ = key(folder / "host"), (folder / "authorized").write_text(key(folder / "user"))
    (folder / "known_hosts").write_text(f"{ADDRESS} {host}")
    (folder / "config").write_text(
        f"Host b\n  HostName {ADDRESS}\n  Port {PORT}\n  User root\n  IdentityFile {folder}/user\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known_hosts\n  GlobalKnownHostsFile /dev/null\n"
    )
    usual = {
        "ListenAddress": f"{ADDRESS}:{PORT}",
        "HostKey": str(folder / "host"),
        "AuthorizedKeysFile": str(folder / "authorized"),
        "ForceCommand": f'{first}PATH={path} exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"',
        "PidFile": "none",
        "UsePAM": "no",
        "StrictModes": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
    }
    words = [word for name, value in {**usual, **options}.items() for word in ("-o", f"{name}={value}")]
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd starts in no other place
    command = [str(programs.find("sshd")), "-D", "-e", "-f", "/dev/null", *words]
    with inside(namespace):
        sshd = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        with inside(namespace):
            wait_for_tcp(time.monotonic() + 20)
        yield SshServer(folder)
    finally:
        sshd.terminate()
        sshd.wait(timeout=30)
