"""What the page on fleets and alerts says to type, typed."""

import subprocess
from pathlib import Path

import pytest
import yaml

from preflight.settings.load import Options, load
from tests.lab.test_tutorial import PROGRAM, blocks, commands

pytestmark = pytest.mark.xdist_group("fleet")
PAGE = "docs/how-to/from-one-node-to-an-alert.md"


@pytest.mark.lab
@pytest.mark.timeout(500)
def test_a_fleet_is_measured_as_the_page_says(tmp_path: Path) -> None:
    """Protects a newcomer: the commands end as the page says, and the cause is the one that it quotes."""
    printed = []
    try:
        for line, wanted in commands(PAGE):
            typed = line.replace("bin/preflight", PROGRAM)
            done = subprocess.run(
                ["bash", "-c", typed], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
            )
            assert done.returncode == wanted, f"{line}: {done.stdout[-600:]}{done.stderr[-900:]}"
            printed.append(done.stdout)
    finally:
        subprocess.run(["bash", "-c", f"{PROGRAM} lab down offices"], capture_output=True, check=False)
    shown = "\n".join(printed)
    assert all(line in shown for line in blocks(PAGE, "text")[0].splitlines())
    assert (tmp_path / "fleet.html").exists()


def test_its_settings_are_settings(tmp_path: Path) -> None:
    """Protects from an example that the program refuses."""
    (text,) = blocks(PAGE, "yaml")
    (tmp_path / "preflight.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "responder.key").write_bytes(b"sixteen bytes, or more")
    (tmp_path / "responder.key").chmod(0o600)
    peers = load(Options(config=tmp_path / "preflight.yaml")).peers
    wanted = [(each["address"], each["name"]) for each in yaml.safe_load(text)["peers"]]
    assert [(peer.address, peer.target) for peer in peers] == wanted
