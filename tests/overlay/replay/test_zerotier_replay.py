"""ZeroTier: a second network that has not admitted this node, next to one that works; and trusted paths."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.overlay.replay.test_replay import PEERS, zerotier
from tests.overlay.replay.world import SAMPLES, World

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
PEER = ("--peer", f"{PEERS['zerotier']}=nb")
DENIED = "ACCESS_DENIED"


def deny_another(there: World, **known: Any) -> None:
    """The service lists one network more. known: what its controller had given to this node before."""
    (denied,) = json.loads((SAMPLES / "zerotier/live2/denied.listnetworks.json").read_bytes())
    own = {"nwid": "dddddddd04cbed71", "id": "dddddddd04cbed71", "name": "", "portDeviceName": "ztsecond00"}
    file = there.said / "network.json"
    both = [*json.loads(file.read_bytes()), {**denied, "assignedAddresses": [], "routes": [], **own, **known}]
    file.write_text(json.dumps(both), encoding="utf-8")


def test_a_network_that_nobody_asks_for(tmp_path: Path) -> None:
    """It was joined, and its controller waits: a warning with its lever, and the first network is measured as ever."""
    with zerotier(tmp_path, "healthy") as there:
        deny_another(there)
        report = there.preflight("all", *PEER)
    (cause,) = report["diagnosis"]
    assert (cause["code"], report["exit"]) == ("overlay.not-authorized", 0), report["text"]
    assert "the network's controller dddddddd04 has not authorised this node (ACCESS_DENIED)" in cause["message"]
    assert "Authorise this node in the network dddddddd04cbed71" in str(cause["remedies"])


RANGE = {"assignedAddresses": ["10.89.0.30/24"], "routes": [{"target": "10.89.0.0/24", "via": None}]}


@pytest.mark.parametrize("known", [{}, RANGE])
def test_a_peer_in_it(tmp_path: Path, known: dict[str, Any]) -> None:
    """Nothing else of this node has the address: that is the cause, whether its range is known from before or not."""
    with zerotier(tmp_path, "healthy") as there:
        deny_another(there, **known)
        report = there.preflight("all", *PEER, "--peer", "10.89.0.31=far")
    (cause,) = report["diagnosis"]
    assert (cause["code"], report["exit"]) == ("overlay.not-authorized", 1), report["text"]
    assert "dddddddd04 has not authorised this node (ACCESS_DENIED)" in cause["message"]
    measured = [each for each in report["results"] if (each["check"], each["target"]) == ("udp.quality", "nb")]
    assert [each["status"] for each in measured] == ["pass", "pass"], report["text"]


@pytest.mark.parametrize(("known", "code"), [({}, "control.url-off-overlay"), (RANGE, "overlay.not-authorized")])
def test_the_control_plane_in_it(tmp_path: Path, known: dict[str, Any], code: str) -> None:
    """That network is the cause where its range is known, else it may be, and the address may be a wrong one too."""
    with zerotier(tmp_path, "healthy") as there:
        deny_another(there, **known)
        report = there.preflight("all", *PEER, control={"url": "http://10.89.0.31:9847"})
    cause = report["diagnosis"][0]
    assert (cause["code"], cause["target"], report["exit"]) == (code, "control", 1), report["text"]
    assert "ztsecond00 of zerotier, which says: the network's controller dddddddd04 has not" in cause["message"]
    assert "Authorise this node in the network dddddddd04cbed71" in str(cause["remedies"])
    assert len(report["diagnosis"]) == (1 if known else 2), report["text"]


@pytest.mark.parametrize("one_sided", [False, True])
def test_a_trusted_path(tmp_path: Path, one_sided: bool) -> None:
    """With it on both ends all is well. A peer without it drops what comes, while the daemon hears its greetings."""
    with zerotier(tmp_path, "healthy") as there:
        file = there.said / "peer.json"
        peers = json.loads(file.read_bytes())
        for peer in peers:
            for path in peer["paths"]:
                path["trustedPathId"] = 42
        file.write_text(json.dumps(peers), encoding="utf-8")
        if one_sided:
            there.b.drop("input", f'iifname "{there.b.device}" drop')
        report = there.preflight("all", *PEER)
    causes = [(each["code"], each["target"]) for each in report["diagnosis"]]
    assert causes == ([("overlay.policy-drop", "nb")] if one_sided else []), report["text"]
    if one_sided:
        assert "10.232.2.1:9993 by the trusted path 42, without encryption" in report["diagnosis"][0]["message"]
