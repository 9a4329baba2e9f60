"""Two products on one node, a tailnet and a WireGuard tunnel of wg-quick, each with real traffic."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.overlay.replay.second import FULL, MARK, NAME, THEIRS, add_wireguard, full_tunnel, tailscale_rules
from tests.overlay.replay.test_replay import tailscale
from tests.overlay.replay.world import World

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
BAD = ("fail", "warn", "error", "inconclusive")


def run(there: World) -> Mapping[str, Any]:
    """A run towards the peer on each of them."""
    return there.preflight("all", "--peer", "100.64.0.2=nb", "--peer", f"{THEIRS}=vb")


def test_a_tunnel_that_takes_all_and_a_tailnet(tmp_path: Path) -> None:
    """In wg-quick's order both work and nothing is wrong; started after Tailscale it takes the tailnet's packets, and
    the line that the report has gives them back.
    """
    with tailscale(tmp_path, "healthy") as there:
        add_wireguard(there, *FULL)
        tailscale_rules(there.a)
        full_tunnel(there.a, 32765)
        healthy = run(there)
        full_tunnel(there.a, 5209)
        taken = run(there)
        for line in taken["diagnosis"][0]["remedies"][0]["lines"]:
            there.a.run(*line.split())
        healed = run(there)
    for report in (healthy, healed):
        assert [each for each in report["results"] if each["status"] in BAD] == [], report["text"]
    (cause,) = taken["diagnosis"]
    assert (cause["code"], cause["target"]) == ("overlay.route-leak", "node"), taken["text"]
    assert "`5209: not fwmark 0xca6c lookup 51820` comes before `5270: from all lookup 52`" in cause["message"]


def test_the_kill_switch_of_a_tunnel(tmp_path: Path) -> None:
    """The rule of wg-quick's manual lets out only what has its mark: the tailnet's peer dies at it, and only this."""
    with tailscale(tmp_path, "healthy") as there:
        add_wireguard(there)
        there.a.run("wg", "set", NAME, "fwmark", MARK)
        tailscale_rules(there.a)
        only = ("-m", "mark", "!", "--mark", MARK, "-m", "addrtype", "!", "--dst-type", "LOCAL", "-j", "REJECT")
        there.a.run("iptables", "-I", "OUTPUT", "!", "-o", NAME, *only)
        report = run(there)
    (cause,) = report["diagnosis"]
    assert (cause["code"], cause["target"]) == ("host.firewall-drop", "nb"), report["text"]
    assert "table ip filter, chain OUTPUT" in cause["message"]
