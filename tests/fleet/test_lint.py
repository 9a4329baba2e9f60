"""Tunnels held against one another: each disagreement once, with both nodes, and none between nodes that agree."""

from collections.abc import Callable

import pytest

from preflight.fleet.lint import LintFinding, lint, lint_text
from preflight.report.model import OverlayInfo, Report, TunnelInfo, TunnelPeerInfo
from tests.report.test_merge import seen_by

NODES = ("n1", "n2", "n3")
SITES = {"n1": "oslo", "n2": "oslo", "n3": "rome"}
Change = Callable[[dict[str, TunnelInfo]], None]


def number(node: str) -> int:
    return NODES.index(node) + 1


def peer_of(node: str) -> TunnelPeerInfo:
    """The entry that the others have for a node."""
    return TunnelPeerInfo(
        public_key=f"key-{node}",
        endpoint=f"10.0.{number(node)}.2:51820",
        allowed_ips=(f"10.66.0.{number(node)}/32",),
        keepalive_s=0,
        handshaken=True,
    )


def tunnel_of(node: str) -> TunnelInfo:
    return TunnelInfo(
        interface="wg0",
        public_key=f"key-{node}",
        mtu=1420,
        listen_port=51820,
        addresses=(f"10.66.0.{number(node)}/24", "fe80::1/64"),
        peers=tuple(peer_of(other) for other in NODES if other != node),
    )


def reports(tunnels: dict[str, TunnelInfo], outside: dict[str, tuple[str, ...]]) -> dict[str, Report]:
    """A report of each node with its tunnel."""
    found = {}
    for node, tunnel in tunnels.items():
        overlay = OverlayInfo(product="wireguard", interface="wg0", mtu=1420, tunnels=(tunnel,), outside=outside[node])
        report = seen_by("a")
        found[node] = report.model_copy(update={"run": report.run.model_copy(update={"overlay": overlay})})
    return found


def findings(change: Change = lambda tunnels: None, **outside: tuple[str, ...]) -> tuple[LintFinding, ...]:
    """What a mesh of three nodes says after a change."""
    tunnels = {node: tunnel_of(node) for node in NODES}
    change(tunnels)
    return lint(reports(tunnels, {node: (f"10.0.{number(node)}.2",) for node in NODES} | outside), SITES)


def entry(tunnels: dict[str, TunnelInfo], node: str, other: str, **more: object) -> None:
    """Change a node's entry for another."""
    peers = [
        peer.model_copy(update=more) if peer.public_key == f"key-{other}" else peer for peer in tunnels[node].peers
    ]
    tunnels[node] = tunnels[node].model_copy(update={"peers": tuple(peers)})


def tunnel(tunnels: dict[str, TunnelInfo], node: str, **more: object) -> None:
    tunnels[node] = tunnels[node].model_copy(update=more)


def lacking(tunnels: dict[str, TunnelInfo], node: str, other: str) -> None:
    tunnel(tunnels, node, peers=tuple(peer for peer in tunnels[node].peers if peer.public_key != f"key-{other}"))


def taken_over(tunnels: dict[str, TunnelInfo]) -> None:
    """n1 sends all that is for n2 to n3."""
    entry(tunnels, "n1", "n2", allowed_ips=())
    entry(tunnels, "n1", "n3", allowed_ips=("10.66.0.0/24",))


def keeping_alive(tunnels: dict[str, TunnelInfo]) -> None:
    """n3 keeps its mappings open."""
    entry(tunnels, "n3", "n1", keepalive_s=25)
    entry(tunnels, "n3", "n2", keepalive_s=25)


def test_a_mesh_that_agrees_has_no_finding() -> None:
    """Protects from false alarms: three whole nodes, two of them in one site."""
    assert findings() == ()


@pytest.mark.parametrize(
    ("change", "kind", "nodes", "lines"),
    [
        (
            lambda them: entry(them, "n1", "n2", public_key="mistyped"),
            "key-of-nobody",
            ("n1", "n2"),
            "PublicKey = key-n2",
        ),
        (lambda them: lacking(them, "n2", "n1"), "peer-missing", ("n2", "n1"), "AllowedIPs = 10.66.0.1/32"),
        (
            lambda them: entry(them, "n1", "n2", allowed_ips=()),
            "address-missing",
            ("n1", "n2"),
            "AllowedIPs += 10.66.0.2/32",
        ),
        (lambda them: tunnel(them, "n2", mtu=1380), "mtu-differs", ("n1", "n2"), "MTU = 1380"),
        (lambda them: tunnel(them, "n2", public_key="key-n1"), "one-key-on-two-nodes", ("n1", "n2"), "a new key"),
        (
            lambda them: tunnel(them, "n2", addresses=("10.66.0.1/24",)),
            "one-address-on-two-nodes",
            ("n1", "n2"),
            "Address = 10.66.0.1/24",
        ),
        (
            taken_over,
            "address-of-another",
            ("n1", "n2"),
            "AllowedIPs += 10.66.0.2/32",
        ),
        (
            lambda them: entry(them, "n1", "n3", handshaken=False),
            "endpoint-of-another-site",
            ("n1", "n3"),
            "Endpoint = the public address of rome",
        ),
    ],
)
def test_each_disagreement_names_both_nodes_and_their_lines(
    change: Change, kind: str, nodes: tuple[str, str], lines: str
) -> None:
    """Protects every kind of finding: its fault is seen, and what is whole is not blamed."""
    found = findings(change)
    of_kind = [finding for finding in found if finding.kind == kind and finding.nodes == nodes]
    assert len(of_kind) == 1
    assert {line.node for line in of_kind[0].lines} == set(nodes)
    assert lines in " ".join(line.text for line in of_kind[0].lines)
    assert {finding.kind for finding in found} == {kind}


def test_who_is_behind_nat_needs_a_keepalive() -> None:
    """Protects idle tunnels: only the side behind NAT can keep its mapping open."""
    found = findings(n3=("192.168.1.5",))
    assert [(finding.kind, finding.nodes) for finding in found] == [
        ("no-keepalive-behind-nat", ("n3", "n1")),
        ("no-keepalive-behind-nat", ("n3", "n2")),
    ]
    assert findings(keeping_alive, n3=("192.168.1.5",)) == ()


def test_peers_without_a_report_are_not_judged() -> None:
    """Protects fleets that are looked at in part, and hubs: who has no entry for another is not meant to have one."""
    tunnels = {node: tunnel_of(node) for node in ("n1", "n2")}
    assert lint(reports(tunnels, {"n1": (), "n2": ()}), {}) == ()
    lacking(tunnels, "n1", "n2")
    lacking(tunnels, "n2", "n1")
    entry(tunnels, "n1", "n3", allowed_ips=("10.66.0.0/24",))
    entry(tunnels, "n2", "n3", allowed_ips=("10.66.0.0/24",))
    assert lint(reports(tunnels, {"n1": (), "n2": ()}), {}) == ()


def test_the_text_has_the_lines_for_each_node() -> None:
    """Protects the reader who pastes: each line says where it belongs."""
    text = lint_text(findings(lambda them: tunnel(them, "n2", mtu=1380)), 3)
    assert text.startswith("2 findings in 3 nodes\n\n1. n1 and n2  mtu-differs\n")
    assert "    on n1: [Interface] MTU = 1380\n    on n2: [Interface] MTU = 1380 (as it is)\n" in text
    assert lint_text((), 3) == "the tunnels of 3 nodes agree with one another\n"
