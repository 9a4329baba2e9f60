"""An alert from end to end: a way dies in the lab, Prometheus and Alertmanager say so with the cause, and then not.

Both are Debian's, with the rules and the scrape configuration that are handed out. Only their times are shorter.
"""

import json
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from preflight.lab import fleet, labs
from preflight.lab.names import LabNames
from preflight.lab.processes import run

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(300),
    pytest.mark.needs("prometheus"),
    pytest.mark.needs("prometheus-alertmanager"),
]
EXAMPLES = Path(__file__).parents[2] / "examples" / "prometheus"
N1, N2 = fleet.overlay_address("n1"), fleet.overlay_address("n2")
ALERT = "PreflightDirectionDead"
PROBE, ALERTS = "http://127.0.0.1:9849/probe?target=n2", "http://127.0.0.1:9093/api/v2/alerts"
WITHIN_S = 120.0
LOOK_AGAIN_S = 0.5
ALERTMANAGER = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


@dataclass(frozen=True)
class Site:
    """Two nodes of a lab; n1 watches n2 from its own network."""

    plan: fleet.FleetPlan
    folder: Path

    def inside(self, node: str, *words: str) -> list[str]:
        """The command line of a program in the network of a node."""
        return ["ip", "netns", "exec", self.plan.names.namespace(node), *words]

    def get(self, url: str) -> str:
        """What n1 gets; nothing as long as nobody listens."""
        code = "import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1], timeout=9).read().decode())"
        words = self.inside("n1", sys.executable, "-c", code, url)
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout

    def alerts(self) -> list[dict[str, Any]]:
        """The dead directions that Alertmanager knows now."""
        alerts: list[dict[str, Any]] = json.loads(self.get(ALERTS) or "[]")
        return [alert for alert in alerts if alert["labels"]["alertname"] == ALERT]


def until(look: Callable[[], Any]) -> Any:
    """What is found once something is, or nothing."""
    deadline = time.monotonic() + WITHIN_S
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(LOOK_AGAIN_S)
    return found


def configured(folder: Path) -> None:
    """The files of the exporter, of Prometheus and of Alertmanager: the examples, with shorter times."""
    (folder / "key").write_bytes(secrets.token_bytes(32))
    (folder / "key").chmod(0o600)
    skipped = "checks: {skip: ['control.*', 'way.*', 'mtu.*', 'udp.*', 'host.*', 'overlay.*']}\n"
    for own, peer, address in (("preflight", "n2", N2), ("n2", "n1", N1)):
        settings = f"peers: [{{address: {address}, name: {peer}}}]\nresponder: {{key_file: {folder / 'key'}}}\n"
        (folder / f"{own}.yaml").write_text(settings + skipped)
    rules = (EXAMPLES / "preflight.rules.yml").read_text(encoding="utf-8")
    (folder / "preflight.rules.yml").write_text(re.sub(r"for: \d+m", "for: 2s", rules), encoding="utf-8")
    scraping = (EXAMPLES / "prometheus.yml").read_text(encoding="utf-8")
    scraping = scraping.replace("scrape_interval: 15s", "scrape_interval: 1s").replace("[b, c]", "[n2]")
    scraping += "global: {evaluation_interval: 1s, scrape_timeout: 1s}\n"
    scraping += "alerting: {alertmanagers: [{static_configs: [{targets: ['127.0.0.1:9093']}]}]}\n"
    (folder / "prometheus.yml").write_text(scraping, encoding="utf-8")
    (folder / "alertmanager.yml").write_text(ALERTMANAGER, encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Everything runs; nothing does afterwards."""
    name = f"alert-{secrets.token_hex(3)}"
    labs.take_up(name, "fleet-2", None)
    made = Site(fleet.FleetPlan.of(LabNames.of(name), "fleet-2"), tmp_path)
    configured(tmp_path)
    responder = (sys.executable, "-m", "preflight", "responder", "--bind")
    programs = (
        made.inside("n1", *responder, N1, "--config", "preflight.yaml"),
        made.inside("n2", *responder, N2, "--config", "n2.yaml"),
        made.inside("n1", sys.executable, "-m", "preflight", "exporter", "--interval", "1"),
        made.inside(
            "n1", "prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=alerts",
            "--cluster.listen-address=", "--web.listen-address=127.0.0.1:9093",
        ),
        made.inside(
            "n1", "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=series",
            "--web.listen-address=127.0.0.1:9090",
        ),
    )  # fmt: skip
    try:
        with ExitStack() as stack, (tmp_path / "log").open("wb") as log:
            for words in programs:
                process = stack.enter_context(subprocess.Popen(words, cwd=tmp_path, stdout=log, stderr=log))
                stack.callback(process.terminate)
            yield made
    finally:
        labs.take_down(name)


def test_a_dead_way_is_an_alert_with_its_cause_until_it_is_mended(site: Site) -> None:
    """Protects the one whom it wakes: the alert comes, says why, and goes when the way is good again."""
    assert until(lambda: "probe_success 1" in site.get(PROBE)), (site.folder / "log").read_text()
    assert site.alerts() == []
    cut = "nft add table inet cut; nft add chain inet cut input '{ type filter hook input priority 0; }'"
    run(site.plan.command("n2", ["sh", "-ec", f"{cut}; nft add rule inet cut input ip saddr {N1} drop"]))
    assert until(lambda: any("Cause: reach.no-forward" in each["annotations"]["description"] for each in site.alerts()))
    assert {(each["labels"]["instance"], each["labels"]["target"]) for each in site.alerts()} == {
        ("127.0.0.1:9849", "n2")
    }
    run(site.plan.command("n2", ["nft", "delete", "table", "inet", "cut"]))
    assert until(lambda: site.alerts() == []), site.alerts()
    assert "probe_success 1" in site.get(PROBE)
