"""Checks of other packages: the example installed for real, and one that breaks while it is imported."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from preflight.report.timeline import parse

pytestmark = pytest.mark.xdist_group("plugins")  # the example is built once, on one worker
EXAMPLE = Path(__file__).parents[2] / "examples" / "own-check"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with the example in it: its wheel, built from a copy of its source."""
    folder = tmp_path_factory.mktemp("plugin")
    source, target = folder / "source", folder / "site"
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=EXAMPLE, capture_output=True, text=True
    )
    for name in names.stdout.split():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((EXAMPLE / name).read_bytes())
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(target)
    return target


def preflight(path: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the program where packages in `path` are found too."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(path)}
    command = [sys.executable, "-m", "preflight", *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_the_example_is_listed_run_and_explained(site: Path) -> None:
    """The steps of the how-to work as it says, from the installed package."""
    listed = {entry["id"]: entry for entry in json.loads(preflight(site, "list", "--json").stdout)}
    assert listed["site.kernel"]["origin"] == "preflight-site-checks"
    done = preflight(site, "run", "site.kernel", "-q", "--output", "json")
    (result,) = json.loads(done.stdout)["results"]
    assert (done.returncode, result["status"], result["category"]) == (0, "pass", "site")
    page = preflight(site, "explain", "site.kernel-too-old")
    assert (page.returncode, page.stdout.splitlines()[0][:21]) == (0, "# site.kernel-too-old")
    assert preflight(site, "explain", "site.kernel-to-old").returncode == 2


@pytest.mark.parametrize(
    ("release", "good"),
    [("6.1.0-18-amd64", True), ("5.10.0", True), ("5.9.16", False), ("4.19.0", False), ("x", False)],
)
def test_the_example_judges_by_a_table(site: Path, release: str, good: bool) -> None:
    """The example shows how a judge is tested: no network, no mock."""
    program = f"from preflight_site.kernel import judge; print(judge({release!r}).status.value)"
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ("pass" if good else "fail")


def test_a_plugin_that_breaks_is_a_warning(tmp_path: Path) -> None:
    """A bug in another package is reported by name, and every check of ours still runs."""
    (tmp_path / "broken_plugin.py").write_text("raise RuntimeError('half an upgrade')\n")
    info = tmp_path / "broken_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[preflight.checks]\nbroken = broken_plugin\n")
    done = preflight(tmp_path, "run", "host.sockets", "-q", "--output", "json")
    results = {result["check"]: result for result in json.loads(done.stdout)["results"]}
    assert results["run.plugins"]["code"] == "run.plugin-broken"
    assert "half an upgrade" in results["run.plugins"]["message"]
    assert results["host.sockets"]["status"] in ("pass", "warn")


READER = """
from preflight.api import Direction, check, facts, passed

@check("site.reader", title="T", subject="peer", codes=(), reads=(facts.EchoFacts,))
async def reader(ctx):
    for peer in ctx.peers:
        (echo,) = ctx.facts(facts.EchoFacts, peer.target)
        told = facts.AnswerFacts(sent=echo.sent, answered=echo.received)
        yield passed(peer.target, Direction.ROUND_TRIP, "read", facts=told, measurements={"own": 1})
"""


def test_facts_cross_the_door_to_a_plugin_and_its_own_come_back_as_measurements(tmp_path: Path) -> None:
    """Its process gets what it declares to read; what it gives is in the report, whatever class it chose."""
    (tmp_path / "site_reader.py").write_text(READER)
    info = tmp_path / "site_reader-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: site-reader\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[preflight.checks]\nreader = site_reader\n")
    asked = ("site.reader", "reach.icmp", "--skip", "overlay.*", "--peer", "127.0.0.1=me")
    done = preflight(tmp_path, "run", *asked, "-q", "--output", "json")
    results = {result["check"]: result for result in json.loads(done.stdout)["results"]}
    echoes = results["reach.icmp"]["measurements"]
    read = {"sent": echoes["sent"], "answered": echoes["received"], "own": 1}
    assert (results["site.reader"]["status"], results["site.reader"]["measurements"]) == ("pass", read)
    listed = {entry["id"]: entry for entry in json.loads(preflight(tmp_path, "list", "--json").stdout)}
    assert listed["site.reader"]["reads"] == ["EchoFacts"]


def test_a_timeline_shows_the_process_of_a_plugin(site: Path, tmp_path: Path) -> None:
    """When it began and how it ended: it does not report what it does inside."""
    path = tmp_path / "t.jsonl"
    preflight(site, "run", "site.kernel", "-q", "--debug", str(path))
    reported = [event for event in parse(path.read_bytes()).events if event.source == "engine.plugins"]
    assert [(event.subject, event.name) for event in reported] == [
        ("preflight_site.kernel.site_kernel", "child-started"),
        ("preflight_site.kernel.site_kernel", "child-ended"),
    ]
    assert reported[0].fields["pid"] == reported[1].fields["pid"]
