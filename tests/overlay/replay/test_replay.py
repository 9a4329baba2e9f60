"""Whole runs on recorded words of daemons, with real traffic at the same time."""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.overlay.replay.world import SAMPLES, World, world

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
TAILNET = ("100.64.0.1/32", "fd7a:115c:a1e0:ab12:4843:cd96:6240:1/128")
THEIRS = ("100.64.0.2/32", "fd7a:115c:a1e0:ab12:4843:cd96:6240:2/128")
PEERS = {"tailscale": "100.64.0.2", "zerotier": "10.88.0.31"}
Replayed = AbstractContextManager[World]


def tailscale(tmp_path: Path, name: str, device: str = "tailscale0", **more: Any) -> Replayed:
    """A node of a tailnet whose daemon says what it said in a recorded state."""
    folder = SAMPLES / "tailscale"
    recorded = next(
        path for path in (folder / f"live2/status-{name}.json", folder / f"status-{name}.json") if path.exists()
    )
    answers = {"status": recorded, "prefs": folder / "live2/prefs-noroutes.json"}
    return world(tmp_path, "tailscale", answers, device, TAILNET, THEIRS, **more)


def zerotier(tmp_path: Path, name: str, device: str = "ztnbllj34q", **more: Any) -> Replayed:
    """A node of a ZeroTier network whose service says what it said in a recorded state."""
    paths = {"status": "info", "network": "listnetworks", "peer": "listpeers"}
    answers = {path: SAMPLES / f"zerotier/live2/{name}.{what}.json" for path, what in paths.items()}
    return world(tmp_path, "zerotier", answers, device, ("10.88.0.30/24",), ("10.88.0.31/24",), **more)


PRODUCTS = {"tailscale": tailscale, "zerotier": zerotier}


def run(there: World, product: str) -> Mapping[str, Any]:
    """A run towards the peer alone."""
    return there.preflight("all", "--peer", f"{PEERS[product]}=nb")


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_healthy_node_is_silent(tmp_path: Path, product: str) -> None:
    """Protects the replay itself: what it finds elsewhere is not made by it."""
    with PRODUCTS[product](tmp_path, "healthy") as there:
        report = run(there, product)
    bad = [each for each in report["results"] if each["status"] in ("fail", "warn", "error", "inconclusive")]
    assert (report["exit"], bad) == (0, [])


DROPS = 'iifname "{device}" drop'
"""At the peer, inside the tunnel: what a policy does, which no packet shows."""


@pytest.mark.parametrize(
    ("product", "state", "more", "dropping", "code", "words"),
    [
        ("tailscale", "aclnone", {}, True, "overlay.policy-drop", "tailscale reaches nb at 10.231.2.1:41641"),
        ("tailscale", "clone", {}, True, "overlay.duplicate-key", "no handshake of the session is answered"),
        ("tailscale", "derpdown_noudp", {}, True, "overlay.offline", "no peer answers in this run"),
        (
            "tailscale",
            "userspace",
            {"device": "pf0", "on_the_device": ()},
            False,
            "overlay.down",
            "userspace networking",
        ),
        ("zerotier", "peerdenied", {}, True, "overlay.policy-drop", "zerotier heard bbbbbbbb02"),
        ("zerotier", "rules_drop_all", {}, True, "overlay.policy-drop", "has sent nothing to bbbbbbbb02"),
        ("zerotier", "peerdead", {}, True, "reach.unreachable", ""),
        ("zerotier", "udpblock_restart", {}, True, "overlay.offline", "its own UDP does not get through"),
        ("zerotier", "allowmanaged0", {"on_the_device": ()}, False, "overlay.no-address", "allowManaged is off"),
        ("zerotier", "notjoined", {"device": "pf0", "on_the_device": ()}, False, "overlay.not-joined", "no network"),
    ],
)
def test_the_cause(
    tmp_path: Path, product: str, state: str, more: dict[str, Any], dropping: bool, code: str, words: str
) -> None:
    """One cause, the true one, although most of these states look healthy to the daemon itself."""
    with PRODUCTS[product](tmp_path, state, **more) as there:
        if dropping:
            there.b.drop("input", DROPS.format(device=there.b.device))
        report = run(there, product)
    causes = [(cause["code"], cause["message"]) for cause in report["diagnosis"] if cause["code"] != "overlay.relayed"]
    assert [each[0] for each in causes] == [code], report["text"]
    assert words in causes[0][1]
    assert report["exit"] == 1


@pytest.mark.parametrize(
    ("product", "rule", "code", "words"),
    [
        ("tailscale", "meta l4proto udp drop", "udp.blocked", "nb answers echoes and TCP and no UDP"),
        ("zerotier", "meta l4proto { udp, tcp } drop", "udp.blocked", "nb answers echoes and no UDP"),
        (
            "zerotier",
            "meta l4proto != tcp drop",
            "overlay.policy-drop",
            "nb answers TCP through the tunnel; echoes and",
        ),
    ],
)
def test_a_policy_that_lets_some_of_it_in(tmp_path: Path, product: str, rule: str, code: str, words: str) -> None:
    """The session lives and the peer runs a responder: nothing says that one should be started there."""
    with PRODUCTS[product](tmp_path, "healthy") as there:
        there.b.drop("input", f'iifname "{there.b.device}" {rule}')
        report = run(there, product)
    causes = [(cause["code"], cause["target"]) for cause in report["diagnosis"]]
    assert (causes, report["exit"]) == ([(code, "nb")], 1), report["text"]
    cause = report["diagnosis"][0]
    assert words in cause["message"]
    assert cause["remedies"][0]["where"] == "product console"
    assert "preflight responder" not in str(cause["remedies"])


