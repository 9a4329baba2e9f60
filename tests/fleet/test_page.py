"""What the page on fleets and alerts says to type, typed."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from preflight.lab import fleet
from preflight.lab.names import LabNames
from preflight.settings.load import Options, load
from tests.fleet.lab_nodes import Nodes, controller, texts_of, told_nobody
from tests.lab.test_tutorial import PROGRAM, blocks, commands

pytestmark = pytest.mark.xdist_group("fleet")
PAGE, LAB = "docs/how-to/from-one-node-to-an-alert.md", "offices"
MEASURES = " fleet run "


@pytest.mark.lab
@pytest.mark.timeout(500)
def test_a_fleet_is_measured_as_the_page_says(tmp_path: Path) -> None:
    """Protects a newcomer: the commands end as the page says, and the cause is the one that it quotes, once.

    And the whole way of a run: its key is seen by nobody, and the nodes and the controller are as they were.
    """
    nodes = Nodes(fleet.FleetPlan.of(LabNames.of(LAB), "fleet-3"))
    printed = []
    try:
        for line, wanted in commands(PAGE):
            printed.append(
                measured(line, wanted, tmp_path, nodes) if MEASURES in line else typed(line, wanted, tmp_path)
            )
    finally:
        subprocess.run(["bash", "-c", f"{PROGRAM} lab down {LAB}"], capture_output=True, check=False)
    good, bad = (text for text in printed if "→" in text)
    assert "✗" not in good
    assert all(line in bad for line in blocks(PAGE, "text")[0].splitlines())
    assert (tmp_path / "fleet.html").exists()


def typed(line: str, wanted: int, folder: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Run a line as a person would; return what it printed."""
    words = ["bash", "-c", line.replace("bin/preflight", PROGRAM)]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == wanted, f"{line}: {done.stdout[-600:]}{done.stderr[-900:]}"
    return done.stdout + done.stderr


def measured(line: str, wanted: int, folder: Path, nodes: Nodes) -> str:
    """The same of a run of the fleet, of which others see nothing, and nothing stays."""
    before = nodes.daemons()
    with told_nobody(nodes) as key, controller() as environment:
        printed = typed(line, wanted, folder, environment)
    pages = [path.read_bytes() for path in folder.glob("*.html")]
    assert not any(text in content for text in texts_of(key[0])[1:] for content in (printed.encode(), *pages))
    assert nodes.all_files() == {}
    assert nodes.daemons() == before
    return printed


def test_its_settings_are_settings(tmp_path: Path) -> None:
    """Protects from an example that the program refuses."""
    (text,) = blocks(PAGE, "yaml")
    (tmp_path / "preflight.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "responder.key").write_bytes(b"sixteen bytes, or more")
    (tmp_path / "responder.key").chmod(0o600)
    peers = load(Options(config=tmp_path / "preflight.yaml")).peers
    wanted = [(each["address"], each["name"]) for each in yaml.safe_load(text)["peers"]]
    assert [(peer.address, peer.target) for peer in peers] == wanted
