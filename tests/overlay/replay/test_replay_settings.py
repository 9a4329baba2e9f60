"""Whole runs with settings on recorded words of daemons: what `init` writes, and a control plane behind a peer."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.overlay.replay.test_replay import PRODUCTS, tailscale
from tests.overlay.replay.world import World

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
BAD = ("fail", "warn", "error", "inconclusive")


@pytest.mark.parametrize(
    ("product", "state", "more"),
    [
        ("tailscale", "healthy", {}),
        ("tailscale", "userspace", {"device": "pf0", "on_the_device": ()}),
        ("zerotier", "healthy", {}),
        ("zerotier", "notjoined", {"device": "pf0", "on_the_device": ()}),
    ],
)
def test_what_init_writes_is_what_a_run_finds(tmp_path: Path, product: str, state: str, more: dict[str, Any]) -> None:
    """The next run with the file has no finding that a run without it does not have."""
    with PRODUCTS[product](tmp_path, state, **more) as there:
        written, empty = there.a.folder / "preflight.yaml", there.a.folder / "empty.yaml"
        empty.write_text("{}\n", encoding="utf-8")
        done = there.command("init", "--file", str(written))
        assert done.returncode == 0, done.stderr
        without, with_it = (_findings(there, file) for file in (empty, written))
    assert with_it <= without, written.read_text(encoding="utf-8")


def _findings(there: World, settings: Path) -> set[tuple[str, str, str]]:
    report = there.preflight("all", settings=settings)
    return {(each["code"], each["target"], each["status"]) for each in report["results"] if each["status"] in BAD}


STRANGER, PORT = "10.50.0.7", 9847


@pytest.mark.parametrize("warned", [True, False])
def test_a_control_plane_behind_a_peer_whose_routes_are_not_accepted(tmp_path: Path, warned: bool) -> None:
    """A host outside has that address: this node says whose lever it is, and the host never gets the bearer.

    warned: whether the daemon itself warns of it, which older ones do not.
    """
    with tailscale(tmp_path, "noroutes") as there:
        if not warned:
            status = there.said / "status.json"
            status.write_text(json.dumps(json.loads(status.read_bytes()) | {"Health": []}), encoding="utf-8")
        there.b.run("ip", "address", "add", f"{STRANGER}/32", "dev", "eth0")
        kept, token = tmp_path / "kept", there.a.folder / "token"
        kept.touch()
        script = str(Path(__file__).with_name("stranger.py"))
        there.b.start(sys.executable, script, STRANGER, str(PORT), str(kept), until="ready")
        token.touch(mode=0o600)
        token.write_text("the-bearer-of-this-cluster", encoding="ascii")
        control = {"url": f"http://{STRANGER}:{PORT}", "scope_id": "test", "token_file": str(token)}
        report = there.preflight("all", "--peer", "100.64.0.2=nb", control=control)
    assert "the-bearer-of-this-cluster" not in kept.read_text(encoding="utf-8")
    cause = report["diagnosis"][0]
    assert len(report["diagnosis"]) == 1, report["text"]
    assert (cause["code"], cause["target"], report["exit"]) == ("overlay.route-leak", "control", 1), report["text"]
    assert [(each["kind"], each["lines"]) for each in cause["remedies"]] == [("fix", ["tailscale set --accept-routes"])]


def test_a_name_that_the_tailnet_would_resolve(tmp_path: Path) -> None:
    """The control plane's name is in the tailnet's domain, and this node does not take its names: one cause."""
    with tailscale(tmp_path, "healthy") as there:
        preferences = there.said / "prefs.json"
        preferences.write_text(json.dumps(json.loads(preferences.read_bytes()) | {"CorpDNS": False}), encoding="utf-8")
        report = there.preflight("all", "--peer", "100.64.0.2=nb", control={"url": "http://nb.h2.ts.net:9847"})
    (cause,) = report["diagnosis"]
    assert (cause["code"], cause["target"], report["exit"]) == ("overlay.names-not-accepted", "node", 1), report["text"]
    assert "resolves names in h2.ts.net" in cause["message"]


def test_an_exit_node_that_is_away(tmp_path: Path) -> None:
    """It is the peer too: that is said once, with what else goes there."""
    with tailscale(tmp_path, "exitnode") as there:
        status = json.loads((there.said / "status.json").read_bytes())
        for peer in status["Peer"].values():
            peer |= {"Online": False, "CurAddr": "", "Active": False}
        status["ExitNodeStatus"]["Online"] = False
        (there.said / "status.json").write_text(json.dumps(status), encoding="utf-8")
        there.b.drop("input", f'iifname "{there.b.device}" drop')
        report = there.preflight("all", "--peer", "100.64.0.2=nb")
    (cause,) = report["diagnosis"]
    assert (cause["code"], cause["target"]) == ("overlay.peer-lost", "nb"), report["text"]
    assert "it is this node's exit node" in cause["message"]