def test_why_a_path_is_relayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what the product's own tool says of this node's NAT; the tool of the test says what a hard NAT looks like."""
    tool = tmp_path / "bin" / "tailscale"
    tool.parent.mkdir()
    said = {"UDP": True, "MappingVariesByDestIP": True, "UPnP": False, "PMP": False, "PCP": False}
    tool.write_text(f"#!/bin/sh\n[ \"$1\" = netcheck ] && echo '{json.dumps(said)}'\n", encoding="ascii")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    with tailscale(tmp_path, "derponly") as there:
        report = run(there, "tailscale")
    (cause,) = report["diagnosis"]
    assert (cause["code"], report["exit"]) == ("overlay.relayed", 0), report["text"]
    assert "this node's NAT gives each destination another port (tailscale netcheck), and no router" in cause["message"]
    assert "Forward UDP port 41641" in str(cause["remedies"])


def test_a_nat_that_gives_each_destination_another_port(tmp_path: Path) -> None:
    """Without the product's tool it is seen by two STUN servers of the settings: here the peer's responder."""
    servers = ("10.231.2.1", "10.231.2.9")
    with tailscale(tmp_path, "derponly") as there:
        there.b.run("ip", "address", "add", f"{servers[1]}/16", "dev", "eth0")
        chain = "add table ip n\nadd chain ip n post { type nat hook postrouting priority 100; }\n"
        # A range, for the check of the servers asks from another socket at the same time.
        rules = [f"ip daddr {each} udp dport 862 snat to 10.231.1.1:5{n}00-5{n}99" for n, each in enumerate(servers)]
        there.a.run("nft", "-f", "-", stdin=chain + "".join(f"add rule ip n post {rule}\n" for rule in rules))
        key, allowed = str(there.a.folder / "key"), ("--allow", "10.231.0.0/16")
        for each in servers:
            words = ("--bind", f"{each}:862", "--key-file", key, *allowed)
            there.b.start(sys.executable, "-m", "preflight", "responder", *words, until="862")
        stun = {"servers": [f"{each}:862" for each in servers]}
        report = there.preflight("all", "--peer", "100.64.0.2=nb", stun=stun)
    (cause,) = report["diagnosis"]
    assert (cause["code"], report["exit"]) == ("overlay.relayed", 0), report["text"]
    assert "this node's NAT gives each destination another port (10.231.2.1:862 sees 10.231.1.1:50" in cause["message"]
    assert "10.231.2.9:862 sees 10.231.1.1:51" in cause["message"]
    assert "Forward UDP port 41641" in str(cause["remedies"])


def test_two_machines_with_the_peers_key(tmp_path: Path) -> None:
    """The daemon has the peer here and there in turn, and half of what is sent goes to the other machine."""
    with tailscale(tmp_path, "healthy") as there:
        elsewhere = json.loads((there.said / "status.json").read_bytes())
        for peer in elsewhere["Peer"].values():
            peer["CurAddr"] = "10.231.9.1:41641"
        (there.said / "status.1.json").write_text(json.dumps(elsewhere), encoding="utf-8")
        there.b.drop("input", f'iifname "{there.b.device}" numgen random mod 2 0 drop')
        report = run(there, "tailscale")
    cause = report["diagnosis"][0]
    assert (cause["code"], cause["target"]) == ("overlay.duplicate-key", "nb"), report["text"]
    assert all(place in cause["message"] for place in ("10.231.2.1:41641", "10.231.9.1:41641"))


@pytest.mark.parametrize(
    ("product", "state", "code"),
    [
        ("tailscale", "magic_overwritten", "overlay.dns-overwritten"),
        ("tailscale", "exitnode_gone", "overlay.exit-node-gone"),
        ("zerotier", "rootdown_restart", "overlay.offline"),
    ],
)
def test_a_complaint_that_traffic_does_not_bear_out_is_a_warning(
    tmp_path: Path, product: str, state: str, code: str
) -> None:
    """What works is not called broken, and the daemon's words do not stay in a line that passes."""
    with PRODUCTS[product](tmp_path, state) as there:
        report = run(there, product)
    assert [cause["code"] for cause in report["diagnosis"]] == [code]
    assert report["exit"] == 0


def test_a_network_that_is_announced_and_not_approved(tmp_path: Path) -> None:
    """On the node that announces it: a warning, with the lever of its tailnet's own server."""
    with tailscale(tmp_path, "healthy") as there:
        prefs = there.said / "prefs.json"
        announcing = json.loads(prefs.read_bytes()) | {"AdvertiseRoutes": ["10.60.0.0/24"]}
        prefs.write_text(json.dumps(announcing), encoding="utf-8")
        report = run(there, "tailscale")
    (cause,) = report["diagnosis"]
    assert (cause["code"], report["exit"]) == ("overlay.routes-not-approved", 0), report["text"]
    assert "this node announces 10.60.0.0/24" in cause["message"]
    assert "headscale nodes approve-routes" in str(cause["remedies"])


def test_a_peer_behind_a_member_whose_network_is_not_approved(tmp_path: Path) -> None:
    """On another node nothing shows what is announced: nobody carries the address, and where it may be approved."""
    with tailscale(tmp_path, "healthy") as there:
        report = there.preflight("all", "--peer", "10.60.0.7=far")
    cause = report["diagnosis"][0]
    assert (cause["code"], cause["target"]) == ("overlay.route-leak", "far"), report["text"]
    assert "no member of the tailnet carries 10.60.0.7" in cause["message"]
    assert "waits for approval" in cause["message"]
    assert "headscale nodes approve-routes --identifier ID --routes ALL,ITS,ROUTES" in str(cause["remedies"])
