"""Several overlays on one node, a tailnet next to a WireGuard tunnel and a VXLAN, each with real traffic."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.overlay.replay.second import (
    FULL,
    MARK,
    NAME,
    THEIRS,
    VXLAN_THEIRS,
    add_vxlan,
    add_wireguard,
    full_tunnel,
    tailscale_rules,
)
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


def test_three_of_them_and_then_one_less(tmp_path: Path) -> None:
    """A VXLAN next to two products is an overlay with its own peers, and is named where it is left out. What is down
    stops nothing of the others: each peer is measured, and a second fault is a second cause.
    """
    peers = ("--peer", "100.64.0.2=nb", "--peer", f"{THEIRS}=vb", "--peer", f"{VXLAN_THEIRS}=xb")
    with tailscale(tmp_path, "healthy") as there:
        tailscale_rules(there.a)
        add_wireguard(there)
        add_vxlan(there)
        healthy = there.preflight("all", *peers)
        without = run(there)
        there.a.run("ip", "link", "set", NAME, "down")
        down = there.preflight("all", *peers)
        there.b.drop("input", 'iifname "vx0" drop')
        two = there.preflight("all", *peers)
    for report in (healthy, without):
        assert [each for each in report["results"] if each["status"] in BAD] == [], report["text"]
    interfaces = [each["message"] for each in healthy["results"] if each["check"] == "overlay.interface"]
    assert [message.rpartition(" has ")[2].split(";")[0] for message in interfaces] == ["vb", "nb", "xb"], interfaces
    assert "ignores the other overlays of this node: vxlan on vx0" in str(without["results"])
    assert [(each["code"], each["target"]) for each in down["diagnosis"]] == [("overlay.down", "node")], down["text"]
    measured = {
        each["target"] for each in down["results"] if each["check"] == "udp.quality" and each["status"] == "pass"
    }
    assert measured == {"nb", "xb"}, down["text"]
    causes = [(each["code"], each["target"]) for each in two["diagnosis"]]
    assert causes[0] == ("overlay.down", "node"), two["text"]
    assert [target for _, target in causes[1:]] == ["xb"], two["text"]


SWITCH = 'oifname "eth0" meta mark != 0xca6c ip daddr != 10.231.1.1 drop'
"""A kill switch for the tunnel's own packets, which another product's are not."""


def test_a_kill_switch_for_what_leaves(tmp_path: Path) -> None:
    """The tailnet's own packets die at it, while its handshake is new: no policy of the tailnet is blamed as well."""
    with tailscale(tmp_path, "healthy") as there:
        tailscale_rules(there.a)
        add_wireguard(there)
        there.a.run("wg", "set", NAME, "fwmark", MARK)
        there.a.drop("output", SWITCH)
        report = run(there)
    causes = [(each["code"], each["target"]) for each in report["diagnosis"]]
    assert causes == [("host.firewall-drop", "nb")], report["text"]


def test_a_mark_of_another_program(tmp_path: Path) -> None:
    """Marked as the tailnet's own packets are, those inside leave outside it, in clear: the peer answered them there,
    and all was green.
    """
    chain = "chain o { type route hook output priority -150; ip daddr 100.64.0.0/10 meta mark set 0x80000; }"
    with tailscale(tmp_path, "healthy") as there:
        tailscale_rules(there.a)
        add_wireguard(there)
        there.a.run("nft", "-f", "-", stdin=f"table inet other {{ {chain}; }}")
        report = run(there)
    (cause,) = report["diagnosis"]
    assert (cause["code"], cause["target"]) == ("overlay.route-leak", "nb"), report["text"]
    assert "by the mark 0x80000 that a rule of this node's firewall gives them" in cause["message"]


def test_a_control_plane_on_the_one_that_is_down(tmp_path: Path) -> None:
    """The peers are on the other one: its URL is right, and the tunnel that has it is the cause."""
    with tailscale(tmp_path, "healthy") as there:
        tailscale_rules(there.a)
        add_wireguard(there)
        there.a.run("ip", "link", "set", NAME, "down")
        report = there.preflight("all", "--peer", "100.64.0.2=nb", control={"url": f"http://{THEIRS}:9847"})
    (cause,) = report["diagnosis"]
    assert (cause["code"], cause["target"]) == ("overlay.down", "node"), report["text"]
    measured = [each["target"] for each in report["results"] if each["check"] == "udp.quality"]
    assert "nb" in measured, report["text"]


BOTH = "100.64.0.2"
"""The tailnet's peer, whose address the WireGuard tunnel has too."""


@pytest.mark.parametrize(
    ("dead", "cause"), [((), None), (("tailscale0",), "overlay.subnet-conflict"), (("tailscale0", NAME), "other")]
)
def test_one_address_in_two_overlays(tmp_path: Path, dead: tuple[str, ...], cause: str | None) -> None:
    """The kernel takes one. Where the peer answers there nothing is wrong. Where a machine answers in the other one
    that is the cause, and where nothing answers in either it is not.
    """
    with tailscale(tmp_path, "healthy") as there:
        tailscale_rules(there.a)
        add_wireguard(there, f"{BOTH}/32")
        for device in dead:
            there.b.drop("input", f'iifname "{device}" ip daddr {BOTH} drop')
        report = there.preflight("all", "--peer", f"{BOTH}=nb")
    causes = [(each["code"], each["target"]) for each in report["diagnosis"]]
    if cause is None:
        assert causes == [], report["text"]
    elif cause == "other":
        assert causes, report["text"]
        assert "overlay.subnet-conflict" not in [code for code, _ in causes], report["text"]
    else:
        assert causes == [(cause, "nb")], report["text"]
        said = report["diagnosis"][0]["message"]
        assert f"{BOTH} is in tailscale on tailscale0 ({BOTH}/32) and in wireguard on {NAME} ({BOTH}/32)" in said
        assert (
            f"the kernel takes tailscale0, where nothing answers, and a machine with that address answers on {NAME}"
            in said
        )
