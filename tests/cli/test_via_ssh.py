"""`--via ssh` with a program in the place of ssh that runs the peer's side here: what the run does with it.

A real sshd in namespaces is in `tests/lab/test_via_ssh.py`.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from preflight.api import Peer
from preflight.cli.via_ssh import Lent, run_key
from preflight.settings.load import Secrets, Settings

REMOTE_HERE = (
    '#!/bin/sh\nif [ "$1" = -G ]; then echo "hostname 127.0.0.2"; exit; fi\nfor last; do :; done\nexec sh -c "$last"\n'
)
REFUSING = '#!/bin/sh\necho "root@b: Permission denied (publickey)." >&2\nexit 255\n'


def run(folder: Path, ssh: str, *words: str) -> dict[str, Any]:
    """The report of a run whose ssh is this script."""
    (folder / "bin").mkdir()
    (folder / "bin" / "ssh").write_text(ssh)
    (folder / "bin" / "ssh").chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VOX_", "PREFLIGHT_"))}
    environment["PATH"] = f"{folder / 'bin'}{os.pathsep}{environment['PATH']}"
    (folder / "preflight.yaml").write_text(
        "peers: [{address: 127.0.0.2, name: b, responder: 8629}]\noverlay: {interface: lo}\n"
    )
    command = [sys.executable, "-m", "preflight", "run", "reach.udp", "-q", "--via", "ssh", "--output", "json", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def found(report: dict[str, Any], check: str) -> list[tuple[str, str | None]]:
    """Status and code of a check's results."""
    return [(result["status"], result["code"]) for result in report["results"] if result["check"] == check]


def test_the_run_measures_with_a_responder_of_its_own(tmp_path: Path) -> None:
    """Both directions, signed with a key that nobody else has; the responder is gone when the report is there."""
    report = run(tmp_path, REMOTE_HERE)
    assert found(report, "reach.udp") == [("pass", None), ("pass", None)]
    assert found(report, "run.via-ssh") == [("pass", None)]
    (result,) = (result for result in report["results"] if result["check"] == "run.via-ssh")
    assert result["message"] == "ssh started a responder on b for this run, on UDP port 8629, and it has ended"
    # The address can be taken at once: nothing listens there any more.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.2", 8629))


def test_the_run_goes_on_without_it(tmp_path: Path) -> None:
    """A refused key is one warning, with what to try; the rest of the run is as without the option."""
    report = run(tmp_path, REFUSING)
    assert found(report, "run.via-ssh") == [("warn", "run.via-ssh")]
    (result,) = (result for result in report["results"] if result["check"] == "run.via-ssh")
    assert "it accepts no key of this user (publickey)" in result["message"]
    assert result["remedy"] == "ssh b python3 --version"
    assert ("inconclusive", "run.needs-responder") in found(report, "reach.udp")


def test_whose_packets_are_signed_with_the_key_of_the_run() -> None:
    """A peer that has an installed responder keeps the key of the settings, and every peer its own port."""
    key, one, other = run_key(), Peer("10.66.0.2", "b"), Peer("10.66.0.3", "c", 8620)
    lent = Lent(ports={"10.66.0.2": 40123})
    assert lent.at([one, other]) == (Peer("10.66.0.2", "b", 40123), other)
    settings = lent.known_to(Settings(secrets=Secrets(responder_key=b"shared", run_key=key)))
    assert (settings.secrets.key_for("10.66.0.2"), settings.secrets.key_for("10.66.0.3")) == (key, b"shared")
    assert key.decode("ascii") not in repr(settings)
    assert len(key) >= 16
    assert run_key() != key


@pytest.mark.parametrize("words", [["--via", "telnet"], ["--ssh-config", "none"]])
def test_what_cannot_be_meant(words: list[str], tmp_path: Path) -> None:
    """Another way, or a configuration that is not there, is a usage error before anything runs."""
    command = [sys.executable, "-m", "preflight", "all", *words]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 2
