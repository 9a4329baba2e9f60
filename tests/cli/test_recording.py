"""What `--capture` watches: this run's own packets, whatever the control URL looks like."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from preflight.api import Peer
from preflight.cli.recording import other_ends
from preflight.settings.schema import ControlSettings

PEER = Peer("10.66.0.2", "b", responder_port=8620)


@pytest.mark.parametrize(
    ("url", "addresses", "ports"),
    [
        (None, set(), set()),
        ("https://10.66.0.3", {"10.66.0.3"}, {443}),
        ("10.66.0.3", {"10.66.0.3"}, {80}),
        ("http://[fd66::3]:9847", {"fd66::3"}, {9847}),
        ("https://control.example", set(), {443}),
        ("http://10.66.0.3:99999", set(), set()),
    ],
)
def test_the_port_is_the_one_that_a_client_connects_to(url: str | None, addresses: set[str], ports: set[int]) -> None:
    """A URL without a port has the port of its scheme, and one that cannot be used adds nothing."""
    control = ControlSettings(url=url).usable_url
    assert other_ends((PEER,), control) == ({"10.66.0.2", *addresses}, {8620, *ports})


@pytest.mark.lab
def test_a_port_that_control_url_explains_is_reported_and_does_not_end_the_run(tmp_path: Path) -> None:
    """The finding about the URL is the answer to the operator's question; a traceback is not."""
    settings = tmp_path / "preflight.yaml"
    settings.write_text(
        "overlay: {interface: lo, prefixes: [127.0.0.0/8]}\n"
        "peers: [{address: 127.0.0.2, name: b}]\n"
        "control: {url: 'http://127.0.0.1:99999'}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "preflight", "run", "control.url", "--capture", "-q"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "its port is not a number from 1 to 65535" in " ".join(done.stdout.split())
